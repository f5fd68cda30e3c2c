"""User and token names (wire-protocol 2, rest-api A.4)."""

import re
from dataclasses import dataclass
from typing import Final

from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.names import SAFE_ID, parse_safe_id

USER_NAME: Final = re.compile("[^\\s:/\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
ACL_PATH: Final = re.compile(r"/|(?:/[A-Za-z0-9_][A-Za-z0-9._\-]*)+")
MIN_ID_LENGTH: Final = 3
MAX_ID_LENGTH: Final = 64


@dataclass(frozen=True, slots=True)
class UserId:
    """``<name>@<realm>``; the last ``@`` separates."""

    name: str
    realm: str

    @classmethod
    def parse(cls, text: str, field: str = "userid") -> "UserId":
        """Parse and check all limits."""
        _check_length(text, field)
        name, at, realm = text.rpartition("@")
        if not at or not USER_NAME.fullmatch(name):
            raise FormatError(f"{field}: not <name>@<realm>")
        return cls(name, parse_safe_id(realm, field, 2, 32))

    def __str__(self) -> str:
        return f"{self.name}@{self.realm}"


@dataclass(frozen=True, slots=True)
class AuthId:
    """A user, or one of his API tokens."""

    user: UserId
    token_name: str | None = None

    @classmethod
    def parse(cls, text: str, field: str = "auth-id") -> "AuthId":
        """``<name>@<realm>`` or ``<name>@<realm>!<token name>``; only a ``!`` behind the last ``@`` counts."""
        _check_length(text, field)
        name, at, rest = text.rpartition("@")
        realm, mark, token = rest.partition("!")
        if not at:
            raise FormatError(f"{field}: not <name>@<realm> or <name>@<realm>!<token>")
        user = UserId.parse(f"{name}@{realm}", field)
        return cls(user, parse_safe_id(token, field) if mark else None)

    @property
    def is_token(self) -> bool:
        """Whether this is an API token."""
        return self.token_name is not None

    def owns(self, owner: "AuthId") -> bool:
        """Owner check (formats 12.3): the owner himself, or the user of the token that is the owner."""
        return self == owner or (owner.is_token and self == AuthId(owner.user))

    def __str__(self) -> str:
        return f"{self.user}!{self.token_name}" if self.is_token else str(self.user)


def parse_token_name(text: str, field: str = "token-name") -> str:
    """Token name: a safe id (the whole auth id has at most 64 characters)."""
    return parse_safe_id(text, field, 1, MAX_ID_LENGTH)


def parse_realm(text: str, field: str = "realm") -> str:
    """Realm: safe id of 2 to 32 characters."""
    return parse_safe_id(text, field, 2, 32)


def parse_acl_path(text: str, field: str = "path") -> str:
    """``/`` or ``/safe-id/…``, 1 to 128 characters."""
    if not isinstance(text, str) or len(text) > 128 or not ACL_PATH.fullmatch(text):
        raise FormatError(f"{field}: not a valid ACL path")
    return text


def _check_length(text: str, field: str) -> None:
    if not isinstance(text, str) or not MIN_ID_LENGTH <= len(text) <= MAX_ID_LENGTH:
        raise FormatError(f"{field}: not {MIN_ID_LENGTH} to {MAX_ID_LENGTH} characters")


__all__ = [
    "ACL_PATH",
    "SAFE_ID",
    "USER_NAME",
    "AuthId",
    "UserId",
    "parse_acl_path",
    "parse_realm",
    "parse_token_name",
]
