"""Backups and restores."""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.errors import Conflict, DataCorrupt, InvalidArgument, PbsError, Unavailable
from pbs_cloud.formats import blob
from pbs_cloud.formats.index import dynamic_header
from testkit.chunk_world import Chunk
from testkit.faults.acts import Act, act, chunks, fresh, group, key_of, reading, snapshot, times
from testkit.faults.acts_stores import SYSTEM, upkeep_once
from testkit.faults.world import FaultWorld
from testkit.maintenance import ADMIN, FIRST_TIME, STORE, Archive

_MANY = 210_000


async def _only_whole(world: FaultWorld, ref: t.GroupRef, attempted: dict[t.SnapshotKey, Any]) -> None:
    """What is listed as finished was promised or is the attempt whose answer was lost; all of it restores."""
    for backup_time in await times(world, ref):
        key = t.SnapshotKey(ref, backup_time)
        if key not in world.promised:
            world.promised[key] = attempted[key]
    await world.check_promises(ref)


def _backing_up(world: FaultWorld, key: t.SnapshotKey, archives: dict[str, list[Chunk]], **more: Any) -> Act:
    from testkit.faults.world import Kept

    blobs = {"c.conf.blob": blob.encode(b"configuration")}

    async def run() -> None:
        try:
            await world.back_up(key, archives, blobs, **more)
        except Conflict:
            if key.backup_time in await times(world, key.group):
                raise
            await world.nothing_is_late()
            await upkeep_once(world)
            raise Unavailable("its place rests after a write without an answer") from None

    async def whole() -> None:
        await _only_whole(world, key.group, {key: Kept(archives, blobs)})

    async def check() -> None:
        await whole()
        assert key.backup_time in await times(world, key.group)

    return Act(run, check, done=(Conflict,), between=whole)


@act
async def backup(world: FaultWorld) -> Act:
    return _backing_up(
        world, key_of(group()), {"a.pxar.didx": chunks(), "b.img.fidx".replace("fidx", "didx"): chunks(1)}
    )


@act
async def first_backup_of_a_group_of_another_server(world: FaultWorld) -> Act:
    """Its owner file is there, and no row."""
    ref = group()
    await world.place().write(f"host/{ref.backup_id}/owner", f"{ADMIN.caller.auth_id}\n".encode())
    return _backing_up(world, key_of(ref), {"a.pxar.didx": chunks(1)})


@act
async def first_backup_of_a_datastore(world: FaultWorld) -> Act:
    """The process of the chunks has not opened it yet."""
    name = fresh("store")
    await world.must(await world.catalogue.create_datastore(SYSTEM, name, {}))
    key = key_of(t.GroupRef(name, "", "host", "one"))
    found = _backing_up(world, key, {"a.pxar.didx": chunks(1)})
    once = found.check
    assert once is not None

    async def check() -> None:
        await once()
        del world.promised[key]
        await world.must(await world.catalogue.delete_datastore(SYSTEM, name, destroy_data=True))

    found.check = check
    return found


@act
async def large_index(world: FaultWorld) -> Act:
    """So large that a bucket takes it in parts."""
    (chunk,) = chunks(1)
    entries = ((number * chunk.size).to_bytes(8, "little") + chunk.digest for number in range(1, _MANY + 1))
    body = b"".join(entries)
    csum = hashlib.sha256(body).digest()
    raw = dynamic_header(uuid.uuid4().bytes, FIRST_TIME, csum) + body

    async def run() -> None:
        session = await world.open(group(), FIRST_TIME)  # a place rests after a write without an answer
        try:
            await world.upload(session, [chunk])
            closing = (session.session_id, "a.pxar.didx", csum, _MANY * chunk.size)
            await world.catalogue.close_index(ADMIN, *closing, _pieces(raw))
        finally:
            with contextlib.suppress(PbsError):
                await world.catalogue.close_session(ADMIN, session.session_id)

    return Act(run)


@act
async def backup_in_sight_of_a_base(world: FaultWorld) -> Act:
    """Incremental: chunks of the base are inherited, others are uploaded twice."""
    first = await snapshot(world)
    known = world.promised[first].archives["a.pxar.didx"]
    return _backing_up(world, key_of(first.group, 1), {"a.pxar.didx": [*known, *chunks()]}, inherit=known, twice=True)


@act
async def backup_of_known_chunks(world: FaultWorld) -> Act:
    """Another group uploads what is stored already."""
    first = await snapshot(world)
    return _backing_up(world, key_of(group()), {"a.pxar.didx": world.promised[first].archives["a.pxar.didx"]})


@act
async def backup_in_place_of_corrupt_chunks(world: FaultWorld) -> Act:
    """An upload heals; an index that inherits a corrupt chunk is refused and the base is told."""
    first = await snapshot(world)
    known = world.promised[first].archives["a.pxar.didx"]
    await _damage(world, known[0])
    return _backing_up(world, key_of(group()), {"a.pxar.didx": known})


async def _damage(world: FaultWorld, chunk: Chunk) -> None:
    async with world.database.system() as connection:
        await connection.execute("UPDATE chunk SET state = 3 WHERE digest = $1", chunk.digest)


@act
async def inherited_corrupt_chunk(world: FaultWorld) -> Act:
    first = await snapshot(world)
    known = world.promised[first].archives["a.pxar.didx"]

    async def run() -> None:
        await _damage(world, known[0])
        session = await world.open(first.group, first.backup_time + 1)
        try:
            raw, csum, size = Archive(known).index()
            await world.catalogue.close_index(ADMIN, session.session_id, "a.pxar.didx", csum, size, _pieces(raw))
        except Conflict as error:
            if "damaged" not in error.message:  # the session's own end, after a crash
                raise
        else:
            raise AssertionError("an index that inherits a corrupt chunk was taken")
        finally:
            await world.catalogue.close_session(ADMIN, session.session_id)

    async def check() -> None:
        assert await world.verdict(first) == "failed"
        await world.back_up(key_of(group()), {"a.pxar.didx": known})

    async def heal() -> None:
        await world.back_up(key_of(group()), {"a.pxar.didx": known})

    return Act(run, check, between=heal)


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


@act
async def refused_files(world: FaultWorld) -> Act:
    """Files that are not what was announced leave nothing behind."""
    known = chunks(1)

    async def run() -> list[str]:
        session = await world.open(group(), key_of(group()).backup_time)
        seen = []
        try:
            raw, csum, size = Archive(known).index()
            await world.upload(session, known)
            for wrong_csum, wrong_size in ((bytes(32), size), (csum, size + 1)):
                try:
                    await world.catalogue.close_index(
                        ADMIN, session.session_id, "a.pxar.didx", wrong_csum, wrong_size, _pieces(raw)
                    )
                except InvalidArgument as error:
                    seen.append(error.field or "")
            try:
                await world.catalogue.put_blob(ADMIN, session.session_id, "index.json.blob", blob.encode(b"[]"))
                await world.catalogue.finish(ADMIN, session.session_id, t.UploadStatistics(1, 1, 1, 0))
            except (InvalidArgument, Conflict):
                seen.append("manifest")
        finally:
            with contextlib.suppress(PbsError):
                await world.catalogue.close_session(ADMIN, session.session_id)
        return seen

    return Act(run, reads=True, expected=["csum", "size", "manifest"])


@act
async def backup_that_is_broken_off(world: FaultWorld) -> Act:
    """What was not finished goes, and the group with it."""
    ref = group()
    session = await world.open(ref, key_of(ref).backup_time)
    await world.upload(session, chunks(1))

    async def run() -> None:
        await world.catalogue.close_session(ADMIN, session.session_id, error="gone")

    async def check() -> None:
        assert ref.backup_id not in [item.backup_id async for item in world.catalogue.list_groups(ADMIN, STORE, "")]

    return Act(run, check)


@act
async def backup_whose_process_died(world: FaultWorld) -> Act:
    """The successor of a gateway ends what it left."""
    ref, process = group(), fresh("process")
    key = key_of(ref)
    session = await world.catalogue.open_backup(ADMIN, ref, key.backup_time, benchmark=False, process_id=process)
    await world.upload(session, chunks(1))
    reader = await world.catalogue.open_reader(ADMIN, await snapshot(world), process_id=process)

    async def run() -> None:
        await world.catalogue.expire_process(process)

    async def check() -> None:
        await world.a_minute_passes()
        assert await times(world, ref) == []
        for upid in (session.upid, reader.upid):
            assert (await world.catalogue.get_task(ADMIN, upid)).endtime is not None

    return Act(run, check)


@act
async def lease_that_ran_out(world: FaultWorld) -> Act:
    """Whoever meets a dead session ends it."""
    first = await snapshot(world)
    session = await world.open(first.group, first.backup_time + 1)
    await world.upload(session, chunks(1))
    reader = await world.catalogue.open_reader(ADMIN, first, process_id=fresh("process"))
    async with world.database.system() as connection:
        ids = [session.session_id, reader.session_id]
        await connection.execute(
            "UPDATE session SET lease_until = clock_timestamp() WHERE id::text = ANY($1::text[])", ids
        )
    kept = world.promised[first].archives["a.pxar.didx"]
    return _backing_up(world, key_of(first.group, 2), {"a.pxar.didx": kept}, inherit=kept)


@act
async def leases(world: FaultWorld) -> Act:
    """Renewal never loses a session that is alive."""
    ref, process = group(), fresh("alive")
    key = key_of(ref)
    session = await world.catalogue.open_backup(ADMIN, ref, key.backup_time, benchmark=False, process_id=process)

    async def run() -> Any:
        return await world.catalogue.renew_leases(process, [session.session_id, "00000000-0000-0000-0000-000000000000"])

    found = await reading(run)

    async def check() -> None:
        await world.catalogue.close_session(ADMIN, session.session_id)

    found.check = check
    return found


@act
async def restore(world: FaultWorld) -> Act:
    key = await snapshot(world)

    async def run() -> Any:
        return await world.restored(key)

    return Act(run, reads=True, expected=world.promised[key])


@act
async def restore_of_a_damaged_chunk(world: FaultWorld) -> Act:
    """A chunk whose file is damaged is told, never handed out."""
    key = await snapshot(world, count=1)
    (chunk,) = world.promised.pop(key).archives["a.pxar.didx"]

    async def run() -> str:
        await world.damage(chunk)
        session = await world.catalogue.open_reader(ADMIN, key, process_id="test", with_task=False)
        try:
            await world.chunks.get_chunk(ADMIN, session.session_id, chunk.digest)
        except DataCorrupt:
            return "told"
        finally:
            await world.catalogue.close_session(ADMIN, session.session_id)
        return "handed out"

    async def check() -> None:
        await world.back_up(key_of(group()), {"a.pxar.didx": [chunk]})

    return Act(run, check, reads=True, expected="told")
