"""Runs against sessions, moves and each other: R4, R5, R14, R15, R16, R19, R22, R23 of formats 9.10."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from testkit.collection_world import CollectionWorld, some_chunks
from testkit.races import CONDEMNED, LIVE, complete, sound

from pbs_cloud.chunkstore.catalogue.names import Place
from pbs_cloud.chunkstore.collection.runs_service import Runs
from pbs_cloud.contracts.errors import Conflict, DataCorrupt, Locked, PbsError, Unavailable

pytestmark = pytest.mark.xdist_group("races")


async def test_r04_a_session_from_before_the_run_that_commits_before_d(any_world: CollectionWorld) -> None:
    """New chunks, and old garbage that it claims."""
    world = any_world
    new, old = some_chunks(2)
    await world.forget(await world.backup([old], "old"))
    backup = await world.open()
    run = await world.begin()
    digests, summary, _ = await world.mark(run)
    assert summary.cutoff < run.run_epoch
    await world.put(backup, new, old)
    await complete(world, backup, new, old)
    assert (await world.condemn(run, digests)).condemned == 0
    assert await sound(world, new, old)


async def test_r05_a_session_between_a_and_b(any_world: CollectionWorld) -> None:
    world = any_world
    new, old = some_chunks(2)
    await world.forget(await world.backup([old], "old"))
    run = await world.begin()
    backup = await world.open()
    digests, summary, _ = await world.mark(run)
    assert summary.cutoff == run.run_epoch
    await world.put(backup, new, old)
    await complete(world, backup, new, old)
    assert (await world.condemn(run, digests)).condemned == 0
    assert await sound(world, new, old)


async def test_r05_without_the_epoch_the_same_would_be_condemned(world: CollectionWorld) -> None:
    """Proves that R5 can fail: a touch of before the run's epoch does not protect."""
    (old,) = some_chunks(1)
    await world.forget(await world.backup([old], "old"))
    run = await world.begin()
    backup = await world.open()
    digests, _, _ = await world.mark(run)
    await world.put(backup, old)
    await world.execute("UPDATE chunk SET touch_epoch = $1 WHERE digest = $2", run.run_epoch - 1, old.digest)
    assert (await world.condemn(run, digests)).condemned == 1


async def test_r14_inherited_chunks_of_a_session_over_a_whole_run(any_world: CollectionWorld) -> None:
    """The base is pruned right after the commit, the run condemns after that."""
    world = any_world
    inherited, new = some_chunks(2)
    base = await world.backup([inherited])
    backup = await world.open()
    run = await world.begin()
    digests, _, _ = await world.mark(run)
    await world.put(backup, new)
    await complete(world, backup, inherited, new)
    await world.forget(base)
    assert (await world.condemn(run, digests)).condemned == 0
    await world.end(run)
    assert (await world.collect())["removed-chunks"] == 0
    assert await sound(world, inherited, new)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-1],
        lambda raw: raw[:4096],
        lambda raw: raw[:4120] + bytes([raw[4120] ^ 1]) + raw[4121:],
        lambda raw: b"\0" + raw[1:],
        lambda raw: raw + raw[-40:],
        lambda raw: b"",
    ],
    ids=["truncated", "no entries", "bit flip", "magic", "too long", "empty"],
)
async def test_r15_a_damaged_index_aborts_before_anything_is_condemned(
    world: CollectionWorld, damage: Callable[[bytes], bytes]
) -> None:
    kept, gone = some_chunks(2), some_chunks(1)
    backup = await world.backup(kept)
    await world.forget(await world.backup(gone, "two"))
    path = next((world.settings.data_dir / "stores/one/host/one").glob("*/a.pxar.didx"))
    raw = path.read_bytes()
    path.write_bytes(damage(raw))
    run = await world.begin()
    with pytest.raises(DataCorrupt, match=r"^unable to read index 'host/one/.*/a\.pxar\.didx': "):
        await world.mark(run)
    with pytest.raises(Conflict, match="were not read"):
        await world.condemn(run, set())
    assert [await world.state(chunk) for chunk in (*kept, *gone)] == [LIVE] * 3
    path.write_bytes(raw)
    digests, _, _ = await world.mark(run)
    await world.condemn(run, digests)
    assert await world.state(gone[0]) == CONDEMNED
    await world.forget(backup)


async def test_r15_a_missing_index_aborts(any_world: CollectionWorld) -> None:
    world = any_world
    await world.backup(some_chunks(1))
    listed = [key async for key, _ in world.parts.backends._opened[world.datastore].list_files()]
    index = next(key for key in listed if key.endswith(".didx"))
    await world.parts.backends._opened[world.datastore].delete_file(index)
    with pytest.raises(DataCorrupt, match="unable to read index"):
        await world.mark(await world.begin())


async def test_r15_storage_that_is_away_is_no_vanished_index(
    any_world: CollectionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = any_world
    await world.backup(some_chunks(1))
    backend = world.parts.backends._opened[world.datastore]

    async def away(key: str, *size: int) -> AsyncIterator[bytes]:
        raise Unavailable("the storage is away")
        yield b""

    monkeypatch.setattr(backend, "read_file", away)
    with pytest.raises(Unavailable):
        await world.mark(await world.begin())


async def test_r16_the_snapshot_of_an_aborted_session(any_world: CollectionWorld) -> None:
    """Its chunks are protected while it is open, and condemned by a later run only."""
    world = any_world
    (chunk,) = some_chunks(1)
    backup = await world.open()
    await world.put(backup, chunk)
    await world.close_index(backup, [chunk])
    run = await world.begin()
    digests, _, _ = await world.mark(run)
    await world.services.closing.close(world.ctx, backup.id, error="gone", bytes_sent=0)
    assert (await world.condemn(run, digests)).condemned == 0
    assert await world.state(chunk) == LIVE
    await world.end(run)
    await world.collect(sweeps=False)
    assert await world.state(chunk) == CONDEMNED


async def test_r16_a_dead_session_does_not_hold_the_cutoff_back(world: CollectionWorld) -> None:
    (chunk,) = some_chunks(1)
    backup = await world.open()
    await world.put(backup, chunk)
    await world.close_index(backup, [chunk])
    await world.end_lease(backup)
    run = await world.begin()
    digests, summary, _ = await world.mark(run)
    assert (summary.cutoff, digests) == (run.run_epoch, set())
    assert (await world.condemn(run, digests)).condemned == 1
    with pytest.raises(PbsError):
        await world.finish(backup)


@pytest.mark.parametrize("late", [False, True])
async def test_r19_an_index_that_moves_before_or_while_it_is_read(
    any_world: CollectionWorld, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """It is the same index at another place: its chunks stay."""
    world = any_world
    chunks = some_chunks(3)
    backup = await world.backup(chunks)
    services = world.services
    name, group = backup.group.store, backup.group
    await services.namespaces.create(world.ctx, name, "there")
    backend = world.parts.backends._opened[world.datastore]
    original, moves = backend.read_file, 0

    async def read_while_it_moves(key: str, *size: int) -> AsyncIterator[bytes]:
        nonlocal moves
        if not moves:
            moves = 1
            source = Place.of(group.ns, group.backup_type, group.backup_id)
            target = Place.of("there", group.backup_type, group.backup_id)
            if late:
                yield b"\x00"
            await services.moves.move(world.ctx, name, source, target, merge=True)
        async for piece in original(key, *size):
            yield piece

    monkeypatch.setattr(backend, "read_file", read_while_it_moves)
    run = await world.begin()
    digests, _, _ = await world.mark(run)
    assert moves == 1
    assert digests == {chunk.digest for chunk in chunks}
    assert (await world.condemn(run, digests)).condemned == 0
    monkeypatch.undo()
    await world.end(run)
    await world.collect(sweeps=False)
    assert await sound(world, *chunks)


async def test_r22_of_many_workers_one_begins(any_world: CollectionWorld) -> None:
    """Workers of different processes; and the next run is another one."""
    world = any_world
    workers = [Runs(world.parts) for _ in range(4)]
    begun = await asyncio.gather(
        *(worker.begin(world.ctx, "store", f"gc-{n}", dry_run=False) for n, worker in enumerate(workers)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, Locked) for result in begun) == 3
    (run,) = (result for result in begun if not isinstance(result, BaseException))
    await world.end(run)
    again = await world.begin()
    assert again.run_epoch == run.run_epoch + 1


async def test_r22_of_many_workers_one_takes_a_dead_run_over(world: CollectionWorld) -> None:
    dead = await world.begin()
    await world.end_run_lease()
    begun = await asyncio.gather(*(world.begin() for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(result, Locked) for result in begun) == 3
    (run,) = (result for result in begun if not isinstance(result, BaseException))
    assert (run.resumed, run.run_epoch) == (True, dead.run_epoch)
    with pytest.raises(Conflict):
        await world.condemn(dead, set())


async def test_r23_the_base_goes_before_its_index_is_read(
    any_world: CollectionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its successor, which was not listed, inherited the chunks: the list is made again."""
    world = any_world
    inherited, other = some_chunks(2)
    base = await world.backup([inherited], "zone")
    await world.backup([other], "alpha")
    marking = world.marking
    original = marking._snapshot

    async def snapshot_then_prune(run: Any, listed: Any) -> int:
        cutoff = await original(run, listed)
        successor = await world.open("zone")
        await complete(world, successor, inherited)
        await world.forget(base)
        return cutoff

    monkeypatch.setattr(marking, "_snapshot", snapshot_then_prune)
    run = await world.begin()
    digests, files = set(), 0
    async for piece in marking.mark(world.ctx, uuid.UUID(run.token)):
        digests |= {piece.digests[start : start + 32] for start in range(0, len(piece.digests), 32)}
        files = piece.summary.index_file_count if piece.summary is not None else files
    assert (digests, files) == ({inherited.digest, other.digest}, 2)
    assert (await world.condemn(run, digests)).condemned == 0
    assert await sound(world, inherited)


async def test_backups_and_collections_side_by_side(world: CollectionWorld) -> None:
    """Without grace and without pauses: every committed backup has all its objects."""
    pool = some_chunks(12)
    stop = asyncio.Event()

    async def collect() -> int:
        rounds = 0
        while not stop.is_set():
            await world.collect()
            rounds += 1
        return rounds

    async def back_up(name: str, seed: int) -> None:
        previous = None
        for turn in range(4):
            chunks = [pool[(seed * 5 + turn * 7 + n * (turn + 2)) % len(pool)] for n in range(5)]
            done = await world.backup(list({c.digest: c for c in chunks}.values()), name)
            if previous is not None:
                await world.forget(previous[0])
            previous = (done, chunks)
            for chunk in chunks:
                assert await world.state(chunk) == LIVE
                assert await world.has_object(chunk)

    collector = asyncio.create_task(collect())
    await asyncio.gather(*(back_up(f"h{number}", number) for number in range(3)))
    stop.set()
    assert await collector > 1
    counted, stored = await world.usage()
    assert counted == stored
