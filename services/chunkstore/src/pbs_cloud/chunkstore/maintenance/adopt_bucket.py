"""Taking over a datastore that a real PBS wrote into our bucket, where it lies (formats 8.6).

Its identity follows from its place and its name here, so a command that was cut off between mark and rows is repeated.
"""

from __future__ import annotations

import uuid
from concurrent.futures import Executor
from dataclasses import dataclass

from pbs_cloud.chunkstore.backends import StoreLocation, open_backend
from pbs_cloud.chunkstore.backends.paths import check_prefix
from pbs_cloud.chunkstore.catalogue.names import refusing_bad_names
from pbs_cloud.chunkstore.catalogue.store_config import new_config
from pbs_cloud.chunkstore.maintenance.importing import Importer, NewStore
from pbs_cloud.chunkstore.maintenance.objects import chunk_batches, marked_by, uuid_of
from pbs_cloud.chunkstore.maintenance.report import ImportReport
from pbs_cloud.contracts.errors import AlreadyExists, Conflict, InvalidArgument, NotFound
from pbs_cloud.formats.names import parse_datastore_name, parse_safe_id
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.settings import Settings

SCHEME = "s3:"
_NAMES = uuid.UUID("3e3a2f0e-2c5e-5d0c-9d5c-6b1f6a0d7d10")


@dataclass(frozen=True, slots=True)
class WantedPrefix:
    """Who wants which prefix of the bucket under which name; `location`: below the product's own prefix."""

    location: str
    tenant_id: str
    name: str

    @classmethod
    def of(cls, settings: Settings, text: str, tenant_id: str, name: str | None) -> WantedPrefix:
        """From `s3:PREFIX`; the name defaults to its last part. Raises InvalidArgument."""
        if settings.s3_bucket is None:
            raise InvalidArgument("DIR: object storage is not set up (PBS_S3_BUCKET)", field="DIR")
        prefix = check_prefix(text.removeprefix(SCHEME).strip("/"), "DIR")
        own = settings.s3_prefix.strip("/")
        if own and not prefix.startswith(f"{own}/"):
            raise InvalidArgument(f"DIR: must lie below {own}/ (PBS_S3_PREFIX)", field="DIR")
        location = prefix.removeprefix(f"{own}/") if own else prefix
        with refusing_bad_names():
            parse_safe_id(tenant_id, "tenant", 1, 64)
            return cls(location, tenant_id, parse_datastore_name(name or prefix.rpartition("/")[2], "name"))

    def identity(self, settings: Settings) -> str:
        """The datastore's uuid."""
        where = "\0".join((settings.s3_endpoint or "", settings.s3_bucket or "", settings.s3_prefix, self.location))
        return str(uuid.uuid5(_NAMES, "\0".join((where, self.tenant_id, self.name))))


class BucketAdoption:
    """One command."""

    def __init__(self, settings: Settings, database: Database, executor: Executor) -> None:
        self._settings = settings
        self._database = database
        self._executor = executor

    async def run(self, wanted: WantedPrefix) -> ImportReport:
        """Adopt the prefix, or say that it was adopted before.

        Raises:
            NotFound: no datastore there. Conflict: in use by somebody else, or parts of it cannot be imported.
            AlreadyExists. InvalidArgument: inside another datastore. Unavailable.
        """
        identity = wanted.identity(self._settings)
        if await self._is_adopted(wanted, identity):
            return ImportReport(wanted.tenant_id, wanted.name, wanted.location, already=True)
        await self._require_free(wanted)
        backend = open_backend(self._settings, StoreLocation("s3", wanted.location, identity), self._executor)
        try:
            mark = await marked_by(backend, self._settings)
            if mark is not None and uuid_of(mark) != identity:
                raise Conflict(
                    f"the prefix is in use by {mark or 'another server'}: remove the datastore there, keeping its data"
                )
            if not [True async for batch in chunk_batches(backend, self._settings) if batch.chunks][:1]:
                raise NotFound(f"the bucket holds no datastore below {wanted.location}/")
            await backend.create(reuse=True)
            store = NewStore(
                wanted.tenant_id, wanted.name, identity, "s3", wanted.location, new_config(wanted.name, {})
            )
            async with self._database.tenant(wanted.tenant_id) as connection:
                return await Importer(connection, backend, self._settings, store).run()
        finally:
            await backend.close()

    async def _is_adopted(self, wanted: WantedPrefix, identity: str) -> bool:
        async with self._database.system() as connection:
            state = await connection.fetchval("SELECT state FROM datastore WHERE uuid::text = $1", identity)
        if state not in (None, "active"):
            raise AlreadyExists(f"datastore '{wanted.name}' lay there and was removed: create it again with reuse")
        return state is not None

    async def _require_free(self, wanted: WantedPrefix) -> None:
        """The name, and that no datastore lies above or below."""
        async with self._database.system() as connection:
            rows = await connection.fetch(
                "SELECT tenant_id, name, location, backend_type, state FROM datastore"
                " WHERE backend_type = 's3' OR (tenant_id = $1 AND name = $2)",
                wanted.tenant_id,
                wanted.name,
            )
        for row in rows:
            if (row["tenant_id"], row["name"]) == (wanted.tenant_id, wanted.name) and row["state"] != "removed":
                raise AlreadyExists(f"datastore '{wanted.name}' of tenant '{wanted.tenant_id}' already exists")
            first, second = f"{wanted.location}/", f"{row['location']}/"
            if row["backend_type"] == "s3" and (first.startswith(second) or second.startswith(first)):
                raise InvalidArgument(f"DIR: datastore '{row['name']}' lies there", field="DIR")
