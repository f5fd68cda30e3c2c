"""Who may call an endpoint, declared beside its schema. The services decide again with their own rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pbs_cloud.contracts.context import Caller
from pbs_cloud.contracts.errors import PermissionDenied
from pbs_cloud.contracts.rights import (
    Privilege,
    datastore_path,
    has_any_below,
    privileges,
    require,
    require_access,
)
from pbs_cloud.gateway.errors import FORBIDDEN

STORE_SEEN = (Privilege.DATASTORE_AUDIT, Privilege.DATASTORE_BACKUP)
NAMESPACE_SEEN = (*STORE_SEEN, Privilege.DATASTORE_MODIFY, Privilege.DATASTORE_READ)


class Access:
    """A rule. ``before`` runs before the parameters are looked at, ``after`` when they are known."""

    public = False

    def before(self, caller: Caller, matched: Mapping[str, str]) -> None:
        """Raises PermissionDenied (a declarative check: answered after a delay)."""

    def after(self, caller: Caller, params: Mapping[str, Any]) -> None:
        """Raises PermissionDenied."""

    def describe(self) -> str:
        """One line for people."""
        return ""


@dataclass(frozen=True)
class Public(Access):
    """No credentials needed."""

    public = True

    def describe(self) -> str:
        return "public"


@dataclass(frozen=True)
class Anyone(Access):
    """Any authenticated caller; ``note`` says what the answer depends on."""

    note: str = ""

    def describe(self) -> str:
        return "any authenticated caller" + (f"; {self.note}" if self.note else "")


@dataclass(frozen=True)
class Needs(Access):
    """One of ``wanted`` at the ACL path, which may contain ``{path parameters}``. ``or_self``: or being this user."""

    path: str
    wanted: tuple[Privilege, ...]
    or_self: str | None = None

    def before(self, caller: Caller, matched: Mapping[str, str]) -> None:
        if self.or_self is not None and caller.auth_id == matched.get(self.or_self):
            return
        require(caller, self.path.format_map(matched), *self.wanted)

    def describe(self) -> str:
        text = f"{' or '.join(self.wanted)} on `{self.path}`"
        return text + (f", or being `{{{self.or_self}}}`" if self.or_self else "")


@dataclass(frozen=True)
class OnStore(Access):
    """access(full; owned) of rest-api A.8 on datastore and namespace; ``ns`` names the parameter of the namespace."""

    full: tuple[Privilege, ...]
    owned: tuple[Privilege, ...] = ()
    ns: str = "ns"

    def after(self, caller: Caller, params: Mapping[str, Any]) -> None:
        require_access(caller, params["store"], params.get(self.ns, ""), self.full, self.owned)

    def describe(self) -> str:
        text = f"{' or '.join(self.full)} on the namespace" if self.full else ""
        own = f"{' or '.join(self.owned)} for own groups" if self.owned else ""
        return "; ".join(part for part in (text, own) if part)


@dataclass(frozen=True)
class SeesStore(Access):
    """Whoever `admin/datastore` shows the datastore to: a right on it, or on a namespace of it (rest-api C.4)."""

    def before(self, caller: Caller, matched: Mapping[str, str]) -> None:
        if not sees_store(caller, matched["store"]):
            raise PermissionDenied(FORBIDDEN)

    def describe(self) -> str:
        return "whoever `admin/datastore` shows the datastore to"


@dataclass(frozen=True)
class Operator(Access):
    """The operator of the installation (rest-api E.11)."""

    def before(self, caller: Caller, matched: Mapping[str, str]) -> None:
        if not caller.operator:
            raise PermissionDenied(FORBIDDEN)

    def describe(self) -> str:
        return "operator (`root@pam` and its tokens with `Admin` on `/`)"


@dataclass(frozen=True)
class Judged(Access):
    """The service decides with its rows; ``rule`` says how."""

    rule: str

    def describe(self) -> str:
        return self.rule


def holds(caller: Caller, path: str, *wanted: Privilege) -> bool:
    """Whether the caller has one of ``wanted`` at the ACL path."""
    return bool(privileges(caller, path) & frozenset(wanted))


def sees_store(caller: Caller, store: str) -> bool:
    """Whether the caller has a right on the datastore, or on a namespace of it."""
    path = datastore_path(store)
    return holds(caller, path, *STORE_SEEN) or has_any_below(caller, path, NAMESPACE_SEEN)
