"""The commands as an operator's process runs them: with a database of their own, beside the product or without it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pbs_cloud.chunkstore.backends import open_backend
from pbs_cloud.chunkstore.catalogue.rows import Store, store_by_id
from pbs_cloud.chunkstore.maintenance.adopt import Adoption, Wanted
from pbs_cloud.chunkstore.maintenance.adopt_bucket import SCHEME, BucketAdoption, WantedPrefix
from pbs_cloud.chunkstore.maintenance.fsck import Check
from pbs_cloud.chunkstore.maintenance.fsck_report import FsckReport, Problem
from pbs_cloud.chunkstore.maintenance.rebuild import Outcome, Rebuilding
from pbs_cloud.chunkstore.maintenance.reimport import Reimport
from pbs_cloud.chunkstore.maintenance.report import ImportReport
from pbs_cloud.contracts.errors import NotFound, PbsError
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.settings import Settings

_THREADS = 4
_CONNECTIONS = 4


@dataclass(frozen=True, slots=True)
class Tools:
    """What every command works with."""

    settings: Settings
    database: Database
    executor: ThreadPoolExecutor


@asynccontextmanager
async def tools(settings: Settings) -> AsyncIterator[Tools]:
    """The database must answer and be migrated; else this waits."""
    url = settings.database_url_for("chunkstore")
    database = Database(url, schema="chunkstore", application_name="maintenance", max_size=_CONNECTIONS)
    await database.start()
    try:
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="storage") as executor:
            yield Tools(settings, database, executor)
    finally:
        await database.stop()


async def adopt(
    settings: Settings, path: Path, *, tenant_id: str, name: str | None, take_over: bool = False
) -> ImportReport:
    """Take over a directory, or a prefix of the bucket (`s3:PREFIX`), that a real PBS wrote. Raises `PbsError`."""
    if str(path).startswith(SCHEME):
        prefix = WantedPrefix.of(settings, str(path), tenant_id, name)
        async with tools(settings) as found:
            return await BucketAdoption(settings, found.database, found.executor).run(prefix)
    wanted = Wanted.of(path, tenant_id, name)
    async with tools(settings) as found:
        return await Adoption(settings, found.database, found.executor).run(wanted, take_over=take_over)


async def reimport(settings: Settings, *, name: str, tenant_id: str) -> ImportReport:
    """Snapshots that somebody else put into a datastore of the catalogue. Raises `PbsError`."""
    async with tools(settings) as found:
        (store,) = await _stores(found.database, name, tenant_id)
        return await Reimport(settings, found.database, found.executor).run(store)


async def rebuild(settings: Settings, *, name: str | None, tenant_id: str | None) -> list[Outcome]:
    """The catalogue again from the backend, of all datastores or some. Raises `PbsError`."""
    async with tools(settings) as found:
        rebuilding = Rebuilding(settings, found.database, found.executor)
        return [outcome async for outcome in rebuilding.run(name=name, tenant_id=tenant_id)]


async def fsck(
    settings: Settings, *, name: str | None, tenant_id: str | None, read_data: bool = False
) -> list[FsckReport]:
    """Compare all datastores, or some. Raises `PbsError`: NotFound without any, Unavailable without database."""
    async with tools(settings) as found:
        stores = await _stores(found.database, name, tenant_id)
        return [await _check(found, store, read_data) for store in stores]


async def _stores(database: Database, name: str | None, tenant_id: str | None) -> list[Store]:
    async with database.system() as connection:
        rows = await connection.fetch(
            "SELECT id FROM datastore WHERE state = 'active' AND ($1::text IS NULL OR name = $1)"
            " AND ($2::text IS NULL OR tenant_id = $2) ORDER BY tenant_id, name",
            name,
            tenant_id,
        )
        stores = [await store_by_id(connection, row["id"]) for row in rows]
    if not stores:
        raise NotFound("the catalogue has no such datastore")
    return stores


async def _check(found: Tools, store: Store, read_data: bool) -> FsckReport:
    """A datastore whose storage cannot be read is a finding, and the others are compared all the same."""
    backend = open_backend(found.settings, store.place, found.executor)
    check = Check(found.settings, found.database, backend, store)
    try:
        return await check.run(read_data=read_data)
    except PbsError as error:
        check.report.add(Problem.UNREADABLE, f"datastore '{store.name}'", error.message)
        return check.report
    finally:
        await backend.close()
