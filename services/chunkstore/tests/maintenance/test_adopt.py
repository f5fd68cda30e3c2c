"""A directory of a real PBS becomes a datastore where it lies, and everything works on it afterwards."""

import json
import shutil
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from testkit.chunk_world import plain_chunk
from testkit.collection_world import CollectionWorld
from testkit.golden import GOLDEN

from pbs_cloud.chunkstore.backends import open_backend
from pbs_cloud.chunkstore.catalogue.parts import Backends, FileWrites, Parts
from pbs_cloud.chunkstore.catalogue.rows import find_store
from pbs_cloud.chunkstore.catalogue.services import Services
from pbs_cloud.chunkstore.chunks.service import ChunkService
from pbs_cloud.chunkstore.chunks.stores import StoreRegistry
from pbs_cloud.chunkstore.maintenance.adopt import Adoption, Wanted
from pbs_cloud.chunkstore.maintenance.report import ImportReport
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.errors import NotFound
from pbs_cloud.formats.index import parse_index
from pbs_cloud.formats.names import SnapshotRef
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.settings import Settings

STORE = "store"
TENANT = "default"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())


@asynccontextmanager
async def world_of(
    database: Database, settings: Settings, threads: ThreadPoolExecutor
) -> AsyncIterator[CollectionWorld]:
    """The services of the product on an adopted store."""
    async with database.tenant(TENANT) as connection:
        store = await find_store(connection, TENANT, STORE)
    backends = Backends(lambda place: open_backend(settings, place, threads))
    parts = Parts(database, backends, settings, FileWrites())
    registry = StoreRegistry(settings, database, io_threads=4, check_threads=2)
    made = CollectionWorld(
        database, settings, TENANT, store.id, store.place, parts, Services.build(parts), registry,
        ChunkService(database, registry),
    )  # fmt: skip
    yield made
    await registry.stop()
    await backends.close()


@pytest.fixture
def adoption(settings: Settings, database: Database, threads: ThreadPoolExecutor) -> Adoption:
    return Adoption(settings, database, threads)


async def adopt(adoption: Adoption, path: Path, name: str = STORE, *, take_over: bool = False) -> ImportReport:
    return await adoption.run(Wanted.of(path, TENANT, name), take_over=take_over)


@contextmanager
def moved(path: Path) -> Iterator[None]:
    aside = path.with_name("aside-" + path.name)
    path.rename(aside)
    yield
    aside.rename(path)


async def test_the_golden_directory(
    adoption: Adoption, unmarked: Path, database: Database, settings: Settings, threads: ThreadPoolExecutor
) -> None:
    before = contents_of(unmarked)
    report = await adopt(adoption, unmarked)
    groups = sum(len(item["groups"]) for item in EXPECTED["api"]["by_namespace"].values())
    assert (report.snapshots, report.groups, report.namespaces, report.chunks) == (19, groups, 3, 49)
    assert (report.missing_chunks, report.bad_chunks, report.warnings) == (1, 1, [])
    assert contents_of(unmarked) == before, "nothing of the real PBS was changed"
    async with world_of(database, settings, threads) as world:
        await same_lists(world)
        counted, stored = await world.usage()
        assert counted == stored == report.bytes
        on_disk = sum(path.stat().st_size for path in chunk_files(unmarked))
        assert await world.value("SELECT sum(bytes)::bigint FROM usage_counter WHERE writer = 1") == on_disk
        assert await world.value("SELECT count(*) FROM snapshot_file WHERE kind <> 'blob'") == 28


async def test_restore_collection_and_backup_afterwards(
    adoption: Adoption, unmarked: Path, database: Database, settings: Settings, threads: ThreadPoolExecutor
) -> None:
    await adopt(adoption, unmarked)
    async with world_of(database, settings, threads) as world:
        restored = 0
        for expected in EXPECTED["snapshots"]:
            restored += await restore(world, expected, unmarked)
        listed = [f for item in EXPECTED["snapshots"] for f in item["files"].values()]
        assert restored == sum(len(f.get("chunks", ())) for f in listed) - 1, "all but the missing one"
        before = {path: path.stat().st_ino for path in chunk_files(unmarked)}
        for _ in range(2):
            await world.collect()
        assert {path: path.stat().st_ino for path in chunk_files(unmarked)} == before, "no chunk was collected"
        assert await world.value("SELECT count(*) FROM chunk WHERE state = 2") == len(before) == 49
        backup = await world.backup([plain_chunk(300)], name="after")
        ref = SnapshotRef.of("host", "after", backup.time)
        assert (unmarked / str(ref) / "index.json.blob").exists()
        await world.forget(backup)
        for _ in range(2):
            await world.collect()
        assert {path: path.stat().st_ino for path in chunk_files(unmarked)} == before
    shutil.rmtree(unmarked / "host" / "after", ignore_errors=True)


async def same_lists(world: CollectionWorld) -> None:
    """What the real server answered for this directory."""
    api = EXPECTED["api"]
    listed = await world.services.namespaces.below(world.ctx, STORE, "", None)
    assert sorted(listed) == sorted(item["ns"] for item in api["namespaces"])
    for ns, wanted in api["by_namespace"].items():
        found = [item async for item in world.services.listings.snapshots(world.ctx, STORE, ns, None, None)]
        shown = {
            (item.backup_type, item.backup_id, item.backup_time): (
                item.owner, item.protected, item.size, {(f.filename, f.size) for f in item.files},
                None if item.verification is None else item.verification.state,
            )
            for item in found
        }  # fmt: skip
        assert shown == {
            (item["backup-type"], item["backup-id"], item["backup-time"]): (
                item["owner"], item["protected"], item["size"], {(f["filename"], f.get("size")) for f in item["files"]},
                item.get("verification", {}).get("state"),
            )
            for item in wanted["snapshots"]
        }  # fmt: skip


async def restore(world: CollectionWorld, expected: dict, root: Path) -> int:
    """Every chunk of every index through a reader session; how many were read."""
    ns, (kind, name, time) = expected["ns"], expected["snapshot"].split("/")
    ref = SnapshotRef.parse(f"{kind}/{name}/{time}")
    key = t.SnapshotKey(t.GroupRef(STORE, ns, kind, name), ref.backup_time)
    session = await world.services.readers.open(world.ctx, key, process_id="test", with_task=False)
    read = 0
    for file in expected["files"]:
        pieces = [piece async for piece in world.services.files.read(world.ctx, session.session_id, file)]
        if not file.endswith("idx"):
            continue
        for chunk in parse_index(b"".join(pieces)):
            path = root / ".chunks" / chunk.digest.hex()[:4] / chunk.digest.hex()
            if path.exists():
                assert await world.chunks.get(world.ctx, session.session_id, chunk.digest) == path.read_bytes()
                read += 1
            else:
                with pytest.raises(NotFound):
                    await world.chunks.get(world.ctx, session.session_id, chunk.digest)
    await world.services.closing.close(world.ctx, session.session_id, error=None, bytes_sent=0)
    return read


def chunk_files(root: Path) -> list[Path]:
    return [path for path in (root / ".chunks").glob("*/*") if len(path.name) == 64]


def contents_of(root: Path) -> dict[str, tuple[int, int, int]]:
    """Every entry but our own marks."""
    found = {}
    for path in root.rglob("*"):
        if not path.name.startswith(".pbs-cloud"):
            stat = path.lstat()
            found[str(path.relative_to(root))] = (stat.st_ino, stat.st_mode, stat.st_size)
    return found
