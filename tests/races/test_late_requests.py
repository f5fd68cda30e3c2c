"""Requests that reach the object store late, twice or in part: R8, R9, R10, R18, R24 of formats 9.10.

Q, the time for which late requests are reckoned with, is shortened to `Q` seconds.
"""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import AsyncIterator

import botocore.auth
import pytest
from botocore.exceptions import ClientError
from testkit.collection_fixtures import NewWorld
from testkit.collection_world import Backup, CollectionWorld, dynamic_index, some_chunks, soon
from testkit.late_requests import LateRequests, Request, batch_delete, putting
from testkit.races import (
    DELETING,
    UPLOADING,
    Gate,
    all_reached,
    complete,
    condemned_chunk,
    in_phase_delete,
    is_state,
    sound,
)
from testkit.servers import S3Server

from pbs_cloud.chunkstore.collection import deleting, sweeping
from pbs_cloud.chunkstore.collection.deleting import Doomed, Outcome
from pbs_cloud.contracts.errors import Conflict, InvalidArgument, SessionLost, Unavailable

pytestmark = pytest.mark.xdist_group("races")
Q = 2.5


@pytest.fixture
async def world(new_world: NewWorld, late: LateRequests) -> CollectionWorld:
    """A bucket behind the proxy; Q is short."""
    return await new_world("s3", endpoint=late.endpoint, late_seconds=Q)


# ------------------------------------------------------------------------------------------------ R8, R9


async def test_r08_a_bucket_waits_for_q(s3_world: CollectionWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker died and nobody knows what became of its request."""
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


@pytest.mark.parametrize("arrived", [False, True])
async def test_r09_a_delete_that_arrives_within_q(world: CollectionWorld, late: LateRequests, arrived: bool) -> None:
    """No answer came, and the request arrives (once more) before Q is over: the upload waits for that."""
    chunk = await condemned_chunk(world)
    run = await in_phase_delete(world)
    lost = late.drop_answers(batch_delete) if arrived else late.lose(batch_delete)
    began = time.monotonic()
    assert (await world.sweep(run)).failed == 1
    assert await world.state(chunk) == DELETING
    backup = await world.open()
    upload = asyncio.create_task(world.put(backup, chunk))
    assert (await world.sweep(run)).removed_chunks == 0
    await asyncio.sleep(0.5)
    assert not upload.done()
    assert await late.deliver(lost) == [200]
    while not (await world.sweep(run)).removed_chunks:
        await asyncio.sleep(0.1)
    assert time.monotonic() - began >= Q
    await upload
    await complete(world, backup, chunk)
    assert await sound(world, chunk)


async def test_r09_without_q_the_late_delete_would_hit(new_world: NewWorld, late: LateRequests) -> None:
    """Proves that R9 can fail: with no quiescence the object of a committed snapshot is lost."""
    world = await new_world("s3", endpoint=late.endpoint, late_seconds=0.0)
    chunk = await condemned_chunk(world)
    run = await in_phase_delete(world)
    lost = late.lose(batch_delete)
    assert (await world.sweep(run)).failed == 1
    assert (await world.sweep(run)).removed_chunks == 1
    await world.backup([chunk])
    await late.deliver(lost)
    assert not await sound(world, chunk)


async def test_r09_a_worker_that_slept_longer_than_the_fence_sends_nothing(
    world: CollectionWorld, late: LateRequests, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk = await condemned_chunk(world)
    run = await in_phase_delete(world)
    began = deleting.boot_time()
    monkeypatch.setattr(sweeping, "boot_time", lambda: began - deleting.FENCE_SECONDS - 1)
    assert (await world.sweep(run)).failed == 1
    assert not any(chunk.digest.hex() in key for request in late.seen for key in request.keys)
    assert (await world.state(chunk), await world.has_object(chunk)) == (DELETING, True)
    monkeypatch.undo()
    assert (await world.sweep(run)).removed_chunks == 1, "nothing was sent, so nothing has to be waited for"


async def test_r09_a_worker_that_woke_late_removes_no_row_of_a_later_attempt(
    world: CollectionWorld, gates: list[Gate]
) -> None:
    world.late_seconds = 0.0
    chunk = await condemned_chunk(world)
    run = await in_phase_delete(world)
    sleeper = asyncio.create_task(world.sweep(run))
    await soon(lambda: is_state(world, chunk, DELETING))
    second = asyncio.create_task(world.sweep(run))
    await soon(lambda: all_reached(gates, 2))
    gates[0].open.set()
    assert (await sleeper).removed_chunks == 0
    assert await world.state(chunk) == DELETING, "the second attempt has no answer yet"
    gates[1].open.set()
    assert (await second).removed_chunks == 1
    assert await world.state(chunk) is None


# ------------------------------------------------------------------------------------------------ R10


async def test_r10_a_put_that_arrives_after_its_row_is_gone(world: CollectionWorld, late: LateRequests) -> None:
    """An object without a row: it blocks nobody, and the search for orphans collects it."""
    chunk, again = some_chunks(2)
    rules = [late.lose(putting(item.digest.hex()), times=100) for item in (chunk, again)]
    backup = await world.open()
    uploads = [asyncio.create_task(world.put(backup, item)) for item in (chunk, again)]
    await asyncio.gather(*(rule.reached.wait() for rule in rules))
    assert [await world.state(item) for item in (chunk, again)] == [UPLOADING] * 2
    for upload in uploads:
        upload.cancel()
    await asyncio.gather(*uploads, return_exceptions=True)
    await world.end_lease(backup)
    await world.collect()
    assert [await world.state(item) for item in (chunk, again)] == [None, None]
    for rule in rules:
        rule.times = 0
        assert 200 in await late.deliver(rule)
    await world.backup([again])
    assert await sound(world, again)
    await asyncio.sleep(1.1)
    assert await world.collect_orphans() == (1, 1)
    assert (await world.state(chunk), await world.has_object(chunk)) == (None, False)
    assert await sound(world, again)
    counted, stored = await world.usage()
    assert counted == stored


async def test_r10_a_put_that_arrives_late_leaves_the_new_object_alone(
    world: CollectionWorld, late: LateRequests
) -> None:
    """`If-None-Match: *` refuses it."""
    (chunk,) = some_chunks(1)
    rule = late.lose(putting(chunk.digest.hex()), times=100)
    backup = await world.open()
    upload = asyncio.create_task(world.put(backup, chunk))
    await rule.reached.wait()
    upload.cancel()
    await asyncio.gather(upload, return_exceptions=True)
    await world.end_lease(backup)
    rule.times = 0
    await world.backup([chunk])
    assert set(await late.deliver(rule)) == {412}
    assert await sound(world, chunk)


# ------------------------------------------------------------------------------------------------ R18


async def test_r18_half_of_a_batch_delete_fails(world: CollectionWorld, late: LateRequests) -> None:
    """Those rows stay `deleting`; they were answered, so the next batch has them at once."""
    chunks = some_chunks(10)
    await world.forget(await world.backup(chunks, "old"))
    run = await in_phase_delete(world)
    failing = {chunk.digest.hex() for chunk in chunks[::2]}
    late.fail_keys(lambda key: key.rpartition("/")[2] in failing)
    first = await world.sweep(run)
    assert (first.removed_chunks, first.failed) == (5, 5)
    assert [await world.state(chunk) for chunk in chunks] == [DELETING, None] * 5
    assert [await world.has_object(chunk) for chunk in chunks] == [True, False] * 5
    counted, stored = await world.usage()
    assert counted == stored
    second = await world.sweep(run)
    assert (second.removed_chunks, second.failed) == (5, 0)
    assert [await world.has_object(chunk) for chunk in chunks] == [False] * 10
    counted, stored = await world.usage()
    assert counted == stored


async def test_r18_a_batch_delete_that_fails_as_a_whole(world: CollectionWorld, late: LateRequests) -> None:
    chunk = await condemned_chunk(world)
    run = await in_phase_delete(world)
    late.fail(batch_delete)
    assert (await world.sweep(run)).failed == 1
    assert (await world.state(chunk), await world.has_object(chunk)) == (DELETING, True)
    assert (await world.sweep(run)).removed_chunks == 1


# ------------------------------------------------------------------------------------------------ R24


async def names_of(world: CollectionWorld) -> list[str]:
    """Files of snapshots in the bucket, without the folders' names."""
    backend = world.parts.backends._opened[world.datastore]
    return sorted([key.rpartition("/")[2] async for key, _ in backend.list_files()])


async def test_r24_a_late_put_of_an_expired_session(world: CollectionWorld, late: LateRequests) -> None:
    """The group is free at once, the time of the dead snapshot only after Q."""
    chunks = some_chunks(2)
    dead = await world.open(time=1_700_000_000)
    await world.put(dead, chunks[0])
    rule = late.lose(putting("a.pxar.didx"), times=100)
    closing = asyncio.create_task(world.close_index(dead, chunks[:1]))
    await rule.reached.wait()
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    began = time.monotonic()
    rule.times = 0
    await world.end_lease(dead)
    with pytest.raises(Conflict, match=r"^backup directory already exists\.$"):
        await world.open(time=dead.time)
    assert 200 in await late.deliver(rule), "within Q"
    second = await _open_when_free(world, dead.time)
    assert time.monotonic() - began >= Q
    await world.put(second, chunks[1])
    await complete(world, second, chunks[1])
    with pytest.raises(SessionLost):
        await world.close_index(dead, chunks[:1])
    run = await world.begin()
    digests, summary, _ = await world.mark(run)
    assert (digests, summary.index_file_count) == ({chunks[1].digest}, 1)
    assert await names_of(world) == ["a.pxar.didx", "index.json.blob", "owner"]


async def in_pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _open_when_free(world: CollectionWorld, backup_time: int) -> Backup:
    async with asyncio.timeout(10):
        while True:
            try:
                return await world.open(time=backup_time)
            except Conflict:
                await asyncio.sleep(0.1)
                await world.services.upkeep.once()


@pytest.mark.parametrize("arrived", [False, True])
async def test_r24_a_late_delete_of_a_removed_snapshot(
    world: CollectionWorld, late: LateRequests, arrived: bool
) -> None:
    """Not every deletion was answered: the snapshot is gone at once, its time may be used again after Q."""
    chunks = some_chunks(2)
    await world.backup(some_chunks(1), "kept")
    first = await world.backup(chunks[:1])
    rule = late.drop_answers(batch_delete) if arrived else late.lose(batch_delete)
    began = time.monotonic()
    await world.forget(first)
    listed = [s async for s in world.services.listings.snapshots(world.ctx, "store", "", "host", "one")]
    assert listed == []
    with pytest.raises(Conflict, match=r"^backup directory already exists\.$"):
        await world.open(time=first.time)
    assert set(await late.deliver(rule)) == {200}
    second = await _open_when_free(world, first.time)
    assert time.monotonic() - began >= Q
    await world.put(second, chunks[1])
    await complete(world, second, chunks[1])
    (found,) = [s async for s in world.services.listings.snapshots(world.ctx, "store", "", "host", "one")]
    assert found.backup_time == first.time
    assert (await world.collect())["index-file-count"] == 2
    assert await sound(world, chunks[1])


async def test_r24_a_late_delete_of_a_group_that_is_used_again(world: CollectionWorld, late: LateRequests) -> None:
    """It takes the owner; after Q it is there again."""
    first = await world.backup(some_chunks(1))
    rule = late.lose(lambda request: batch_delete(request) and any(key.endswith("/owner") for key in request.keys))
    await world.forget(first)
    second = await world.backup(some_chunks(1))
    assert "owner" in await names_of(world)
    assert set(await late.deliver(rule)) == {200}
    assert "owner" not in await names_of(world)
    await asyncio.sleep(Q)
    await world.services.upkeep.once()
    assert await names_of(world) == ["a.pxar.didx", "index.json.blob", "owner"]
    await world.forget(second)
    assert await names_of(world) == []


@pytest.mark.parametrize("deletion", [False, True])
async def test_r24_what_failed_late_keeps_the_session_from_its_end(
    world: CollectionWorld, late: LateRequests, deletion: bool
) -> None:
    """An index that was refused, or not stored, and closed again: what is under way would take or change the second."""

    def matches(request: Request) -> bool:
        if deletion:
            return request.method == "DELETE" or any("a.pxar.didx" in key for key in request.keys)
        return putting("a.pxar.didx")(request)

    chunks = some_chunks(2)
    backup = await world.open()
    await world.put(backup, *chunks)
    rule = late.lose(matches, times=1 if deletion else 100)
    raw, csum, size = dynamic_index(chunks)
    with pytest.raises(InvalidArgument if deletion else Unavailable):
        await world.services.files.close_index(
            world.ctx, backup.id, "a.pxar.didx", csum, size + deletion, in_pieces(raw)
        )
    rule.times = 0
    await world.close_index(backup, chunks[:1])
    with pytest.raises(Conflict, match="cannot be finished"):
        await world.finish(backup)
    assert await late.deliver(rule)


# ------------------------------------------------------------------------------------------------ what Q rests on


@pytest.mark.parametrize(
    ("minutes", "accepted"), [(0, True), (-14, True), (-16, False), (16, False), (-60 * 24, False)]
)
async def test_old_signatures_are_refused(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, minutes: int, accepted: bool
) -> None:
    """A request that was signed long ago, as one that was held up on its way: the store sends it away.

    The table in `docs/operations/garbage-collection.md` says so; Q = 35 minutes relies on it.
    """
    bucket = s3.new_bucket()
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    monkeypatch.setattr(
        botocore.auth, "get_current_datetime", lambda **_: now + datetime.timedelta(minutes=minutes), raising=True
    )
    client = s3.client()
    for send in (
        lambda: client.put_object(Bucket=bucket, Key="k", Body=b"x"),
        lambda: client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}]}),
    ):
        if accepted:
            await asyncio.to_thread(send)
        else:
            with pytest.raises(ClientError) as refused:
                await asyncio.to_thread(send)
            assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
            assert refused.value.response["Error"]["Code"] == "RequestTimeTooSkewed"
