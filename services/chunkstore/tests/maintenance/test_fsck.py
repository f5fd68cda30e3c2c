"""Every kind of difference between rows, objects and indexes is found, and a sound datastore has none."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from testkit.chunk_world import plain_chunk
from testkit.collection_world import STORE, CollectionWorld

from pbs_cloud.chunkstore.backends.port import ChunkBackend
from pbs_cloud.chunkstore.catalogue.rows import store_by_id
from pbs_cloud.chunkstore.maintenance.fsck import Check
from pbs_cloud.chunkstore.maintenance.fsck_report import FsckReport
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.errors import Unavailable
from pbs_cloud.formats import layout
from pbs_cloud.formats.manifest import BackupManifest
from pbs_cloud.formats.names import BackupNamespace, SnapshotRef
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.settings import Settings

from .conftest import new_store, services_on

TENANT = "acme"
FIRST, SECOND, THIRD = (plain_chunk(500 + number) for number in range(3))


@pytest.fixture(params=["local", "s3"])
async def world(
    request: pytest.FixtureRequest, database: Database, threads: ThreadPoolExecutor
) -> AsyncIterator[CollectionWorld]:
    settings: Settings = request.getfixturevalue("settings" if request.param == "local" else "s3_settings")
    await new_store(database, settings, threads, TENANT)
    async with services_on(database, settings, threads, TENANT, STORE) as made:
        await made.services.namespaces.create(made.ctx, STORE, "a")
        backup = await made.backup([FIRST, SECOND])
        await made.services.snapshots.set_protected(made.ctx, t.SnapshotKey(backup.group, backup.time), True)
        await made.services.groups.set_notes(made.ctx, backup.group, "noted")
        await made.open("running")
        yield made


async def backend_of(world: CollectionWorld) -> ChunkBackend:
    return (await world.registry.get(world.datastore, world.tenant, world.location)).backend


async def check(world: CollectionWorld, *, read_data: bool = False) -> FsckReport:
    async with world.database.tenant(world.tenant) as connection:
        store = await store_by_id(connection, world.datastore)
    backend = await backend_of(world)
    return await Check(world.settings, world.database, backend, store).run(read_data=read_data)


async def found(world: CollectionWorld, *, read_data: bool = False) -> set[tuple[str, str]]:
    report = await check(world, read_data=read_data)
    assert report.sound is not bool(report.findings)
    return {(item.problem.value, item.name.rpartition("/")[2]) for item in report.findings}


async def test_a_sound_datastore(world: CollectionWorld) -> None:
    report = await check(world, read_data=True)
    assert report.findings == []
    assert (report.chunks, report.indexes, report.digests) == (2, 1, 2)
    assert report.bytes == (await world.usage())[1]


async def test_chunks(world: CollectionWorld) -> None:
    backend = await backend_of(world)
    name = f"chunk {FIRST.digest.hex()}"
    await backend.write_chunk(FIRST.digest, [FIRST.data + b"x"], only_new=False)
    assert await found(world) == {("row and object differ", name)}
    await backend.delete_chunks([FIRST.digest])
    assert await found(world) == {("row without object", name)}
    await world.execute("UPDATE chunk SET state = 3 WHERE digest = $1", FIRST.digest)
    assert await found(world) == {("needed chunk not live", name)}
    await world.execute("DELETE FROM chunk WHERE digest = $1", FIRST.digest)
    assert ("needed chunk not live", name) in await found(world)
    await backend.write_chunk(FIRST.digest, [FIRST.data], only_new=True)
    await backend.write_chunk(THIRD.digest, [THIRD.data], only_new=True)
    assert await found(world) == {
        ("object without row", name),
        ("object without row", f"chunk {THIRD.digest.hex()}"),
        ("needed chunk not live", name),
        ("usage counter wrong", "usage counter chunks"),
    }


async def test_files(world: CollectionWorld) -> None:
    backend = await backend_of(world)
    time = await world.value("SELECT backup_time FROM snapshot WHERE state = 'committed'")
    folder = layout.snapshot_path(BackupNamespace(), SnapshotRef.of("host", "one", time))
    index = f"{folder}/a.pxar.didx"
    raw = b"".join([piece async for piece in backend.read_file(index)])
    await backend.put_file(index, raw[:-1])
    assert await found(world) == {("row and object differ", "a.pxar.didx"), ("damaged", "a.pxar.didx")}
    await backend.put_file(index, raw[:4096] + b"\0" + raw[4097:])
    assert ("damaged", "a.pxar.didx") in await found(world)
    await backend.put_file(index, raw)
    await world.execute("UPDATE snapshot_file SET chunk_count = 7 WHERE name = 'a.pxar.didx'")
    assert await found(world) == {("row and object differ", "a.pxar.didx")}
    await world.execute("UPDATE snapshot_file SET chunk_count = 2 WHERE name = 'a.pxar.didx'")
    for key in (f"{folder}/.protected", "host/one/owner", "host/one/notes", index):
        await backend.delete_file(key)
    await backend.put_file("host/one/2001-01-01T00:00:00Z/index.json.blob", b"x")
    names = {".protected", "owner", "notes", "a.pxar.didx"}
    assert {(kind, name.removeprefix("file ")) for kind, name in await found(world)} == {
        *(("row without object", name) for name in names),
        ("object without row", "index.json.blob"),
    }


async def test_a_manifest_may_differ_in_its_unprotected_part(world: CollectionWorld) -> None:
    backend = await backend_of(world)
    time = await world.value("SELECT backup_time FROM snapshot WHERE state = 'committed'")
    key = layout.manifest_path(BackupNamespace(), SnapshotRef.of("host", "one", time))
    manifest = BackupManifest.from_blob(b"".join([piece async for piece in backend.read_file(key)]))
    manifest.notes = "written by a process that died before the row was"
    await backend.put_file(key, manifest.to_blob())
    assert await found(world) == set()
    manifest.files.clear()
    await backend.put_file(key, manifest.to_blob())
    assert await found(world) == {("row and object differ", "index.json.blob")}


async def test_counters_and_damaged_data(world: CollectionWorld) -> None:
    backend = await backend_of(world)
    await backend.write_chunk(FIRST.digest, [FIRST.data[:-1] + b"?"], only_new=False)
    assert await found(world) == set()
    assert await found(world, read_data=True) == {("damaged", FIRST.digest.hex())}
    await world.execute("UPDATE usage_counter SET bytes = bytes + 1 WHERE writer = 0")
    assert await found(world) == {("usage counter wrong", "usage counter catalogue")}


async def test_a_storage_that_cannot_be_read_is_no_empty_one(
    world: CollectionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_args: object, **_more: object) -> None:
        raise Unavailable("away")

    monkeypatch.setattr(type(await backend_of(world)), "file_size", away)
    key = await world.value("SELECT min(name) FROM snapshot_file")
    await world.execute("DELETE FROM snapshot_file WHERE name = $1", key)
    with pytest.raises(Unavailable):
        await check(world)
