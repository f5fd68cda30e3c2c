"""The catalogue again, from nothing but the datastores that this product wrote (architecture "The backend alone")."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import obstore
from obstore.exceptions import BaseError

from pbs_cloud.chunkstore.backends import StoreLocation, local_layout, open_backend
from pbs_cloud.chunkstore.backends.s3_client import S3Settings, as_pbs_error, data_client
from pbs_cloud.chunkstore.catalogue.store_config import new_config
from pbs_cloud.chunkstore.maintenance.importing import Importer, NewStore
from pbs_cloud.chunkstore.maintenance.objects import marked_by, uuid_of
from pbs_cloud.chunkstore.maintenance.report import ImportReport
from pbs_cloud.contracts.errors import Conflict, NotFound, PbsError
from pbs_cloud.formats import layout
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.names import parse_datastore_name, parse_safe_id
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.settings import Settings

FOLDER = "datastores"


@dataclass(frozen=True, slots=True)
class Place:
    """A datastore that lies below the data folder or the bucket's prefix."""

    backend_type: str
    location: str
    tenant_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one datastore; ``problem`` instead of ``report`` if it was not rebuilt."""

    place: Place
    report: ImportReport | None = None
    problem: str | None = None


class Rebuilding:
    """One command. A datastore that the catalogue knows is left alone."""

    def __init__(self, settings: Settings, database: Database, executor: Executor) -> None:
        self._settings = settings
        self._database = database
        self._executor = executor

    async def run(self, *, name: str | None = None, tenant_id: str | None = None) -> AsyncIterator[Outcome]:
        """Rebuild all datastores, or those of one name or tenant; each in a transaction of its own.

        Raises:
            NotFound: there is none. Unavailable.
        """
        places = [
            place
            for place in [*await asyncio.to_thread(_local_places, self._settings.data_dir), *await self._in_bucket()]
            if name in (None, place.name) and tenant_id in (None, place.tenant_id)
        ]
        if not places:
            raise NotFound("there is no such datastore below the data folder or in the bucket")
        for place in places:
            try:
                yield Outcome(place, await self._rebuild(place))
            except PbsError as error:
                yield Outcome(place, problem=error.message)

    async def _rebuild(self, place: Place) -> ImportReport:
        bare = open_backend(self._settings, StoreLocation(place.backend_type, place.location), self._executor)
        mark = await marked_by(bare, self._settings)
        identity = _parsed(uuid_of(mark))
        if identity is None:
            raise Conflict("it carries no mark" if mark is None else f"it is in use by {mark or 'another server'}")
        if await self._is_known(place, identity):
            return ImportReport(place.tenant_id, place.name, place.location, already=True)
        where = StoreLocation(place.backend_type, place.location, identity)
        backend = open_backend(self._settings, where, self._executor)
        store = NewStore(
            place.tenant_id, place.name, identity, place.backend_type, place.location, new_config(place.name, {})
        )
        try:
            await backend.complete()
            await backend.own()
            async with self._database.tenant(place.tenant_id) as connection:
                return await Importer(connection, backend, self._settings, store).run()
        finally:
            await backend.close()

    async def _is_known(self, place: Place, identity: str) -> bool:
        async with self._database.system() as connection:
            row = await connection.fetchrow(
                "SELECT uuid::text AS uuid FROM datastore WHERE uuid::text = $1"
                " OR (tenant_id = $2 AND name = $3 AND state <> 'removed') ORDER BY uuid::text <> $1 LIMIT 1",
                identity,
                place.tenant_id,
                place.name,
            )
        if row is not None and row["uuid"] != identity:
            raise Conflict("the catalogue knows another datastore of this name")
        return row is not None

    async def _in_bucket(self) -> list[Place]:
        if self._settings.s3_bucket is None:
            return []
        root = self._settings.s3_prefix.strip("/")
        found = []
        for tenant in await self._below(f"{root}/" if root else ""):
            for key in await self._below(f"{tenant}/"):
                tenant_id, name = key.split("/")[-2:]
                if _is_named(tenant_id, name) and await self._has_store(key):
                    found.append(Place("s3", f"{tenant_id}/{name}", tenant_id, name))
        return sorted(found, key=lambda place: place.location)

    async def _below(self, prefix: str) -> list[str]:
        """Common prefixes one level below, without the slash at their end."""
        store = data_client(S3Settings.of(self._settings))
        try:
            answer = await obstore.list_with_delimiter_async(store, prefix or None)
        except (BaseError, OSError) as error:
            raise as_pbs_error(error, "the bucket") from error
        return [found.rstrip("/") for found in answer["common_prefixes"]]

    async def _has_store(self, prefix: str) -> bool:
        parts = {part.split("/")[-1] for part in await self._below(f"{prefix}/")}
        place = StoreLocation("s3", "/".join(prefix.split("/")[-2:]))
        mark = await marked_by(open_backend(self._settings, place, self._executor), self._settings)
        return mark is not None or bool(parts & {layout.CHUNK_DIR, layout.CONTENT_DIR})


def _local_places(data_dir: Path) -> list[Place]:
    found = []
    for path in sorted(data_dir.glob(f"{FOLDER}/*/*")):
        tenant_id, name = path.parts[-2:]
        is_store = (path / layout.CHUNK_DIR).is_dir() or (path / local_layout.MARK_NAME).exists()
        if is_store and _is_named(tenant_id, name):
            found.append(Place("filesystem", f"{FOLDER}/{tenant_id}/{name}", tenant_id, name))
    return found


def _is_named(tenant_id: str, name: str) -> bool:
    try:
        parse_safe_id(tenant_id, "tenant", 1, 64)
        parse_datastore_name(name)
    except FormatError:
        return False
    return True


def _parsed(identity: str | None) -> str | None:
    try:
        return None if identity is None else str(uuid.UUID(identity))
    except ValueError:
        return None
