"""Chunks in states that only accidents make: left by the dead, of unknown kind, already there, over the quota."""

from __future__ import annotations

import dataclasses
import uuid

from pbs_cloud.chunkstore.states import UsageWriter
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.chunkstore.collection import CollectionClient
from pbs_cloud.contracts.errors import QuotaExceeded
from pbs_cloud.formats import layout
from testkit.chunk_world import Chunk, plain_chunk
from testkit.faults.acts import Act, act, chunks, group, key_of, reading, snapshot
from testkit.faults.world import FaultWorld
from testkit.maintenance import ADMIN, STORE


async def _session(world: FaultWorld) -> t.BackupSession:
    ref = group()
    at = key_of(ref).backup_time
    return await world.catalogue.open_backup(ADMIN, ref, at, benchmark=False, process_id="alive")


async def _used(world: FaultWorld, made: list[Chunk]) -> None:
    """Chunks that were answered make a backup that restores."""
    key = key_of(group())
    await world.back_up(key, {"a.pxar.didx": made})
    await world.check_promises(key.group)


@act
async def chunks_left_by_a_dead_process(world: FaultWorld) -> Act:
    """Written, and not yet live when the chunk process died: the flush through its successor takes them over."""
    session, made = await _session(world), chunks()
    await world.upload(session, made)
    async with world.database.system() as connection:
        size = await connection.fetchval(
            "WITH left_over AS (UPDATE chunk SET state = 1, owner_session = $2, writer = gen_random_uuid()"
            " WHERE digest = ANY($1::bytea[]) RETURNING size) SELECT sum(size) FROM left_over",
            [chunk.digest for chunk in made], uuid.UUID(session.session_id),
        )  # fmt: skip
        await connection.execute(
            "UPDATE usage_counter SET bytes = bytes - $1 WHERE writer = $2"
            " AND datastore_id = (SELECT id FROM datastore WHERE name = $3 AND state = 'active')",
            size, int(UsageWriter.CHUNKS), STORE,
        )  # fmt: skip

    async def run() -> None:
        await world.chunks.flush(ADMIN, session.session_id)

    async def check() -> None:
        await world.catalogue.close_session(ADMIN, session.session_id)
        await _used(world, made)

    return Act(run, check)


@act
async def chunk_of_unknown_kind(world: FaultWorld) -> Act:
    """As adopted ones are: looked at when somebody uploads the same digest."""
    key = await snapshot(world)
    known = world.promised[key].archives["a.pxar.didx"]
    async with world.database.system() as connection:
        await connection.execute(
            "UPDATE chunk SET kind = 0 WHERE digest = ANY($1::bytea[])", [chunk.digest for chunk in known]
        )
    session = await _session(world)

    async def run() -> None:
        await world.upload(session, known)

    async def check() -> None:
        await world.catalogue.close_session(ADMIN, session.session_id)
        await _used(world, known)

    return Act(run, check)


@act
async def object_of_unknown_origin(world: FaultWorld) -> Act:
    """An object lies where a new chunk shall go."""
    session, (made,) = await _session(world), chunks(1)
    await world.place().write(layout.chunk_path(made.digest), b"something else")

    async def run() -> None:
        await world.upload(session, [made])

    async def check() -> None:
        assert await world.stored(made) == made.data
        await world.catalogue.close_session(ADMIN, session.session_id)
        await _used(world, [made])

    return Act(run, check)


@act
async def smaller_copy_of_a_chunk(world: FaultWorld) -> Act:
    """A compressed upload of what is stored uncompressed."""
    content = bytes(4000)
    large = plain_chunk(content=content + uuid.uuid4().bytes)
    key = key_of(group())
    await world.back_up(key, {"a.pxar.didx": [large]})
    del world.promised[key]
    body = large.data[12:]
    small = plain_chunk(content=body, compress=True)
    session = await _session(world)

    async def run() -> None:
        await world.upload(session, [small])

    async def check() -> None:
        await world.catalogue.close_session(ADMIN, session.session_id)
        await world.catalogue.delete_snapshot(ADMIN, key)

    return Act(run, check)


@act
async def quota(world: FaultWorld) -> Act:
    """Whatever fails, nobody gets more than he may."""
    ref = group()
    limited = dataclasses.replace(ADMIN, caller=dataclasses.replace(ADMIN.caller, quota_bytes=1 << 40))
    at = key_of(ref).backup_time
    session = await world.catalogue.open_backup(limited, ref, at, benchmark=False, process_id="alive")
    async with world.database.system() as connection:
        await connection.execute("UPDATE session SET quota_bytes = 1 WHERE id = $1", uuid.UUID(session.session_id))

    async def run() -> str:
        try:
            await world.chunks.put_chunk(limited, session.session_id, *_parts(chunks(1)[0]))
        except QuotaExceeded:
            return "refused"
        return "stored"

    async def check() -> None:
        await world.catalogue.close_session(ADMIN, session.session_id)

    found = await reading(run)
    assert found.expected == "refused"
    found.check = check
    return found


def _parts(chunk: Chunk) -> tuple[bytes, int, bytes]:
    return chunk.digest, chunk.size, chunk.data


@act
async def renewal_of_a_collection(world: FaultWorld) -> Act:
    """A run that is renewed is nobody else's."""
    client = CollectionClient(world.channels[0])
    run_of_it = await client.begin(ADMIN, STORE, "alive-collection")

    async def run() -> None:
        await client.renew(ADMIN, run_of_it.token)

    async def check() -> None:
        await client.renew(ADMIN, run_of_it.token)
        await client.end(ADMIN, run_of_it.token, "", "ended by a test", complete=False)

    return Act(run, check)
