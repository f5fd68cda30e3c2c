"""What must hold at every moment, and what must hold when everything has calmed down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from testkit.simulator.truth import BY_DIGEST, Fact

from pbs_cloud.chunkstore.catalogue.names import Place
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.index import DynamicIndex

if TYPE_CHECKING:
    from testkit.simulator.world import World

UPLOADING, LIVE, CORRUPT, CONDEMNED, DELETING = range(1, 6)
_FILES = """
SELECT s.id, s.backup_time, f.name, f.kind, n.path, g.backup_type, g.backup_id
FROM snapshot s JOIN snapshot_file f ON f.snapshot_id = s.id
JOIN backup_group g ON g.id = s.group_id JOIN namespace n ON n.id = g.namespace_id
WHERE s.datastore_id = $1 AND s.state = 'committed'
"""
_CHUNKS = "SELECT digest, state, size FROM chunk WHERE datastore_id = $1"


async def check_safety(world: World) -> set[bytes]:
    """Every committed snapshot is restorable, every acknowledged one is committed; the digests they need."""
    async with world.observer.system() as connection:
        files = await connection.fetch(_FILES, world.datastore)
        rows = await connection.fetch(_CHUNKS, world.datastore)
        committed = await connection.fetch("SELECT backup_time FROM snapshot WHERE state = 'committed'")
    states = {row["digest"]: row["state"] for row in rows}
    needed: set[bytes] = set()
    for file in files:
        if file["kind"] != "blob":
            needed |= _check_index(world, file, states)
    there = {row["backup_time"] for row in committed}
    for known in world.truth.required(there):
        if known.time not in there:
            world.lost(f"backup {known.time} was acknowledged and is not there")
    _check_foreign(world)
    return needed


def _check_foreign(world: World) -> None:
    """What another server has left is as it was until we know it."""
    for found in world.truth.foreign:
        if found.known.fact is not Fact.FOREIGN or found.known.perhaps_gone:
            continue
        for key, data in found.files.items():
            if world.file(key) != data:
                world.lost(f"file {key} of another server is gone or changed")
        for digest in found.known.digests:
            if world.chunk_object(digest) != BY_DIGEST[digest].data and digest not in world.truth.damaged:
                world.lost(f"chunk {digest.hex()[:8]} of another server's {found.known.time} is gone or changed")


def _check_index(world: World, file: Any, states: dict[bytes, int]) -> set[bytes]:
    where = Place.of(file["path"], file["backup_type"], file["backup_id"]).snapshot(file["backup_time"])
    data = world.file(where.file_key(file["name"]))
    if data is None:
        world.lost(f"index of {file['backup_time']} is gone")
        return set()
    try:
        digests = [entry.digest for entry in DynamicIndex(data)]
    except FormatError as error:
        world.lost(f"index of {file['backup_time']} is damaged: {error}")
        return set()
    if tuple(digests) not in world.truth.possible(file["backup_time"]):
        world.lost(f"index of {file['backup_time']} names other chunks than its backup")
    for digest in digests:
        _check_chunk(world, digest, states.get(digest), file["backup_time"])
    return set(digests)


def _check_chunk(world: World, digest: bytes, state: int | None, time: int) -> None:
    right = world.chunk_object(digest) == BY_DIGEST[digest].data
    if right and state == LIVE:
        world.truth.damaged.discard(digest)
        world.truth.found_damaged.discard(digest)
        return
    if digest in world.truth.damaged and state == CORRUPT:
        world.truth.found_damaged.add(digest)
        return
    if digest in world.truth.damaged and state == LIVE and digest not in world.truth.found_damaged:
        return
    if digest in world.truth.damaged and state is None and world.truth.is_foreign(digest):
        return
    what = "" if right else ", its object is not there or damaged"
    world.lost(f"chunk {digest.hex()[:8]} of backup {time} has state {state}{what}")


async def check_usage(world: World) -> None:
    """Counters are what they count; only when nothing is under way."""
    async with world.observer.system() as connection:
        counted = await connection.fetch(
            "SELECT writer, bytes FROM usage_counter WHERE datastore_id = $1", world.datastore
        )
        rows = await connection.fetch(_CHUNKS, world.datastore)
        files = await connection.fetch(
            "SELECT f.stored_size FROM snapshot s JOIN snapshot_file f ON f.snapshot_id = s.id"
            " WHERE s.datastore_id = $1 AND s.state <> 'removing'",
            world.datastore,
        )
    counters = {row["writer"]: row["bytes"] for row in counted}
    stored = sum(row["size"] for row in rows if row["state"] != UPLOADING)
    if counters.get(1, 0) != stored:
        world.fail(f"usage counter of chunks says {counters.get(1, 0)}, there are {stored} bytes")
    size = sum(row["stored_size"] for row in files)
    if counters.get(0, 0) != size:
        world.fail(f"usage counter of files says {counters.get(0, 0)}, there are {size} bytes")


async def check_garbage(world: World, needed: set[bytes], *, orphans: bool) -> None:
    """Two runs after the last change nothing is left that nothing refers to."""
    async with world.observer.system() as connection:
        rows = {row["digest"]: row["state"] for row in await connection.fetch(_CHUNKS, world.datastore)}
    for digest, state in rows.items():
        if digest not in needed:
            world.fail(f"chunk {digest.hex()[:8]} is garbage with state {state}")
    if orphans:
        for digest in world.stored_chunks():
            if digest not in rows:
                world.fail(f"object {digest.hex()[:8]} has no row")


async def check_leftovers(world: World) -> None:
    """Nothing that had a lease, or was on its way out, is left for ever."""
    async with world.observer.system() as connection:
        for what, sql in _LEFTOVERS.items():
            for row in await connection.fetch(sql):
                world.fail(f"{what} is left: {row[0]}")


_LEFTOVERS = {
    "an active session": "SELECT id FROM session WHERE state = 'active'",
    "an open snapshot": "SELECT backup_time FROM snapshot WHERE state = 'open'",
    "a marked snapshot": "SELECT backup_time FROM snapshot WHERE state = 'removing'",
    "a run": "SELECT id FROM gc_run WHERE ended_at IS NULL",
    "a task": "SELECT upid FROM task WHERE endtime IS NULL",
    "a pin": "SELECT snapshot_id FROM pin",
}
