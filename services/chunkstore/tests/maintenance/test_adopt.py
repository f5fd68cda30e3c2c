"""A directory of a real PBS becomes a datastore where it lies, and everything works on it afterwards."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from testkit.chunk_world import plain_chunk
from testkit.collection_world import STORE, CollectionWorld
from testkit.golden import GOLDEN

from pbs_cloud.chunkstore.backends.local_layout import DirectoryLock
from pbs_cloud.chunkstore.maintenance.adopt import NOTE_NAME, Adoption, Wanted
from pbs_cloud.chunkstore.maintenance.importing import Importer
from pbs_cloud.chunkstore.maintenance.report import ImportReport
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.errors import AlreadyExists, Conflict, DataCorrupt, InvalidArgument, Locked, NotFound
from pbs_cloud.formats.index import parse_index
from pbs_cloud.formats.names import SnapshotRef
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.settings import Settings

from .conftest import services_on

TENANT = "default"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())


@pytest.fixture
def adoption(settings: Settings, database: Database, threads: ThreadPoolExecutor) -> Adoption:
    return Adoption(settings, database, threads)


async def adopt(adoption: Adoption, path: Path, name: str = STORE, *, take_over: bool = False) -> ImportReport:
    return await adoption.run(Wanted.of(path, TENANT, name), take_over=take_over)


async def test_the_golden_directory(
    adoption: Adoption, unmarked: Path, database: Database, settings: Settings, threads: ThreadPoolExecutor
) -> None:
    before = contents_of(unmarked)
    report = await adopt(adoption, unmarked)
    groups = sum(len(item["groups"]) for item in EXPECTED["api"]["by_namespace"].values())
    assert (report.snapshots, report.groups, report.namespaces, report.chunks) == (19, groups, 3, 49)
    assert (report.missing_chunks, report.bad_chunks, report.warnings) == (1, 1, [])
    assert contents_of(unmarked) == before, "nothing of the real PBS was changed"
    async with services_on(database, settings, threads, TENANT, STORE) as world:
        await same_lists(world)
        counted, stored = await world.usage()
        assert counted == stored == report.bytes
        on_disk = sum(path.stat().st_size for path in chunk_files(unmarked))
        assert await world.value("SELECT sum(bytes)::bigint FROM usage_counter WHERE writer = 1") == on_disk
        assert await world.value("SELECT count(*) FROM snapshot_file WHERE kind <> 'blob'") == 28
        (state,) = [state async for state in world.runs.states(world.ctx, STORE, with_chunks=False)]
        assert json.loads(state.gc_status) == json.loads((unmarked / ".gc-status").read_bytes())


async def test_restore_collection_and_backup_afterwards(
    adoption: Adoption, unmarked: Path, database: Database, settings: Settings, threads: ThreadPoolExecutor
) -> None:
    await adopt(adoption, unmarked)
    async with services_on(database, settings, threads, TENANT, STORE) as world:
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


async def restore(world: CollectionWorld, expected: dict[str, Any], root: Path) -> int:
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


async def rows(database: Database) -> int:
    async with database.system() as connection:
        return int(await connection.fetchval("SELECT count(*) FROM datastore"))


async def test_everything_that_is_wrong_with_the_layout_is_told(
    adoption: Adoption, unmarked: Path, database: Database
) -> None:
    folder, owner = unmarked / ".chunks" / "fffe", (unmarked / ".chunks").stat()
    (unmarked / ".lock").chmod(0o600)
    folder.rmdir()
    unmarked.chmod(0o700)
    try:
        with pytest.raises(Conflict) as refused:
            await adopt(adoption, unmarked)
    finally:
        (unmarked / ".lock").chmod(0o644)
        unmarked.chmod(0o755)
        folder.mkdir()
        folder.chmod(0o750)
        shutil.chown(folder, owner.st_uid, owner.st_gid)
    for line in ("the directory: permissions", ".lock: permissions not correct (600", ".chunks/fffe is missing"):
        assert line in refused.value.message
    assert not list(unmarked.glob(".pbs-cloud*"))
    assert await rows(database) == 0


async def test_marks_of_others_are_honoured(adoption: Adoption, unmarked: Path, database: Database) -> None:
    lost = "11111111-2222-3333-4444-555555555555"
    for mark, hint in (("pbs.example.com", r"pbs\.example\.com"), (f"pbs-cloud-{lost}", "--take-over")):
        (unmarked / ".pbs-cloud").write_text(json.dumps({"hostname": mark}))
        with pytest.raises(Conflict, match=hint):
            await adopt(adoption, unmarked)
    for unreadable in ("not json", json.dumps({"hostname": "pbs-cloud-x"})):
        (unmarked / ".pbs-cloud").write_text(unreadable)
        with pytest.raises(Conflict):
            await adopt(adoption, unmarked, take_over=True)
    assert await rows(database) == 0
    (unmarked / ".pbs-cloud").write_text(json.dumps({"hostname": f"pbs-cloud-{lost}"}))
    await adopt(adoption, unmarked, take_over=True)
    async with database.system() as connection:
        assert str(await connection.fetchval("SELECT uuid FROM datastore")) == lost


async def test_names_and_places(
    adoption: Adoption, unmarked: Path, settings: Settings, database: Database, tmp_path: Path
) -> None:
    with pytest.raises(NotFound):
        await adopt(adoption, tmp_path)
    with pytest.raises(InvalidArgument, match="data folder"):
        await adopt(adoption, settings.data_dir / "datastores")
    for bad in ("ab", "a b c", "x" * 33):
        with pytest.raises(InvalidArgument):
            Wanted.of(unmarked, TENANT, bad)
    with pytest.raises(InvalidArgument):
        Wanted.of(Path("/"), TENANT, STORE)
    await adopt(adoption, unmarked)
    with pytest.raises(AlreadyExists, match=STORE):
        await adopt(adoption, unmarked, "other")
    inner = unmarked / "inner"
    (inner / ".chunks").mkdir(parents=True)
    try:
        with pytest.raises(InvalidArgument, match="inside"):
            await adopt(adoption, inner, "other")
        with pytest.raises(AlreadyExists, match="already exists"):
            await adopt(adoption, inner)
    finally:
        shutil.rmtree(inner)
    assert await rows(database) == 1


async def test_an_adoption_that_was_cut_off_is_finished_by_repeating_it(
    adoption: Adoption, unmarked: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(_self: Importer) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(Importer, "_report_missing", crash)
        with pytest.raises(RuntimeError):
            await adopt(adoption, unmarked)
    assert await rows(database) == 0
    mark = (unmarked / ".pbs-cloud").read_bytes()
    with pytest.raises(Conflict, match="repeat that one"):
        await adopt(adoption, unmarked, "other")
    holder = DirectoryLock(unmarked)
    with pytest.raises(Locked):
        await adopt(adoption, unmarked)
    holder.release()
    assert (await adopt(adoption, unmarked)).snapshots == 19
    assert (unmarked / ".pbs-cloud").read_bytes() == mark
    assert not (unmarked / NOTE_NAME).exists()
    (unmarked / NOTE_NAME).write_text("{}")
    assert (await adopt(adoption, unmarked)).already
    assert not (unmarked / NOTE_NAME).exists()


async def test_what_cannot_be_taken_is_told_and_keeps_its_chunks(
    adoption: Adoption, unmarked: Path, database: Database, settings: Settings, threads: ThreadPoolExecutor
) -> None:
    group = unmarked / "host" / "web-1"
    first = group / "2026-01-01T00:00:00Z"
    strange = [group / name for name in ("2023-02-30T00:00:00Z", "1969-12-31T00:00:00Z")]
    unfinished, odd = group / "2026-03-01T00:00:00Z", unmarked / "ns" / ".hidden"
    manifest, index = first / "index.json.blob", unmarked / "vm/100/2026-01-01T00:00:05Z/disk.img.fidx"
    whole, entries = manifest.read_bytes(), index.read_bytes()
    unread = unmarked / "vm/100/2026-01-02T00:00:05Z/disk.img.fidx"
    header = unread.read_bytes()
    owner = unmarked / "host" / "split-1" / "owner"
    before = sorted(path.name for path in chunk_files(unmarked))
    for path in (*strange, unfinished):
        path.mkdir()
        shutil.copy(first / "catalog.pcat1.didx", path / "catalog.pcat1.didx")
    odd.mkdir()
    owner.rename(owner.with_name("aside"))
    manifest.write_bytes(whole[:-3])
    index.write_bytes(entries[:-5])
    unread.write_bytes(header[:32] + bytes(32) + header[64:])
    try:
        report = await adopt(adoption, unmarked)
        told = "\n".join(report.warnings)
        for text in (*(path.name for path in strange), "never finished", "host/split-1' left out", ".hidden"):
            assert text in told
        assert "web-1/2026-01-01T00:00:00Z/index.json.blob' cannot be read" in told
        assert "disk.img.fidx' is damaged" in told
        assert "2026-01-02T00:00:05Z" not in told, "nobody reads the checksum in a header (formats 3.3)"
        assert (report.snapshots, report.left_out_snapshots) == (16, 4)
        async with services_on(database, settings, threads, TENANT, STORE) as world:
            with pytest.raises(DataCorrupt):
                await world.collect()
            await world.execute("UPDATE gc_run SET ended_at = clock_timestamp()")
            index.write_bytes(entries)
            await world.execute(
                "UPDATE snapshot_file SET stored_size = $1 WHERE csum IS NULL AND kind = 'fixed'", len(entries)
            )
            for _ in range(2):
                await world.collect()
        assert sorted(path.name for path in chunk_files(unmarked)) == before
    finally:
        for path in (*strange, unfinished, odd):
            shutil.rmtree(path)
        owner.with_name("aside").rename(owner)
        manifest.write_bytes(whole)
        index.write_bytes(entries)
        unread.write_bytes(header)
