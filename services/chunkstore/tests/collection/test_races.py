"""The interleavings of formats 9.10 that garbage collection has a part in, against real rows and real storage."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from testkit.collection_world import CollectionWorld, some_chunks, soon

from pbs_cloud.chunkstore.chunks import claim_db
from pbs_cloud.chunkstore.collection import deleting, sweeping
from pbs_cloud.chunkstore.collection.deleting import Deleter, Doomed, Outcome
from pbs_cloud.chunkstore.states import ChunkState
from pbs_cloud.contracts.errors import PbsError, Unavailable

LIVE, CONDEMNED, DELETING = int(ChunkState.LIVE), int(ChunkState.CONDEMNED), int(ChunkState.DELETING)


async def condemned_chunk(world: CollectionWorld) -> Any:
    """A chunk that a run has condemned and not deleted."""
    (chunk,) = some_chunks(1)
    await world.forget(await world.backup([chunk], "old"))
    await world.collect(sweeps=False)
    assert await world.state(chunk) == CONDEMNED
    return chunk


async def in_phase_delete(world: CollectionWorld) -> Any:
    """A run that may delete; its own marks condemned nothing more."""
    run = await world.begin()
    digests, _, _ = await world.mark(run)
    await world.condemn(run, digests)
    return run


async def test_r1_a_claim_brings_a_condemned_chunk_back(any_world: CollectionWorld) -> None:
    world = any_world
    chunk = await condemned_chunk(world)
    run = await in_phase_delete(world)
    backup = await world.open()
    await world.put(backup, chunk)
    assert await world.state(chunk) == LIVE
    assert (await world.sweep(run)).removed_chunks == 0
    await world.close_index(backup, [chunk])
    await world.finish(backup)
    assert (await world.state(chunk), await world.has_object(chunk)) == (LIVE, True)


async def test_r2_claim_and_deletion_at_once(world: CollectionWorld) -> None:
    """Whoever is first: a backup that is committed has its object."""
    for _ in range(12):
        chunk = await condemned_chunk(world)
        run = await in_phase_delete(world)
        backup = await world.open()
        swept, _ = await asyncio.gather(world.sweep(run), world.put(backup, chunk))
        await world.close_index(backup, [chunk])
        await world.finish(backup)
        assert await world.state(chunk) == LIVE, swept
        assert await world.has_object(chunk), swept
        await world.end(run)
        counted, stored = await world.usage()
        assert counted == stored


class _Gate:
    """A deleter that waits before it deletes."""

    def __init__(self, inner: Deleter) -> None:
        self._inner = inner
        self.reached, self.open = asyncio.Event(), asyncio.Event()

    async def delete(self, chunks: list[Doomed], began: float) -> Outcome:
        self.reached.set()
        await self.open.wait()
        return await self._inner.delete(chunks, began)


@pytest.fixture
def gates(monkeypatch: pytest.MonkeyPatch) -> list[_Gate]:
    """Every deletion waits at a gate."""
    made: list[_Gate] = []

    def gated(*args: Any) -> _Gate:
        made.append(_Gate(deleting.deleter_for(*args)))
        return made[-1]

    monkeypatch.setattr(sweeping, "deleter_for", gated)
    return made


async def test_r3_a_claim_while_deleting_waits_and_uploads_again(
    any_world: CollectionWorld, gates: list[_Gate]
) -> None:
    world = any_world
    chunk = await condemned_chunk(world)
    run = await in_phase_delete(world)
    sweep = asyncio.create_task(world.sweep(run))
    await soon(lambda: _is(world, chunk, DELETING))
    backup = await world.open()
    upload = asyncio.create_task(world.put(backup, chunk))
    await asyncio.sleep(0.3)
    assert not upload.done()
    gates[0].open.set()
    assert (await sweep).removed_chunks == 1
    await upload
    await world.close_index(backup, [chunk])
    await world.finish(backup)
    assert (await world.state(chunk), await world.has_object(chunk)) == (LIVE, True)


async def _is(world: CollectionWorld, chunk: Any, state: int) -> bool:
    return await world.state(chunk) == state


async def test_r4_a_session_from_before_the_run_that_commits_before_d(world: CollectionWorld) -> None:
    """New chunks, and old garbage that it claims."""
    new, old = some_chunks(2)
    await world.forget(await world.backup([old], "old"))
    backup = await world.open()
    run = await world.begin()
    digests, summary, _ = await world.mark(run)
    assert summary.cutoff < run.run_epoch
    await world.put(backup, new, old)
    await world.close_index(backup, [new, old])
    await world.finish(backup)
    assert (await world.condemn(run, digests)).condemned == 0
    assert [await world.state(chunk) for chunk in (new, old)] == [LIVE, LIVE]


async def test_r5_a_session_between_a_and_b(world: CollectionWorld) -> None:
    new, old = some_chunks(2)
    await world.forget(await world.backup([old], "old"))
    run = await world.begin()
    backup = await world.open()
    digests, summary, _ = await world.mark(run)
    assert summary.cutoff == run.run_epoch
    await world.put(backup, new, old)
    await world.close_index(backup, [new, old])
    await world.finish(backup)
    assert (await world.condemn(run, digests)).condemned == 0
    assert [await world.state(chunk) for chunk in (new, old)] == [LIVE, LIVE]


async def test_without_the_epoch_the_same_would_be_condemned(world: CollectionWorld) -> None:
    """Proves that R5 can fail: a touch of before the run's epoch does not protect."""
    (old,) = some_chunks(1)
    await world.forget(await world.backup([old], "old"))
    run = await world.begin()
    backup = await world.open()
    digests, _, _ = await world.mark(run)
    await world.put(backup, old)
    await world.execute("UPDATE chunk SET touch_epoch = $1 WHERE digest = $2", run.run_epoch - 1, old.digest)
    assert (await world.condemn(run, digests)).condemned == 1


async def test_r8_a_chunk_process_that_dies_while_it_deletes(world: CollectionWorld, gates: list[_Gate]) -> None:
    """Before and after the file is gone: the next sweep of a directory ends the work at once."""
    for delete_first in (False, True):
        chunk = await condemned_chunk(world)
        run = await in_phase_delete(world)
        sweep = asyncio.create_task(world.sweep(run))
        await soon(lambda chunk=chunk: _is(world, chunk, DELETING))
        if delete_first:
            backend = (await world.registry.get(world.datastore, world.tenant, world.location)).backend
            await backend.delete_chunks([chunk.digest])
        for task in asyncio.all_tasks():
            if "_sweep" in str(task.get_coro()):
                task.cancel()
        await asyncio.gather(sweep, return_exceptions=True)
        await world.restart_chunks()
        gates.clear()
        again = asyncio.create_task(world.sweep(run))
        await soon(lambda: _opened(gates))
        assert (await again).removed_chunks == 1
        assert (await world.state(chunk), await world.has_object(chunk)) == (None, False)
        await world.end(run)


async def _opened(gates: list[_Gate]) -> bool:
    for gate in gates:
        gate.open.set()
    return bool(gates)


async def test_r8_a_bucket_waits_for_q(s3_world: CollectionWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = s3_world
    chunk = await condemned_chunk(world)
    run = await in_phase_delete(world)

    class Silent:
        async def delete(self, chunks: list[Doomed], began: float) -> Outcome:
            return Outcome(frozenset(), frozenset())

    monkeypatch.setattr(sweeping, "deleter_for", lambda *args: Silent())
    assert (await world.sweep(run)).failed == 1
    monkeypatch.undo()
    assert await world.state(chunk) == DELETING
    assert (await world.sweep(run)).removed_chunks == 0, "an attempt of 35 minutes ago may still arrive"
    assert await world.has_object(chunk)
    await world.execute("UPDATE chunk SET delete_sent_at = delete_sent_at - interval '34 minutes'")
    assert (await world.sweep(run)).removed_chunks == 0
    await world.execute("UPDATE chunk SET delete_sent_at = delete_sent_at - interval '2 minutes'")
    assert (await world.sweep(run)).removed_chunks == 1
    assert (await world.state(chunk), await world.has_object(chunk)) == (None, False)


async def test_r9_a_request_that_is_late_is_not_sent(
    s3_world: CollectionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = s3_world
    chunk = await condemned_chunk(world)
    run = await in_phase_delete(world)
    began = deleting.boot_time()
    monkeypatch.setattr(sweeping, "boot_time", lambda: began - deleting.FENCE_SECONDS - 1)
    assert (await world.sweep(run)).failed == 1
    assert (await world.state(chunk), await world.has_object(chunk)) == (DELETING, True)
    monkeypatch.undo()
    assert (await world.sweep(run)).removed_chunks == 1, "nothing was sent, so nothing has to be waited for"


async def test_r9_a_worker_that_woke_late_removes_no_row_of_a_later_attempt(
    s3_world: CollectionWorld, gates: list[_Gate]
) -> None:
    world = s3_world
    world.late_seconds = 0.0
    chunk = await condemned_chunk(world)
    run = await in_phase_delete(world)
    sleeper = asyncio.create_task(world.sweep(run))
    await soon(lambda: _is(world, chunk, DELETING))
    second = asyncio.create_task(world.sweep(run))
    await soon(lambda: _reached(gates, 2))
    gates[0].open.set()
    assert (await sleeper).removed_chunks == 0
    assert await world.state(chunk) == DELETING, "the second attempt has no answer yet"
    gates[1].open.set()
    assert (await second).removed_chunks == 1
    assert await world.state(chunk) is None


async def _reached(gates: list[_Gate], count: int) -> bool:
    return len(gates) == count and all(gate.reached.is_set() for gate in gates)


async def test_a_directory_sweep_that_woke_late_spares_a_new_upload(
    world: CollectionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is looked at again under the digest's lock."""
    chunk = await condemned_chunk(world)
    run = await in_phase_delete(world)
    picked, go_on = asyncio.Event(), asyncio.Event()
    pick = sweeping.Sweeping._pick

    async def slow_pick(self: Any, store: Any, limit: int) -> Any:
        found = await pick(self, store, limit)
        picked.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(sweeping.Sweeping, "_pick", slow_pick)
    sleeper = asyncio.create_task(world.sweep(run))
    await picked.wait()
    monkeypatch.undo()
    assert (await world.sweep(run)).removed_chunks == 1
    backup = await world.open()
    await world.put(backup, chunk)
    await world.close_index(backup, [chunk])
    await world.finish(backup)
    go_on.set()
    assert (await sleeper).removed_chunks == 0
    assert (await world.state(chunk), await world.has_object(chunk)) == (LIVE, True)


async def test_r14_inherited_chunks_of_a_session_over_a_whole_run(world: CollectionWorld) -> None:
    """The base is pruned right after the commit, the run condemns after that."""
    inherited, new = some_chunks(2)
    base = await world.backup([inherited])
    backup = await world.open()
    run = await world.begin()
    digests, _, _ = await world.mark(run)
    await world.put(backup, new)
    await world.close_index(backup, [inherited, new])
    await world.finish(backup)
    await world.forget(base)
    assert (await world.condemn(run, digests)).condemned == 0
    assert [await world.state(chunk) for chunk in (inherited, new)] == [LIVE, LIVE]


async def test_r16_the_snapshot_of_an_aborted_session(world: CollectionWorld) -> None:
    """Its chunks are protected while it is open, and condemned by a later run only."""
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


async def test_a_dead_session_does_not_hold_the_cutoff_back(world: CollectionWorld) -> None:
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


async def test_r23_the_base_goes_before_its_index_is_read(
    world: CollectionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its successor, which was not listed, inherited the chunks: the list is made again."""
    inherited, other = some_chunks(2)
    base = await world.backup([inherited], "zone")
    await world.backup([other], "alpha")
    marking = world.marking
    original = marking._snapshot

    async def snapshot_then_prune(run: Any, listed: Any) -> int:
        cutoff = await original(run, listed)
        successor = await world.open("zone")
        await world.close_index(successor, [inherited])
        await world.finish(successor)
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
    assert await world.state(inherited) == LIVE


async def test_an_index_that_vanishes_without_its_snapshot_is_no_vanished_one(
    world: CollectionWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.backup(some_chunks(1))
    backend = world.parts.backends._opened[world.datastore]

    async def away(key: str) -> AsyncIterator[bytes]:
        raise Unavailable("the storage is away")
        yield b""

    monkeypatch.setattr(backend, "read_file", away)
    with pytest.raises(Unavailable):
        await world.mark(await world.begin())


async def test_rows_that_a_claim_holds_are_skipped(world: CollectionWorld) -> None:
    """The run does not wait for them; the next one finds them."""
    held, free = some_chunks(2)
    await world.forget(await world.backup([held, free], "old"))
    run = await world.begin()
    digests, _, _ = await world.mark(run)
    async with world.database.tenant(world.tenant) as db:
        await claim_db.lock_chunks(db, world.datastore, [held.digest])
        async with asyncio.timeout(5):
            assert (await world.condemn(run, digests)).condemned == 1
    assert [await world.state(chunk) for chunk in (held, free)] == [LIVE, CONDEMNED]


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
        for turn in range(6):
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
