"""The database is lost; the catalogue comes back from the directory or bucket alone."""

import json
import shutil
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from testkit.chunk_world import plain_chunk
from testkit.collection_world import STORE, CollectionWorld
from testkit.golden import GOLDEN
from testkit.servers import S3Server

from pbs_cloud.chunkstore.maintenance.rebuild import Outcome, Rebuilding
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.errors import NotFound
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.settings import Settings

from .conftest import forget_all, new_store, services_on

TENANT = "acme"
MARK = "pbs-cloud-11111111-2222-3333-4444-555555555555"
# What no backend knows (times of creation, kinds of chunks before their first read) is not compared.
DUMP = {
    "datastore": "SELECT tenant_id, name, uuid::text, backend_type, location, config, state FROM datastore",
    "namespace": "SELECT tenant_id, path FROM namespace",
    "backup_group": "SELECT n.path, g.backup_type, g.backup_id, g.owner, g.notes, g.tenant_id FROM backup_group g"
    " JOIN namespace n ON n.id = g.namespace_id",
    "snapshot": "SELECT g.backup_id, s.backup_time, s.state, s.manifest, s.manifest_size, s.size, s.protected"
    " FROM snapshot s JOIN backup_group g ON g.id = s.group_id",
    "snapshot_file": "SELECT g.backup_id, s.backup_time, f.name, f.kind, f.csum, f.size, f.stored_size, f.location,"
    " f.chunk_count, f.tenant_id FROM snapshot_file f JOIN snapshot s ON s.id = f.snapshot_id"
    " JOIN backup_group g ON g.id = s.group_id",
    "chunk": "SELECT digest, size, location, state, tenant_id FROM chunk",
    "usage_counter": "SELECT writer, bytes, tenant_id FROM usage_counter",
}


async def dump(database: Database) -> dict[str, list[str]]:
    async with database.system() as connection:
        return {
            name: sorted(repr(tuple(row.values())) for row in await connection.fetch(sql)) for name, sql in DUMP.items()
        }


async def rebuild(database: Database, settings: Settings, threads: ThreadPoolExecutor, **which: Any) -> list[Outcome]:
    return [outcome async for outcome in Rebuilding(settings, database, threads).run(**which)]


async def fill(world: CollectionWorld) -> None:
    """Namespaces, groups with notes, protected and annotated snapshots, a log, an unfinished backup."""
    for ns in ("a", "a/b", "empty"):
        await world.services.namespaces.create(world.ctx, STORE, ns)
    first = await world.backup([plain_chunk(400), plain_chunk(401)])
    second = await world.backup([plain_chunk(402)], inherit=[plain_chunk(400)])
    key = t.SnapshotKey(first.group, first.time)
    await world.services.snapshots.set_notes(world.ctx, key, "two\nlines, ü")
    await world.services.snapshots.set_protected(world.ctx, key, True)
    await world.services.groups.set_notes(world.ctx, second.group, "notes\n")
    deep = t.GroupRef(STORE, "a/b", "vm", "100")
    session = await world.services.opening.open(world.ctx, deep, first.time, benchmark=False, process_id="gw-0")
    await world.services.closing.close(world.ctx, session.session_id, error=None, bytes_sent=0)
    await world.execute("DELETE FROM backup_group g WHERE NOT EXISTS (SELECT 1 FROM snapshot WHERE group_id = g.id)")


@pytest.mark.parametrize("kind", ["local", "s3"])
async def test_the_rows_are_the_same_as_before(
    database: Database, threads: ThreadPoolExecutor, request: pytest.FixtureRequest, kind: str
) -> None:
    settings: Settings = request.getfixturevalue("settings" if kind == "local" else "s3_settings")
    with pytest.raises(NotFound):
        await rebuild(database, settings, threads)
    await new_store(database, settings, threads, TENANT)
    async with services_on(database, settings, threads, TENANT, STORE) as world:
        await fill(world)
    before = await dump(database)
    assert all(before.values())
    (known,) = await rebuild(database, settings, threads)
    assert known.report is not None
    assert known.report.already
    assert await dump(database) == before
    await forget_all(database)
    with pytest.raises(NotFound):
        await rebuild(database, settings, threads, name="other")
    (made,) = await rebuild(database, settings, threads, name=STORE, tenant_id=TENANT)
    assert made.problem is None
    assert made.report is not None
    assert made.report.warnings == []
    assert await dump(database) == before
    async with services_on(database, settings, threads, TENANT, STORE) as world:
        await world.backup([plain_chunk(403)], inherit=[plain_chunk(402)], name="again")
        await world.collect()
        await world.collect()
        assert await world.value("SELECT count(*) FROM chunk WHERE state = 2") == 4


def put_golden(settings: Settings, s3: S3Server, mark: str) -> Any:
    """The golden bucket where the product keeps its datastores."""
    client = s3.client()
    with tarfile.open(GOLDEN / "bucket.tar.gz") as tar:
        for member in tar:
            name = member.name.partition("/")[2]
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None and name.startswith("golden-s3/"):
                client.put_object(
                    Bucket=settings.s3_bucket,
                    Key=f"{TENANT}/{STORE}{name.removeprefix('golden-s3')}",
                    Body=content.read(),
                )
    client.put_object(
        Bucket=settings.s3_bucket, Key=f"{TENANT}/{STORE}/.in-use", Body=json.dumps({"hostname": mark}).encode()
    )
    return client


def chunk_objects(client: Any, settings: Settings) -> set[str]:
    listed = client.list_objects_v2(Bucket=settings.s3_bucket, Prefix=f"{TENANT}/{STORE}/.chunks/")["Contents"]
    return {entry["Key"] for entry in listed}


async def test_the_golden_bucket(
    database: Database, threads: ThreadPoolExecutor, s3_settings: Settings, s3: S3Server
) -> None:
    client = put_golden(s3_settings, s3, "pbs.example.com")
    (refused,) = await rebuild(database, s3_settings, threads)
    assert "pbs.example.com" in (refused.problem or "")
    client.delete_object(Bucket=s3_settings.s3_bucket, Key=f"{TENANT}/{STORE}/.in-use")
    (refused,) = await rebuild(database, s3_settings, threads)
    assert refused.problem == "it carries no mark"
    client.put_object(
        Bucket=s3_settings.s3_bucket, Key=f"{TENANT}/{STORE}/.in-use", Body=json.dumps({"hostname": MARK}).encode()
    )
    owner = f"{TENANT}/{STORE}/.cnt/host/web-1/owner"
    content = client.get_object(Bucket=s3_settings.s3_bucket, Key=owner)["Body"].read()
    client.delete_object(Bucket=s3_settings.s3_bucket, Key=owner)
    (refused,) = await rebuild(database, s3_settings, threads)
    assert "group 'host/web-1' left out" in (refused.problem or "")
    assert (await dump(database))["datastore"] == []
    client.put_object(Bucket=s3_settings.s3_bucket, Key=owner, Body=content)
    (made,) = await rebuild(database, s3_settings, threads)
    report = made.report
    assert report is not None
    assert (report.snapshots, report.namespaces, report.missing_chunks, report.warnings) == (19, 3, 0, [])
    before = chunk_objects(client, s3_settings)
    async with services_on(database, s3_settings, threads, TENANT, STORE) as world:
        for _ in range(2):
            await world.collect()
        assert await world.value("SELECT count(*) FROM chunk WHERE state = 2") == len(before)
    assert chunk_objects(client, s3_settings) == before, "no chunk was collected"


async def test_a_damaged_chunk_beside_its_copy_stays_damaged(
    database: Database, threads: ThreadPoolExecutor, s3_settings: Settings, s3: S3Server
) -> None:
    client = put_golden(s3_settings, s3, MARK)
    prefix = f"{TENANT}/{STORE}/.chunks/"
    listed = client.list_objects_v2(Bucket=s3_settings.s3_bucket, Prefix=prefix)["Contents"]
    keys = [entry["Key"] for entry in listed if len(entry["Key"].rpartition("/")[2]) == 64][:2]
    damaged, healed = keys
    for key in keys:
        client.put_object(Bucket=s3_settings.s3_bucket, Key=f"{key}.0.bad", Body=b"damaged")
    client.put_object(Bucket=s3_settings.s3_bucket, Key=damaged, Body=b"damaged")
    (made,) = await rebuild(database, s3_settings, threads)
    assert made.report is not None
    assert [line for line in made.report.warnings if damaged[-64:] in line]
    async with database.system() as connection:
        states = {row["digest"].hex(): row["state"] for row in await connection.fetch("SELECT * FROM chunk")}
    assert (states[damaged[-64:]], states[healed[-64:]]) == (3, 2)


async def test_a_directory_without_our_mark_is_left_alone(
    database: Database, threads: ThreadPoolExecutor, settings: Settings, golden: Path
) -> None:
    place = settings.data_dir / "datastores" / TENANT / "golden"
    place.parent.mkdir(parents=True)
    golden.rename(place)
    try:
        (refused,) = await rebuild(database, settings, threads)
        assert refused.problem == "it carries no mark"
        (place / ".pbs-cloud").write_text(json.dumps({"hostname": MARK}))
        (made,) = await rebuild(database, settings, threads)
        assert made.report is not None
        assert (made.report.snapshots, made.report.missing_chunks) == (19, 1)
        (place / ".pbs-cloud").write_text(json.dumps({"hostname": MARK[:-1] + "6"}))
        (refused,) = await rebuild(database, settings, threads)
        assert "another datastore of this name" in (refused.problem or "")
    finally:
        (place / ".pbs-cloud").unlink(missing_ok=True)
        shutil.move(place, golden)
