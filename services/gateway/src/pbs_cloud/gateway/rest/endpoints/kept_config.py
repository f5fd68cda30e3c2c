"""What remotes, sync jobs and traffic rules share: the five calls over one section of kept configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pbs_cloud.contracts.configuration import ConfigEntry, Section
from pbs_cloud.contracts.errors import AlreadyExists, NotFound
from pbs_cloud.gateway.errors import STOCK_STATUS
from pbs_cloud.gateway.rest.access import Access
from pbs_cloud.gateway.rest.calls import Call, Data
from pbs_cloud.gateway.rest.endpoint import Area
from pbs_cloud.gateway.rest.endpoints.shared import CONFIG_DIGEST
from pbs_cloud.gateway.schema import Array, Enum, Param, ParameterErrors, String, common, optional, required

ENTRY_ID: Final = String(pattern=common.SAFE_NAME.pattern, minimum=3, maximum=32)
_MISSING_IS_404: Final = {**STOCK_STATUS, NotFound: 404}


@dataclass(frozen=True)
class KeptConfig:
    """One section: ``key`` names its entries on the wire, ``noun`` for people; ``hidden``: a parameter never shown.

    ``needed``: fields that an entry must have, with what they take; ``gone``: the text when a removed one is removed.
    """

    section: Section
    key: str
    needed: Mapping[str, Param]
    fields: Mapping[str, Param]
    gone: str
    noun: str
    hidden: str | None = None

    def shown(self, entry: ConfigEntry) -> dict[str, Any]:
        """The entry as clients read it."""
        return {self.key: entry.id, **entry.fields}

    async def entries(self, call: Call) -> tuple[list[dict[str, Any]], str]:
        """All entries that the caller may see, and the digest."""
        found, digest = await call.clients.configuration.list_entries(call.ctx, self.section)
        return [self.shown(entry) for entry in found], digest

    async def listing(self, call: Call) -> Any:
        """Entries of this kind."""
        return _listed(*await self.entries(call))

    async def read(self, call: Call) -> Any:
        """One entry."""
        entry, digest = await call.clients.configuration.get_entry(call.ctx, self.section, call.text(self.key))
        return Data(self.shown(entry), {"digest": digest})

    async def create(self, call: Call) -> Any:
        """Create an entry."""
        try:
            await call.clients.configuration.create_entry(call.ctx, self.section, self._given(call), self._secret(call))
        except AlreadyExists as error:
            raise ParameterErrors({self.key: error.message}) from None

    async def update(self, call: Call) -> Any:
        """Change an entry."""
        delete, digest = call.params.get("delete", ()), call.params.get("digest")
        await call.clients.configuration.update_entry(
            call.ctx, self.section, self._given(call), delete, digest, self._secret(call)
        )

    async def delete(self, call: Call) -> Any:
        """Remove an entry."""
        entry_id = call.text(self.key)
        try:
            await call.clients.configuration.delete_entry(call.ctx, self.section, entry_id, call.params.get("digest"))
        except NotFound:
            raise NotFound(self.gone.format(entry_id)) from None

    def register(
        self,
        area: Area,
        path: str,
        *,
        see: Access,
        change: Callable[[bool], Access],
        listing: Callable[[Call], Any] | None = None,
        filters: Mapping[str, Param] | None = None,
        seen: Access | None = None,
    ) -> None:
        """Add the calls. ``change(one)``: right to change one entry, or to make one; ``seen``: right to list."""
        key = {self.key: required(ENTRY_ID)}
        secret = {} if self.hidden is None else {self.hidden: required(common.PASSWORD, "never shown again")}
        changed = {name: optional(param.type, param.description) for name, param in {**self.needed, **secret}.items()}
        one = f"{path}/{{{self.key}}}"
        deletable: Sequence[str] = sorted(self.fields)
        delete = {"delete": optional(Array(Enum(tuple(deletable))), "fields to unset"), "digest": CONFIG_DIGEST}
        made = {**key, **self.needed, **secret, **self.fields}
        area.get(path, filters, access=seen or see, summary=f"All of kind {self.noun}.")(listing or self.listing)
        area.post(path, made, access=change(False), summary=f"Create a {self.noun}.")(self.create)
        area.get(one, key, access=see, summary=f"One {self.noun}.")(self.read)
        area.put(
            one, {**key, **changed, **self.fields, **delete}, access=change(True), summary=f"Change a {self.noun}."
        )(self.update)
        area.delete(
            one,
            {**key, "digest": CONFIG_DIGEST},
            access=change(True),
            statuses=_MISSING_IS_404,
            summary=f"Remove a {self.noun}.",
        )(self.delete)

    def _given(self, call: Call) -> ConfigEntry:
        names = (*self.needed, *self.fields)
        fields = {name: call.params[name] for name in names if name in call.params}
        return ConfigEntry(call.text(self.key), fields)

    def _secret(self, call: Call) -> str | None:
        return None if self.hidden is None else call.params.get(self.hidden)


def _listed(entries: Sequence[dict[str, Any]], digest: str) -> Data:
    return Data(list(entries), {"digest": digest})
