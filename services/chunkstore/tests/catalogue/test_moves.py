"""Moving groups and namespaces, and what a process that dies in between leaves (rest-api C.6, formats 12.2)."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from testkit.servers import S3Server

from pbs_cloud.chunkstore.backends.opening import open_backend
from pbs_cloud.chunkstore.catalogue import move_rows
from pbs_cloud.chunkstore.catalogue.names import Place
from pbs_cloud.chunkstore.catalogue.parts import Backends, FileWrites, Parts
from pbs_cloud.chunkstore.catalogue.rows import find_store
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import (
    Conflict,
    InvalidArgument,
    Locked,
    NamespaceNotFound,
    NotFound,
    NotOwner,
    PermissionDenied,
    Unavailable,
)
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.settings import Settings

from .conftest import Bench, caller

TIME = 1_700_000_000
FILES = {"a.conf.blob": b"memory: 512\n", "b.blob": b"more"}
_STORED = ["a.conf.blob", "b.blob", "index.json.blob"]


class Crash(BaseException):
    """The end of the process."""


@pytest.fixture(params=["directory", "bucket"])
async def place(
    request: pytest.FixtureRequest, bench: Bench, database: Database, threads: ThreadPoolExecutor, data_folder: Path
) -> AsyncIterator[Bench]:
    """The services on each kind of storage, whose late writes are over at once."""
    if request.param == "directory":
        yield Bench(dataclasses.replace(bench.parts, late_write_seconds=0.0), bench.folder)
        return
    s3: S3Server = request.getfixturevalue("s3")
    settings = Settings(
        data_dir=data_folder,
        s3_bucket=s3.new_bucket(),
        s3_region=s3.region,
        s3_endpoint=s3.endpoint,
        AWS_ACCESS_KEY_ID=s3.access_key,
        AWS_SECRET_ACCESS_KEY=s3.secret_key,
    )
    backends = Backends(lambda location: open_backend(settings, location, threads))
    yield Bench(Parts(database, backends, settings, FileWrites(), late_write_seconds=0.0), data_folder)
    await backends.close()


@pytest.fixture
async def ctx(place: Bench, request: pytest.FixtureRequest) -> CallContext:
    """An administrator of a tenant whose datastore holds nothing but the namespaces ``from`` and ``to``.

    Directories are made once, because of their 65536 folders; buckets for each test.
    """
    bucket = place.parts.settings.s3_bucket
    tenant = f"mv-{bucket}" if bucket else "mv"
    await place.services.datastores.ensure(tenant, "tank")
    admin = caller(tenant)
    async with place.database.tenant(tenant) as connection:
        for table in ("pin", "snapshot", "backup_group", "session", "usage_counter"):
            await connection.execute(f"DELETE FROM {table} WHERE tenant_id = $1", tenant)
        await connection.execute("DELETE FROM namespace WHERE tenant_id = $1 AND path <> ''", tenant)
        backend = place.parts.backends.of(await find_store(connection, tenant, "tank"))
    for prefix in ("ns/", "host/"):
        await backend.delete_tree(prefix)
    for ns in ("from", "to"):
        await place.services.namespaces.create(admin, "tank", ns)
    return admin


def ref(ns: str, backup_id: str = "h") -> t.GroupRef:
    return t.GroupRef("tank", ns, "host", backup_id)


async def moved(bench: Bench, ctx: CallContext, source: t.GroupRef, target: str, **more: bool) -> str | None:
    """Status of the task of a move."""
    upid = await bench.services.moves.move_group(ctx, source, target, merge=more.get("merge", True))
    return (await bench.ended(ctx, upid)).status


async def moved_namespace(bench: Bench, ctx: CallContext, ns: str, target: str, **more: object) -> str | None:
    options = {"max_depth": None, "delete_source": True, "merge": True, **more}
    upid = await bench.services.namespace_moves.move_namespace(ctx, "tank", ns, target, **options)  # type: ignore[arg-type]
    return (await bench.ended(ctx, upid)).status


async def keys(bench: Bench, ctx: CallContext) -> list[str]:
    async with bench.database.tenant(ctx.tenant_id) as connection:
        store = await find_store(connection, ctx.tenant_id, "tank")
    return sorted([key async for key, _ in bench.parts.backends.of(store).list_files()])


async def times(bench: Bench, ctx: CallContext, ns: str) -> list[int]:
    return sorted(s.backup_time for s in await bench.snapshots(ctx, "tank", ns))


async def require_sound(bench: Bench, ctx: CallContext) -> None:
    """The storage holds exactly what the rows say, nothing is locked or half done, and no group is empty."""
    wanted = []
    async with bench.database.tenant(ctx.tenant_id) as connection:
        groups = await connection.fetch(
            "SELECT g.id, g.notes, g.backup_type, g.backup_id, n.path FROM backup_group g"
            " JOIN namespace n ON n.id = g.namespace_id"
        )
        for group in groups:
            at = Place.of(group["path"], group["backup_type"], group["backup_id"])
            wanted += [at.owner_key, *([at.notes_key] if group["notes"] else [])]
            rows = await connection.fetch("SELECT * FROM snapshot WHERE group_id = $1", group["id"])
            assert rows
            for row in rows:
                assert row["state"] == "committed"
                snapshot = at.snapshot(row["backup_time"])
                names = await connection.fetch("SELECT name FROM snapshot_file WHERE snapshot_id = $1", row["id"])
                wanted += [snapshot.file_key(name["name"]) for name in names]
                wanted += [snapshot.protected_key] if row["protected"] else []
        assert await connection.fetchval("SELECT count(*) FROM session WHERE state = 'active'") == 0
    assert await keys(bench, ctx) == sorted(wanted)
    counter, stored = await bench.counted(ctx)
    assert counter == stored


async def test_a_group_with_everything_in_it(place: Bench, ctx: CallContext) -> None:
    for number in range(3):
        await place.backup(ctx, ref("from"), TIME + number, FILES)
    await place.backup(ctx, ref("from", "other"), TIME, FILES)
    key = t.SnapshotKey(ref("from"), TIME + 1)
    await place.services.snapshots.set_protected(ctx, key, True)
    await place.services.snapshots.set_notes(ctx, key, "kept")
    await place.services.groups.set_notes(ctx, ref("from"), "a group")
    before = {s.backup_time: s for s in await place.snapshots(ctx, "tank", "from", backup_id="h")}
    assert await moved(place, ctx, ref("from"), "to") == "OK"
    assert {s.backup_time: s for s in await place.snapshots(ctx, "tank", "to")} == before
    assert [g.backup_id for g in await place.groups(ctx, "tank", "from")] == ["other"]
    assert await place.services.groups.notes(ctx, ref("to")) == "a group"
    found = [key for key in await keys(place, ctx) if key.startswith("ns/to/")]
    assert [k.rpartition("/")[2] for k in found if "22:13:21Z" in k] == [".protected", *_STORED]
    await require_sound(place, ctx)
    reader = await place.read(ctx, ref("to"), TIME + 1)
    read = place.services.files.read(ctx, reader.session_id, "index.json.blob")
    assert b"".join([piece async for piece in read])
    await place.close(ctx, reader.session_id)
    assert await moved(place, ctx, ref("to"), "") == "OK"
    assert await times(place, ctx, "") == [TIME, TIME + 1, TIME + 2]
    await require_sound(place, ctx)


async def test_what_is_refused_at_once(place: Bench, ctx: CallContext) -> None:
    owner = caller(ctx.tenant_id, "o@pbs", "DatastorePowerUser")
    await place.backup(ctx, ref("from"), TIME)
    await place.backup(ctx, ref("to"), TIME)
    move = place.services.moves.move_group
    for call, error in (
        (move(ctx, ref("from"), "from", merge=True), InvalidArgument),
        (move(ctx, ref("from", "none"), "to", merge=True), NotFound),
        (move(ctx, ref("from"), "none", merge=True), NamespaceNotFound),
        (move(ctx, ref("from"), "to", merge=False), Conflict),
        (move(owner, ref("from"), "to", merge=True), NotOwner),
        (move(caller(ctx.tenant_id, "b@pbs", "DatastoreBackup"), ref("from"), "to", merge=True), PermissionDenied),
    ):
        with pytest.raises(error):
            await call
    spaces = place.services.namespace_moves.move_namespace
    options = {"max_depth": None, "delete_source": True, "merge": True}
    for ns, target in (("", "x"), ("from", ""), ("from", "from"), ("from", "from/x"), ("none", "x"), ("from", "no/x")):
        with pytest.raises((InvalidArgument, NamespaceNotFound)):
            await spaces(ctx, "tank", ns, target, **options)  # type: ignore[arg-type]
    with pytest.raises(PermissionDenied):
        await spaces(owner, "tank", "from", "x", **options)  # type: ignore[arg-type]
    await require_sound(place, ctx)


async def test_only_what_is_newer_is_merged(place: Bench, ctx: CallContext) -> None:
    for ns, backup_time in (("from", TIME + 5), ("from", TIME + 6), ("to", TIME + 4)):
        await place.backup(ctx, ref(ns), backup_time, FILES)
    await place.backup(ctx, ref("from", "old"), TIME, FILES)
    await place.backup(ctx, ref("to", "old"), TIME, FILES)
    await place.backup(caller(ctx.tenant_id, "x@pbs"), ref("to", "theirs"), TIME - 1)
    await place.backup(ctx, ref("from", "theirs"), TIME)
    assert "snapshot time mismatch" in str(await moved(place, ctx, ref("from", "old"), "to"))
    assert "owner mismatch" in str(await moved(place, ctx, ref("from", "theirs"), "to"))
    assert await moved(place, ctx, ref("from"), "to") == "OK"
    merged = await place.snapshots(ctx, "tank", "to", backup_id="h")
    assert sorted(s.backup_time for s in merged) == [TIME + 4, TIME + 5, TIME + 6]
    assert sorted(g.backup_id for g in await place.groups(ctx, "tank", "from")) == ["old", "theirs"]
    await require_sound(place, ctx)


async def test_whoever_uses_a_group_keeps_it(place: Bench, ctx: CallContext) -> None:
    await place.backup(ctx, ref("from"), TIME, FILES)
    reader = await place.read(ctx, ref("from"), TIME)
    assert "is being read" in str(await moved(place, ctx, ref("from"), "to"))
    await place.close(ctx, reader.session_id)
    for ns in ("from", "to"):
        running = await place.open(ctx, ref(ns), TIME + 10)
        assert "a backup is running" in str(await moved(place, ctx, ref("from"), "to"))
        await place.close(ctx, running.session_id)
    await require_sound(place, ctx)
    dead = await place.open(ctx, ref("from"), TIME + 10)
    await place.end_lease(ctx, dead)
    assert await moved(place, ctx, ref("from"), "to") == "OK"
    await place.services.upkeep.once()
    await require_sound(place, ctx)


async def test_a_group_on_its_way_is_locked(place: Bench, ctx: CallContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two snapshots: each is seen once, whole, and nobody else may begin."""
    for number in range(2):
        await place.backup(ctx, ref("from"), TIME + number, FILES)
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        reached.set()
        await go_on.wait()

    await before_step(place, ctx, monkeypatch, "delete_tree", 1, pause)
    upid = await place.services.moves.move_group(ctx, ref("from"), "to", merge=True)
    await reached.wait()
    assert (await times(place, ctx, "from"), await times(place, ctx, "to")) == ([TIME + 1], [TIME])
    await place.services.upkeep.once()
    for refused in (
        place.open(ctx, ref("from"), TIME + 10),
        place.open(ctx, ref("to"), TIME + 10),
        place.services.groups.delete(ctx, ref("from"), error_on_protected=True),
        place.services.groups.set_notes(ctx, ref("to"), "x"),
    ):
        with pytest.raises(Locked, match="it is being moved"):
            await refused
    assert "it is being moved" in str(await moved(place, ctx, ref("from"), "to"))
    await place.services.snapshots.delete(ctx, t.SnapshotKey(ref("from"), TIME + 1))
    go_on.set()
    assert (await place.ended(ctx, upid)).status == "OK"
    assert (await times(place, ctx, "from"), await times(place, ctx, "to")) == ([], [TIME])
    await require_sound(place, ctx)


async def stopped_after_one(
    bench: Bench, ctx: CallContext, monkeypatch: pytest.MonkeyPatch, begin: Callable[[], Awaitable[str]]
) -> str:
    """UPID of a move whose stop another replica takes while the first snapshot is on its way."""
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        reached.set()
        await go_on.wait()

    with monkeypatch.context() as patched:
        await before_step(bench, ctx, patched, "copy_file", 1, pause)
        upid = await begin()
        await reached.wait()
        await Bench(bench.parts, bench.folder).services.tasks.stop(ctx, upid)
        go_on.set()
        assert (await bench.ended(ctx, upid)).status == "task aborted"
    return upid


async def test_a_move_that_is_stopped(place: Bench, ctx: CallContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """The snapshot on its way arrives, the others stay, both groups are free, and the rest can follow."""
    for number in range(3):
        await place.backup(ctx, ref("from"), TIME + number, FILES)
    move = place.services.moves.move_group
    upid = await stopped_after_one(place, ctx, monkeypatch, lambda: move(ctx, ref("from"), "to", merge=True))
    assert (await times(place, ctx, "from"), await times(place, ctx, "to")) == ([TIME + 1, TIME + 2], [TIME])
    last = (await place.log(ctx, upid))[-2:]
    assert [line.partition(": ")[2] for line in last] == [
        "moved 1 snapshots, 2 stay where they are",
        "TASK ERROR: task aborted",
    ]
    await require_sound(place, ctx)
    for ns in ("from", "to"):
        await place.backup(ctx, ref(ns), TIME + 10 + len(ns), FILES)
    await require_sound(place, ctx)
    await place.services.snapshots.delete(ctx, t.SnapshotKey(ref("to"), TIME + 12))
    assert await moved(place, ctx, ref("from"), "to") == "OK"
    assert await times(place, ctx, "to") == [TIME, TIME + 1, TIME + 2, TIME + 14]
    await require_sound(place, ctx)


async def test_a_move_of_namespaces_that_is_stopped(
    place: Bench, ctx: CallContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No further group is begun, no namespace deleted; what is left goes with the next call."""
    await place.services.namespaces.create(ctx, "tank", "from/a")
    for ns, backup_id in (("from", "g"), ("from", "h"), ("from/a", "h")):
        for number in range(2):
            await place.backup(ctx, ref(ns, backup_id), TIME + number, FILES)
    move, options = place.services.namespace_moves.move_namespace, {"max_depth": None, "merge": True}
    await stopped_after_one(
        place,
        ctx,
        monkeypatch,
        lambda: move(ctx, "tank", "from", "to/new", delete_source=True, **options),  # type: ignore[arg-type]
    )
    assert await times(place, ctx, "to/new") == [TIME]
    assert await times(place, ctx, "from") == [TIME, TIME + 1, TIME + 1]
    assert await times(place, ctx, "from/a") == [TIME, TIME + 1]
    assert await place.services.namespaces.below(ctx, "tank", "", None) == ["", "from", "from/a", "to", "to/new"]
    await require_sound(place, ctx)
    assert await moved_namespace(place, ctx, "from", "to/new") == "OK"
    assert await times(place, ctx, "to/new") == [TIME, TIME, TIME + 1, TIME + 1]
    assert await place.services.namespaces.below(ctx, "tank", "", None) == ["", "to", "to/new", "to/new/a"]
    await require_sound(place, ctx)


async def test_a_move_that_is_stopped_before_its_first_snapshot(place: Bench, ctx: CallContext) -> None:
    await place.backup(ctx, ref("from"), TIME, FILES)

    async def at_once() -> bool:
        return True

    source, target = Place.of("from", "host", "h"), Place.of("to", "host", "h")
    done = await place.services.moves.move(ctx, "tank", source, target, merge=True, stop_requested=at_once)
    assert (done.count, done.left) == (0, 1)
    assert (await times(place, ctx, "from"), await place.groups(ctx, "tank", "to")) == ([TIME], [])
    await require_sound(place, ctx)


async def test_the_last_snapshot_needs_no_stop(place: Bench, ctx: CallContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop that comes when everything is on its way changes nothing."""
    await place.backup(ctx, ref("from"), TIME, FILES)
    wanted: list[str] = []

    async def ask() -> None:
        await place.services.tasks.stop(ctx, wanted[0])

    await before_step(place, ctx, monkeypatch, "delete_tree", 1, ask)
    upid = await place.services.moves.move_group(ctx, ref("from"), "to", merge=True)
    wanted.append(upid)
    assert (await place.ended(ctx, upid)).status == "OK"
    assert await times(place, ctx, "to") == [TIME]
    await require_sound(place, ctx)


async def before_step(
    bench: Bench,
    ctx: CallContext,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    number: int,
    then: Callable[[], Awaitable[None]],
) -> None:
    """Let something happen before the ``number``-th call of a method of the backend, or of the switch of the rows."""
    async with bench.database.tenant(ctx.tenant_id) as connection:
        backend = bench.parts.backends.of(await find_store(connection, ctx.tenant_id, "tank"))
    owner = move_rows if step == "switch" else backend
    original, calls = getattr(owner, step), 0

    async def replaced(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        if calls == number:
            await then()
        return await original(*args, **kwargs)

    monkeypatch.setattr(owner, step, replaced)


# Owner of the group; files of the first and the second snapshot; all files, not the row; the removal of what is left.
STEPS = [
    ("put_file", 1),
    *(("copy_file", number) for number in (1, 3, 5)),
    *(("switch", number) for number in (1, 2)),
    *(("delete_tree", number) for number in (1, 2, 3)),
]


@pytest.mark.parametrize(("step", "number"), STEPS)
async def test_a_process_that_dies(
    place: Bench, ctx: CallContext, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    """Upkeep ends what was begun; nothing is lost or there twice; the move can be repeated."""
    for added in range(2):
        await place.backup(ctx, ref("from"), TIME + added, FILES)
    await place.services.groups.set_notes(ctx, ref("from"), "a group")

    async def die() -> None:
        raise Crash

    with monkeypatch.context() as patched:
        await before_step(place, ctx, patched, step, number, die)
        source, target = Place.of("from", "host", "h"), Place.of("to", "host", "h")
        with pytest.raises(Crash):
            await place.services.moves.move(ctx, "tank", source, target, merge=True)
    both = await times(place, ctx, "from") + await times(place, ctx, "to")
    assert sorted(both) == [TIME, TIME + 1]
    await place.services.upkeep.once()
    with pytest.raises(Locked):
        await place.open(ctx, ref("from"), TIME + 10)
    async with place.database.tenant(ctx.tenant_id) as connection:
        await connection.execute("UPDATE session SET lease_until = clock_timestamp() - interval '1 second'")
    await place.services.upkeep.once()
    await require_sound(place, ctx)
    if await times(place, ctx, "from"):
        assert await moved(place, ctx, ref("from"), "to") == "OK"
    assert await times(place, ctx, "to") == [TIME, TIME + 1]
    await require_sound(place, ctx)


@pytest.mark.parametrize(("step", "number"), [("put_file", 2), ("copy_file", 5), ("delete_tree", 2)])
async def test_a_storage_that_fails(
    place: Bench, ctx: CallContext, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    for added in range(2):
        await place.backup(ctx, ref("from"), TIME + added, FILES)
    await place.services.groups.set_notes(ctx, ref("from"), "a group")

    async def fail() -> None:
        raise Unavailable("the storage is away")

    with monkeypatch.context() as patched:
        await before_step(place, ctx, patched, step, number, fail)
        status = await moved(place, ctx, ref("from"), "to")
    assert status == "OK" if step == "delete_tree" else "the storage is away" in str(status)
    await place.services.upkeep.once()
    assert sorted(await times(place, ctx, "from") + await times(place, ctx, "to")) == [TIME, TIME + 1]
    if await times(place, ctx, "from"):
        assert await moved(place, ctx, ref("from"), "to") == "OK"
    await place.services.upkeep.once()
    await require_sound(place, ctx)


async def test_locks_that_ran_out(place: Bench, ctx: CallContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lost the locks goes no further, even if it still lives."""
    for added in range(2):
        await place.backup(ctx, ref("from"), TIME + added, FILES)

    async def lose() -> None:
        async with place.database.tenant(ctx.tenant_id) as connection:
            await connection.execute("UPDATE session SET lease_until = clock_timestamp() - interval '1 second'")
        await place.services.upkeep.once()

    with monkeypatch.context() as patched:
        await before_step(place, ctx, patched, "delete_tree", 1, lose)
        assert await moved(place, ctx, ref("from"), "to") == "the session has ended"
    assert (await times(place, ctx, "from"), await times(place, ctx, "to")) == ([TIME + 1], [TIME])
    await place.services.upkeep.once()
    await require_sound(place, ctx)


async def test_files_that_nobody_knows_are_not_touched(place: Bench, ctx: CallContext) -> None:
    await place.backup(ctx, ref("from"), TIME, FILES)
    stray = f"{Place.of('to', 'host', 'h').snapshot(TIME).prefix}stray.blob"
    async with place.database.tenant(ctx.tenant_id) as connection:
        backend = place.parts.backends.of(await find_store(connection, ctx.tenant_id, "tank"))
    await backend.put_file(stray, b"stray")
    assert "is not in the catalogue" in str(await moved(place, ctx, ref("from"), "to"))
    assert stray in await keys(place, ctx)
    await backend.delete_file(stray)
    await require_sound(place, ctx)


async def test_late_writes_keep_a_place_reserved(
    place: Bench, ctx: CallContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that was sent by a process that died may still arrive in a bucket, not in a directory."""
    late = Bench(dataclasses.replace(place.parts, late_write_seconds=3600.0), place.folder)
    await late.backup(ctx, ref("from"), TIME, FILES)

    async def die() -> None:
        raise Crash

    with monkeypatch.context() as patched:
        await before_step(late, ctx, patched, "copy_file", 2, die)
        with pytest.raises(Crash):
            await late.services.moves.move(
                ctx, "tank", Place.of("from", "host", "h"), Place.of("to", "host", "h"), merge=True
            )
    async with late.database.tenant(ctx.tenant_id) as connection:
        kind = (await find_store(connection, ctx.tenant_id, "tank")).backend_type
        await connection.execute("UPDATE session SET lease_until = clock_timestamp() - interval '1 second'")
    await late.services.upkeep.once()
    if kind == "filesystem":
        await require_sound(late, ctx)
        return
    with pytest.raises(Conflict, match="already exists"):
        await late.open(ctx, ref("to"), TIME)
    assert "is being removed" in str(await moved(late, ctx, ref("from"), "to"))
    assert await times(late, ctx, "from") == [TIME]


async def test_a_tree_of_namespaces(place: Bench, ctx: CallContext) -> None:
    spaces = place.services.namespaces
    for ns in ("from/a", "from/a/b", "from/empty"):
        await spaces.create(ctx, "tank", ns)
    for ns in ("from", "from/a", "from/a/b"):
        await place.backup(ctx, ref(ns), TIME, FILES)
    assert await moved_namespace(place, ctx, "from", "to/new") == "OK"
    everything = ["", "to", "to/new", "to/new/a", "to/new/a/b", "to/new/empty"]
    assert await spaces.below(ctx, "tank", "", None) == everything
    await require_sound(place, ctx)
    assert await moved_namespace(place, ctx, "to/new", "to") == "OK"
    assert await spaces.below(ctx, "tank", "", None) == ["", "to", "to/a", "to/a/b", "to/empty"]
    assert await moved_namespace(place, ctx, "to", "x", max_depth=1, delete_source=False) == "OK"
    assert await spaces.below(ctx, "tank", "", None) == [
        *("", "to", "to/a", "to/a/b", "to/empty"),
        *("x", "x/a", "x/empty"),
    ]
    assert (await times(place, ctx, "to/a/b"), await times(place, ctx, "x/a")) == ([TIME], [TIME])
    await require_sound(place, ctx)


async def test_a_tree_of_which_a_part_cannot_go(place: Bench, ctx: CallContext) -> None:
    spaces = place.services.namespaces
    await spaces.create(ctx, "tank", "from/a")
    await place.backup(ctx, ref("from"), TIME, FILES)
    await place.backup(ctx, ref("from/a"), TIME, FILES)
    await place.backup(ctx, ref("to"), TIME, FILES)
    status = await moved_namespace(place, ctx, "from", "to")
    assert status == "1 groups could not be moved, see the log of the task"
    assert await spaces.below(ctx, "tank", "", None) == ["", "from", "to", "to/a"]
    await require_sound(place, ctx)
    deep = "to/a"
    for _ in range(5):
        deep += "/d"
        await spaces.create(ctx, "tank", deep)
    with pytest.raises(InvalidArgument, match="too deep"):
        await moved_namespace(place, ctx, "to", "from/x")
