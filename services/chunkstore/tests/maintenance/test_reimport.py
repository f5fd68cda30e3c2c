"""A real PBS used a datastore of ours for a while; its snapshots come into the catalogue (mixed mode)."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from testkit.chunk_world import Chunk, plain_chunk
from testkit.collection_world import STORE, CollectionWorld, dynamic_index
from testkit.races import CONDEMNED, LIVE, sound

from pbs_cloud.chunkstore.backends.port import ChunkBackend
from pbs_cloud.chunkstore.catalogue.rows import Store, find_store
from pbs_cloud.chunkstore.maintenance.contents import SnapshotFiles
from pbs_cloud.chunkstore.maintenance.reimport import Reimport, _KnownImporter
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.errors import Conflict, Locked
from pbs_cloud.formats import blob
from pbs_cloud.formats.manifest import BackupManifest
from pbs_cloud.formats.names import SnapshotRef
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.settings import Settings

from .conftest import new_store, services_on

TENANT = "acme"
FOLDER = "ns/far/vm/7/2026-01-31T12:00:00Z"
TIME = 1_769_860_800


async def backend_of(world: CollectionWorld) -> ChunkBackend:
    return (await world.registry.get(world.datastore, world.tenant, world.location)).backend


async def foreign_snapshot(world: CollectionWorld, chunks: Sequence[Chunk], written: Sequence[Chunk]) -> None:
    """What another server leaves: owner, index, manifest; those of its chunks that were not there."""
    backend = await backend_of(world)
    for chunk in written:
        await backend.write_chunk(chunk.digest, [chunk.data], only_new=True)
    raw, csum, size = dynamic_index(chunks)
    manifest = {
        "backup-type": "vm",
        "backup-id": "7",
        "backup-time": TIME,
        "files": [{"filename": "a.pxar.didx", "size": size, "csum": csum.hex(), "crypt-mode": "none"}],
        "signature": None,
        "unprotected": {},
    }
    await backend.make_namespace("ns/far/")
    await backend.put_file("ns/far/vm/7/owner", b"other@pbs\n")
    await backend.put_file(f"{FOLDER}/a.pxar.didx", raw)
    await backend.put_file(f"{FOLDER}/index.json.blob", blob.encode(json.dumps(manifest).encode()))


async def store_of(database: Database) -> Store:
    async with database.tenant(TENANT) as connection:
        return await find_store(connection, TENANT, STORE)


@pytest.mark.parametrize("kind", ["local", "s3"])
async def test_foreign_snapshots_come_in(
    database: Database, threads: ThreadPoolExecutor, request: pytest.FixtureRequest, kind: str
) -> None:
    settings: Settings = request.getfixturevalue("settings" if kind == "local" else "s3_settings")
    await new_store(database, settings, threads, TENANT)
    ours, dropped, foreign = plain_chunk(400), plain_chunk(401), plain_chunk(402)
    command = Reimport(settings, database, threads)
    async with services_on(database, settings, threads, TENANT, STORE) as world:
        known = await world.backup([ours])
        await world.forget(await world.backup([dropped], "old"))
        await world.collect(sweeps=False)
        assert await world.state(dropped) == CONDEMNED
        await foreign_snapshot(world, [ours, dropped, foreign], [foreign])
        run = await world.begin()
        assert FOLDER in ((await world.find_orphans(run)).refused or "")
        with pytest.raises(Locked, match="a garbage collection runs"):
            await command.run(await store_of(database))
        await world.end(run)

        report = await command.run(await store_of(database))
        assert (report.snapshots, report.groups, report.namespaces, report.chunks) == (1, 1, 1, 1)
        assert (report.missing_chunks, report.left_out_snapshots, report.warnings) == (0, 0, [])
        listed = [s async for s in world.services.listings.snapshots(world.ctx, STORE, "far", None, None)]
        assert [(s.backup_type, s.backup_id, s.backup_time, s.owner) for s in listed] == [
            ("vm", "7", TIME, "other@pbs")
        ]
        counted, stored = await world.usage()
        assert counted == stored

        for _ in range(2):
            assert (await world.collect())["removed-chunks"] == 0
        assert await sound(world, ours, dropped, foreign)
        await world.collect_orphans()
        again = await command.run(await store_of(database))
        assert (again.snapshots, again.groups, again.namespaces, again.chunks, again.bytes) == (0, 0, 0, 0, 0)
        await world.services.snapshots.delete(world.ctx, t.SnapshotKey(t.GroupRef(STORE, "far", "vm", "7"), TIME))
        await world.collect()
        assert [await world.state(chunk) for chunk in (ours, dropped, foreign)] == [LIVE, None, None]
        await world.forget(known)
        counted, stored = await world.usage()
        assert counted == stored


@pytest.mark.parametrize("kind", ["local", "s3"])
async def test_what_another_server_changed_is_taken_over(
    database: Database, threads: ThreadPoolExecutor, request: pytest.FixtureRequest, kind: str
) -> None:
    """Its notes, verifications, protection and owners; what it removed is told."""
    settings: Settings = request.getfixturevalue("settings" if kind == "local" else "s3_settings")
    await new_store(database, settings, threads, TENANT)
    command = Reimport(settings, database, threads)
    async with services_on(database, settings, threads, TENANT, STORE) as world:
        kept, gone = await world.backup([plain_chunk(400)]), await world.backup([plain_chunk(401)], "gone")
        group = t.GroupRef(STORE, "", "host", "one")
        await world.services.groups.set_notes(world.ctx, group, "ours")
        backend = await backend_of(world)
        folder = str(SnapshotRef.of("host", "one", kept.time))
        raw = b"".join([piece async for piece in backend.read_file(f"{folder}/index.json.blob")])
        manifest = BackupManifest.from_blob(raw)
        manifest.notes = "written by a real PBS"
        await backend.put_file(f"{folder}/index.json.blob", manifest.to_blob())
        await backend.put_file(f"{folder}/.protected", b"")
        await backend.put_file("host/one/owner", b"other@pbs\n")
        await backend.delete_file("host/one/notes")
        await backend.delete_tree(f"{SnapshotRef.of('host', 'gone', gone.time)}/")

        report = await command.run(await store_of(database))
        assert (report.refreshed, report.snapshots, report.owners) == (1, 0, {"other@pbs"})
        assert [line.partition(" is gone")[0] for line in report.warnings] == [
            f"snapshot '{SnapshotRef.of('host', 'gone', gone.time)}'"
        ]
        listed = [s async for s in world.services.listings.snapshots(world.ctx, STORE, "", "host", "one")]
        assert [(s.owner, s.protected, s.comment) for s in listed] == [("other@pbs", True, "written by a real PBS")]
        assert await world.services.groups.notes(world.ctx, group) == ""
        with pytest.raises(Conflict, match="protected"):
            await world.forget(kept)
        await world.forget(gone)
        counted, stored = await world.usage()
        assert counted == stored
        again = await command.run(await store_of(database))
        assert (again.refreshed, again.bytes, again.warnings) == (0, 0, [])


async def test_what_is_being_deleted_or_taken_is_waited_for(
    database: Database, threads: ThreadPoolExecutor, s3_settings: Settings
) -> None:
    settings = s3_settings
    await new_store(database, settings, threads, TENANT)
    chunk = plain_chunk(400)
    command = Reimport(settings, database, threads)
    async with services_on(database, settings, threads, TENANT, STORE) as world:
        await world.backup([chunk])
        await foreign_snapshot(world, [chunk], [])
        await world.execute("UPDATE chunk SET state = 5")
        with pytest.raises(Conflict, match="1 chunks that new snapshots need are being deleted"):
            await command.run(await store_of(database))
        await world.execute("UPDATE chunk SET state = 2")
        backend = await backend_of(world)
        await backend.release()
        await command.run(await store_of(database))
        await backend.check()
        async with database.tenant(TENANT) as connection:
            await connection.execute("UPDATE datastore SET uuid = gen_random_uuid()")
        with pytest.raises(Conflict, match="the place is in use by"):
            await command.run(await store_of(database))


async def test_a_chunk_whose_upload_broke_off_is_live(
    database: Database, threads: ThreadPoolExecutor, settings: Settings
) -> None:
    """Its row was made by an upload of ours, its object is there: nothing else would make it readable."""
    await new_store(database, settings, threads, TENANT)
    begun = plain_chunk(400)
    async with services_on(database, settings, threads, TENANT, STORE) as world:
        await foreign_snapshot(world, [begun], [begun])
        await world.execute(
            "INSERT INTO chunk (datastore_id, tenant_id, digest, kind, size, raw_size, state, touch_epoch)"
            " SELECT id, tenant_id, $1, 1, 7, 7, 1, 0 FROM datastore", begun.digest
        )  # fmt: skip
        report = await Reimport(settings, database, threads).run(await store_of(database))
        assert (report.snapshots, report.chunks, report.missing_chunks) == (1, 1, 0)
        assert await world.state(begun) == LIVE
        counted, stored = await world.usage()
        assert counted == stored


async def test_a_group_that_vanishes_meanwhile_makes_it_repeat(
    database: Database, threads: ThreadPoolExecutor, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await new_store(database, settings, threads, TENANT)
    chunk = plain_chunk(400)
    command = Reimport(settings, database, threads)
    async with services_on(database, settings, threads, TENANT, STORE) as world:
        await foreign_snapshot(world, [chunk], [chunk])
        insert = _KnownImporter._insert_snapshot

        async def late(importer: _KnownImporter, snapshot: SnapshotFiles) -> int:
            importer._groups[snapshot.place] = -1
            return await insert(importer, snapshot)

        with monkeypatch.context() as patch:
            patch.setattr(_KnownImporter, "_insert_snapshot", late)
            with pytest.raises(Conflict, match="removed meanwhile: repeat"):
                await command.run(await store_of(database))
        assert (await command.run(await store_of(database))).snapshots == 1
