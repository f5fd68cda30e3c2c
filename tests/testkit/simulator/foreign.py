"""Another server uses the datastore while ours stands still; then `pbs-cloud reimport` (docs/operations/adopt.md).

People hand the place over when no collection is under way and nothing is being deleted, and stop the product; over a
bucket they wait until no request of ours can come late. Over a bucket nobody collects until the snapshots are known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from typing import TYPE_CHECKING, Any

from testkit.simulator import actors
from testkit.simulator.loop import Process
from testkit.simulator.processes import TENANT
from testkit.simulator.storage_hooks import Trap
from testkit.simulator.themes import LATE_SECONDS
from testkit.simulator.truth import POOL, Fact, Foreign, Known

from pbs_cloud.chunkstore.catalogue.rows import find_store
from pbs_cloud.chunkstore.maintenance.reimport import Reimport
from pbs_cloud.contracts.errors import PbsError
from pbs_cloud.formats import layout
from pbs_cloud.formats.names import MANIFEST_NAME, BackupNamespace, SnapshotRef

if TYPE_CHECKING:
    from testkit.simulator.world import World

COMMAND = "reimport"
"""Name of the process in which the command runs."""
_HAND_OVER_SECONDS = 600.0
_PATIENCE = 40
_DONE = "done"
_UNDER_WAY = """
SELECT (SELECT count(*) FROM gc_run WHERE ended_at IS NULL) + (SELECT count(*) FROM chunk WHERE state = 5)
"""


# ---------------------------------------------------------------------------------------------------- the other server


async def foreign(world: World, args: dict[str, Any]) -> None:
    """Hand the place over; snapshots are written there; the product runs again."""
    if not await _nothing_under_way(world):
        return
    world.product.stop()
    world.directory.sync()
    await asyncio.sleep(LATE_SECONDS if world.on_s3 else args["seconds"])
    while world.directory.full:
        await asyncio.sleep(1.0)
    for number, picks in enumerate(args["snapshots"]):
        _write_snapshot(world, args["groups"][number], args["times"][number], picks, finished=True)
    if args["unfinished"]:
        _write_snapshot(world, args["groups"][0], args["times"][0] - 500_000_000, args["unfinished"], finished=False)
    world.product.stopped = False
    for name in world.names():
        world.product.start(name)


async def _nothing_under_way(world: World) -> bool:
    """Whether a moment came at which no collection runs and no chunk is being deleted."""
    deadline = world.loop.now + _HAND_OVER_SECONDS
    while True:
        async with world.observer.system() as connection:
            busy = await connection.fetchval(_UNDER_WAY)
        if not busy and not world.directory.full and not world.product.stopped:
            return True
        if world.loop.now >= deadline:
            return False
        await asyncio.sleep(1.0)


def _write_snapshot(world: World, group: int, time: int, picks: list[int], *, finished: bool) -> None:
    """As a real PBS leaves it: durable, chunks that were there as they were."""
    chunks = [POOL[number] for number in picks]
    for chunk in chunks:
        if world.chunk_object(chunk.digest) is None:
            world.put_chunk_object(chunk.digest, chunk.data)
    digests = tuple(chunk.digest for chunk in chunks)
    ns, ref = BackupNamespace.parse(world.places.get(group, "")), SnapshotRef.of("host", f"g{group}", time)
    raw, csum, size = actors.index_of(digests)
    owner = layout.owner_path(ns, ref.group)
    files = {layout.snapshot_file_path(ns, ref, actors.INDEX): raw}
    if finished:
        files[layout.manifest_path(ns, ref)] = actors.manifest_of(group, time, csum, size)
    if world.file(owner) is None:
        world.put_file(owner, f"{actors.context().caller.auth_id}\n".encode())
    for key, data in files.items():
        world.put_file(key, data)
    if finished:
        known = Known(time, group, digests, Fact.FOREIGN)
        world.truth.backups.append(known)
        world.truth.foreign.append(Foreign(known, files))
    else:
        world.truth.unfinished += files


# ---------------------------------------------------------------------------------------------------- the command


async def reimport(world: World, args: dict[str, Any]) -> str:
    """People repeat the command until it has done its work, for a while; some find their machine dead in the middle."""
    die, answer = args["die"], ""
    for _ in range(args["patience"]):
        answer = await _run_once(world, die)
        if answer == _DONE:
            break
        die = None
        await asyncio.sleep(5.0)
    return answer


async def take_in(world: World) -> None:
    """The command without any trouble, at the end of a story; what was never finished is deleted by hand."""
    for key in world.truth.unfinished:
        world.delete_file(key)
    world.truth.unfinished.clear()
    if world.truth.unknown():
        answer = await reimport(world, {"die": None, "patience": _PATIENCE})
        for known in world.truth.unknown():
            world.fail(f"snapshot {known.time} of another server cannot be taken in: {answer}")


async def _run_once(world: World, die: dict[str, Any] | None) -> str:
    """What the command says."""
    process, answers = Process(COMMAND, 0.0), ["killed"]
    for known in world.truth.unknown():
        known.fact = Fact.COMING

    async def work() -> None:
        try:
            database = world.product.new_database()
            async with database.tenant(TENANT) as connection:
                store = await find_store(connection, TENANT, actors.STORE)
            with ThreadPoolExecutor(1) as threads:
                await Reimport(world.product.settings, database, threads).run(store)
            answers.append(_DONE)
        except PbsError as error:
            answers.append(f"{type(error).__name__}: {error.message}")

    if die is not None:
        world.hooks.traps.append(_deadly(world, die))
    if not await world.until_it_ends(process, work()):
        world.fail("reimport does not come to an end")
    world.hooks.traps = [trap for trap in world.hooks.traps if trap.name != COMMAND]
    await _learn(world)
    return answers[-1]


def _deadly(world: World, die: dict[str, Any]) -> Trap:
    """kill -9 at a certain point."""

    def spring(process: Process) -> None:
        world.loop.pause(process, 0.001)
        world.loop.call_soon(lambda: world.loop.kill(process), context=Context())

    return Trap(COMMAND, die["kind"], die["title"], die["count"], spring)


async def _learn(world: World) -> None:
    """Which snapshots the catalogue knows now, whatever the command has said: all of one, or nothing."""
    async with world.observer.system() as connection:
        rows = await connection.fetch(
            "SELECT s.backup_time, count(f.name) AS files FROM snapshot s JOIN snapshot_file f ON f.snapshot_id = s.id"
            " GROUP BY s.backup_time"
        )
    files = {row["backup_time"]: row["files"] for row in rows}
    for known in world.truth.backups:
        if known.fact is Fact.COMING:
            gone = known.perhaps_gone and not _is_there(world, known)
            known.fact = Fact.ACKNOWLEDGED if known.time in files or gone else Fact.FOREIGN
            if files.get(known.time, len((actors.INDEX, MANIFEST_NAME))) != len((actors.INDEX, MANIFEST_NAME)):
                world.lost(f"snapshot {known.time} of another server is in the catalogue without its files")
    await world.find_places()


def _is_there(world: World, known: Known) -> bool:
    return any(world.file(key) is not None for item in world.truth.foreign if item.known is known for key in item.files)


OPERATOR_OPS: dict[str, Callable[[World, dict[str, Any]], Awaitable[Any]]] = {"foreign": foreign, "reimport": reimport}
