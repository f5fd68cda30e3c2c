"""Kept configuration: entries are stored and given back, nothing here acts on them (rest-api C.12)."""

from __future__ import annotations

from collections.abc import Sequence

from pbs_cloud.contracts.configuration import ConfigEntry, Section
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import AlreadyExists, Conflict, InvalidArgument, NotFound
from pbs_cloud.gc.configuration import rows
from pbs_cloud.gc.configuration.rules import may_change, may_see, refusal
from pbs_cloud.runtime.database import Connection, Database
from pbs_cloud.runtime.secret_box import SecretBox

MODIFIED = "detected modified configuration - file changed by other user? Try again."
MOST_ENTRIES = 1000
_MISSING = {Section.REMOTE: "no such remote", Section.SYNC: "no such sync", Section.TRAFFIC: "no such rule"}
_TAKEN = {Section.REMOTE: "remote", Section.SYNC: "job", Section.TRAFFIC: "traffic control rule"}
_NEEDED = {
    Section.REMOTE: ("host", "auth-id"),
    Section.SYNC: ("store", "remote-store"),
    Section.TRAFFIC: ("network",),
}


def secret_owner(tenant_id: str, section: str, entry_id: str) -> str:
    """The row that a sealed secret belongs to."""
    return f"{tenant_id} {section} {entry_id}"


class KeptConfiguration:
    """Entries of one tenant at a time. The password of a remote is stored encrypted and never given back."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box

    async def list(self, ctx: CallContext, section: Section) -> tuple[tuple[ConfigEntry, ...], str]:
        """Entries that the caller may see, and the digest of all."""
        async with self._database.tenant(ctx.tenant_id) as connection:
            found = await rows.all_of(connection, ctx.tenant_id, section)
        seen = tuple(entry for entry in found if may_see(ctx.caller, section, entry))
        return seen, rows.digest_of(ctx.tenant_id, found)

    async def get(self, ctx: CallContext, section: Section, entry_id: str) -> tuple[ConfigEntry, str]:
        """Raises NotFound, Conflict or PermissionDenied (rights)."""
        if section is not Section.SYNC and not may_see(ctx.caller, section, ConfigEntry(entry_id)):
            raise refusal(section)
        async with self._database.tenant(ctx.tenant_id) as connection:
            found = await rows.all_of(connection, ctx.tenant_id, section)
        entry = _named(found, section, entry_id)
        if not may_see(ctx.caller, section, entry):
            raise refusal(section)
        return entry, rows.digest_of(ctx.tenant_id, found)

    async def create(self, ctx: CallContext, section: Section, entry: ConfigEntry, secret: str | None) -> None:
        """Raises InvalidArgument, Conflict or PermissionDenied (rights), AlreadyExists."""
        _require_fields(section, entry)
        if not may_change(ctx.caller, section, entry):
            raise refusal(section)
        async with self._database.tenant(ctx.tenant_id) as connection:
            await rows.lock(connection, ctx.tenant_id, section)
            if len(await rows.all_of(connection, ctx.tenant_id, section)) >= MOST_ENTRIES:
                raise Conflict(f"there are {MOST_ENTRIES} entries already")
            sealed = self._sealed(ctx, section, entry.id, secret)
            if not await rows.insert(connection, ctx.tenant_id, section, entry, sealed):
                raise AlreadyExists(f"{_TAKEN[section]} '{entry.id}' already exists.", field="id")

    async def update(
        self,
        ctx: CallContext,
        section: Section,
        changes: ConfigEntry,
        delete: Sequence[str],
        digest: str | None,
        secret: str | None,
    ) -> None:
        """Raises NotFound, InvalidArgument, Conflict (digest; sync: rights), PermissionDenied."""
        async with self._database.tenant(ctx.tenant_id) as connection:
            old = await self._for_change(connection, ctx, section, changes.id, digest)
            kept = {name: value for name, value in old.fields.items() if name not in delete}
            new = ConfigEntry(changes.id, {**kept, **changes.fields})
            _require_fields(section, new)
            if not may_change(ctx.caller, section, new):
                raise refusal(section)
            sealed = self._sealed(ctx, section, changes.id, secret)
            await rows.change(connection, ctx.tenant_id, section, changes.id, new.fields, sealed)

    async def delete(self, ctx: CallContext, section: Section, entry_id: str, digest: str | None) -> None:
        """Raises as :meth:`update`."""
        async with self._database.tenant(ctx.tenant_id) as connection:
            await self._for_change(connection, ctx, section, entry_id, digest)
            await rows.delete(connection, ctx.tenant_id, section, entry_id)

    async def _for_change(
        self, connection: Connection, ctx: CallContext, section: Section, entry_id: str, digest: str | None
    ) -> ConfigEntry:
        """The entry, its section locked; its rights and the digest fit."""
        if section is not Section.SYNC and not may_change(ctx.caller, section, ConfigEntry(entry_id)):
            raise refusal(section)
        await rows.lock(connection, ctx.tenant_id, section)
        found = await rows.all_of(connection, ctx.tenant_id, section)
        entry = _named(found, section, entry_id)
        if not may_change(ctx.caller, section, entry):
            raise refusal(section)
        if digest is not None and digest != rows.digest_of(ctx.tenant_id, found):
            raise Conflict(MODIFIED)
        return entry

    def _sealed(self, ctx: CallContext, section: Section, entry_id: str, secret: str | None) -> bytes | None:
        return None if secret is None else self._box.seal(secret, secret_owner(ctx.tenant_id, section, entry_id))


def _named(found: Sequence[ConfigEntry], section: Section, entry_id: str) -> ConfigEntry:
    for entry in found:
        if entry.id == entry_id:
            return entry
    raise NotFound(f"{_MISSING[section]} '{entry_id}'")


def _require_fields(section: Section, entry: ConfigEntry) -> None:
    for name in _NEEDED[section]:
        if name not in entry.fields:
            raise InvalidArgument(f"{name}: is missing", field=name)
