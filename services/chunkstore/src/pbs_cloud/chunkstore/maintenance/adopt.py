"""Taking over a directory that a real PBS wrote, where it lies (formats 7.4).

Order, so that a crash at any point leaves either nothing of ours to see or an adoption that is finished by repeating
the command: note of the attempt, mark, lock, one transaction with all rows, note removed.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pbs_cloud.chunkstore.backends import StoreLocation, local_layout, open_backend
from pbs_cloud.chunkstore.backends.opening import MARK_PREFIX
from pbs_cloud.chunkstore.backends.paths import check_absolute
from pbs_cloud.chunkstore.catalogue.names import refusing_bad_names
from pbs_cloud.chunkstore.maintenance.importing import Importer, NewStore
from pbs_cloud.chunkstore.maintenance.objects import uuid_of
from pbs_cloud.chunkstore.maintenance.report import ImportReport
from pbs_cloud.contracts.errors import AlreadyExists, Conflict, InvalidArgument, NotFound
from pbs_cloud.formats import layout
from pbs_cloud.formats.names import parse_datastore_name, parse_safe_id
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.settings import Settings

NOTE_NAME = ".pbs-cloud-adopting"
"""There while an adoption is under way: says which, so that it can be repeated."""

_PROBLEMS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """Who wants which directory under which name."""

    path: Path
    tenant_id: str
    name: str

    @classmethod
    def of(cls, path: Path, tenant_id: str, name: str | None) -> Wanted:
        """Checked; the name defaults to the directory's. Raises InvalidArgument."""
        real = path.resolve()
        check_absolute(str(real), "DIR")
        with refusing_bad_names():
            parse_safe_id(tenant_id, "tenant", 1, 64)
            return cls(real, tenant_id, parse_datastore_name(name or real.name, "name"))


class Adoption:
    """One command."""

    def __init__(self, settings: Settings, database: Database, executor: Executor) -> None:
        self._settings = settings
        self._database = database
        self._executor = executor

    async def run(self, wanted: Wanted, *, take_over: bool = False) -> ImportReport:
        """Adopt the directory, or say that it was adopted before.

        Args:
            take_over: accept a mark of ours whose datastore the catalogue does not know (it was lost).

        Raises:
            NotFound: no datastore there. Conflict: foreign mark, wrong layout (all of it named). AlreadyExists.
            InvalidArgument: inside another datastore or the data folder. Locked: in use.
        """
        self._require_apart(wanted.path, self._settings.data_dir.resolve(), "the data folder")
        if not (wanted.path / layout.CHUNK_DIR).is_dir():
            raise NotFound(f"{wanted.path} holds no datastore: there is no {layout.CHUNK_DIR} in it")
        mark = await asyncio.to_thread(local_layout.read_mark, wanted.path)
        known = await self._find(wanted, uuid_of(mark))
        if known is not None:
            _remove_note(wanted.path)
            return known
        await self._require_free(wanted)
        await asyncio.to_thread(_require_layout, wanted.path)
        identity = _identity(wanted, mark, take_over)
        await asyncio.to_thread(_write_marks, wanted, identity)
        return await self._import(wanted, identity)

    async def _find(self, wanted: Wanted, identity: str | None) -> ImportReport | None:
        """A report if this very adoption was finished before. Raises AlreadyExists: the mark is another store's."""
        if identity is None:
            return None
        async with self._database.system() as connection:
            row = await connection.fetchrow(
                "SELECT tenant_id, name, location, state FROM datastore WHERE uuid::text = $1", identity
            )
        if row is None:
            return None
        whose = f"datastore '{row['name']}' of tenant '{row['tenant_id']}'"
        if (row["tenant_id"], row["name"], row["location"]) != (wanted.tenant_id, wanted.name, str(wanted.path)):
            raise AlreadyExists(f"the directory belongs to {whose}")
        if row["state"] != "active":
            raise AlreadyExists(f"the directory belongs to {whose}, which was removed: create it again with reuse")
        return ImportReport(wanted.tenant_id, wanted.name, str(wanted.path), already=True)

    async def _require_free(self, wanted: Wanted) -> None:
        """The name, and that no datastore lies above or below."""
        async with self._database.system() as connection:
            rows = await connection.fetch(
                "SELECT tenant_id, name, location, state FROM datastore WHERE backend_type = 'filesystem'"
            )
            taken = await connection.fetchval(
                "SELECT EXISTS (SELECT 1 FROM datastore WHERE tenant_id = $1 AND name = $2 AND state <> 'removed')",
                wanted.tenant_id,
                wanted.name,
            )
        if taken:
            raise AlreadyExists(f"datastore '{wanted.name}' of tenant '{wanted.tenant_id}' already exists")
        for row in rows:
            self._require_apart(wanted.path, self._settings.data_dir / row["location"], f"datastore '{row['name']}'")

    @staticmethod
    def _require_apart(path: Path, other: Path, what: str) -> None:
        if path == other or path in other.parents or other in path.parents:
            raise InvalidArgument(f"DIR: {path} is {what}, or inside it, or contains it", field="DIR")

    async def _import(self, wanted: Wanted, identity: str) -> ImportReport:
        location = str(wanted.path)
        backend = open_backend(self._settings, StoreLocation("filesystem", location, identity), self._executor)
        try:
            await backend.own()
            store = NewStore(wanted.tenant_id, wanted.name, identity, "filesystem", location, {"path": location})
            async with self._database.tenant(wanted.tenant_id) as connection:
                report = await Importer(connection, backend, self._settings, store).run()
        finally:
            await backend.close()
        await asyncio.to_thread(_remove_note, wanted.path)
        return report


def _require_layout(path: Path) -> None:
    """Raises Conflict with everything that a real PBS would refuse too."""
    problems = local_layout.layout_problems(path, local_layout.store_owner())
    found = list(islice(problems, _PROBLEMS_SHOWN))
    more = sum(1 for _ in problems)
    if found:
        lines = [*found, *([f"… and {more} more"] if more else [])]
        raise Conflict("the directory is not as a real PBS leaves it:\n" + "\n".join(lines))


def _identity(wanted: Wanted, mark: str | None, take_over: bool) -> str:
    """The datastore's uuid: that of an attempt which was cut off, of a lost catalogue, or a new one."""
    noted = _read_note(wanted)
    if mark is None:
        return noted or str(uuid.uuid4())
    own = uuid_of(mark)
    if own is None or (own != noted and not take_over):
        hint = "; if its catalogue was lost, repeat with --take-over" if own is not None else ""
        raise Conflict(f"the directory is in use by {mark or 'another server'} ({local_layout.MARK_NAME}){hint}")
    try:
        return str(uuid.UUID(own))
    except ValueError:
        raise Conflict(f"the mark in {local_layout.MARK_NAME} cannot be read") from None


def _read_note(wanted: Wanted) -> str | None:
    """uuid of an adoption of this directory under this name that was cut off."""
    try:
        note = json.loads((wanted.path / NOTE_NAME).read_bytes())
        if (note["tenant"], note["name"]) == (wanted.tenant_id, wanted.name):
            return str(uuid.UUID(note["uuid"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return None
    raise Conflict(f"an adoption as '{note['name']}' of tenant '{note['tenant']}' was cut off: repeat that one")


def _write_marks(wanted: Wanted, identity: str) -> None:
    """The note before the mark, each durable."""
    owner = local_layout.store_owner()
    root = os.open(wanted.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        note = {"uuid": identity, "tenant": wanted.tenant_id, "name": wanted.name}
        local_layout.make_file(root, NOTE_NAME, json.dumps(note).encode() + b"\n", owner)
        os.fsync(root)
        local_layout.write_mark(root, owner, f"{MARK_PREFIX}{identity}")
        os.fsync(root)
    finally:
        os.close(root)


def _remove_note(path: Path) -> None:
    (path / NOTE_NAME).unlink(missing_ok=True)
