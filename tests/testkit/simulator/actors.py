"""What people and their backup clients do, through a gateway or a replica of gc."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from testkit.simulator.loop import WORLD
from testkit.simulator.processes import TENANT, Gateway, Worker
from testkit.simulator.truth import BY_DIGEST, POOL, Chunk, Fact, Known

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext, SystemContext
from pbs_cloud.contracts.errors import Conflict, DataCorrupt, Locked, NotFound, PbsError, Unavailable
from pbs_cloud.contracts.jobs import VerifyOptions, VerifyScope
from pbs_cloud.formats import blob
from pbs_cloud.formats.index import DynamicIndex, dynamic_header
from pbs_cloud.formats.names import MANIFEST_NAME
from pbs_cloud.formats.prune import KeepOptions

if TYPE_CHECKING:
    from testkit.simulator.world import World

STORE = "store"
INDEX = "a.pxar.didx"
_UPLOADS_AT_ONCE = 3
_OPENINGS = 4
_NO_STATISTICS = t.UploadStatistics(0, 0, 0, 0)


def context() -> CallContext:
    """An administrator of the tenant."""
    return SystemContext().for_tenant(TENANT)


def group_of(world: World, number: int) -> t.GroupRef:
    """Where the people believe that a group is."""
    return t.GroupRef(STORE, world.places.get(number, ""), "host", f"g{number}")


class _GaveUp(Exception):
    """The client goes away in the middle."""


async def _pause(seconds: float) -> None:
    if seconds:
        await asyncio.sleep(seconds)


# ---------------------------------------------------------------------------------------------------- backup


class BackupClient:
    """One backup: chunks new and inherited, one archive, the manifest, finish."""

    def __init__(self, world: World, gateway: Gateway, args: dict[str, Any]) -> None:
        self._world = world
        self._gateway = gateway
        self._args = args
        self._ctx = context()
        self._known = Known(args["time"], args["group"])
        self._inherited: list[bytes] = []
        self._session: t.BackupSession | None = None

    async def run(self) -> None:
        """The whole of it; whatever happens, `truth` knows what may be expected."""
        self._world.truth.backups.append(self._known)
        group = group_of(self._world, self._known.group)
        session = await self._open(group)
        if session is None:
            self._known.fact = Fact.FAILED
            return
        self._session = session
        self._gateway.sessions.add(session.session_id)
        error: str | None = None
        try:
            await self._steps(session.session_id)
        except (PbsError, _GaveUp) as found:
            error = str(found)
            if self._known.fact is Fact.RUNNING:
                self._known.fact = Fact.FAILED
        finally:
            self._gateway.sessions.discard(session.session_id)
        with contextlib.suppress(PbsError):
            await self._gateway.catalogue.close_session(self._ctx, session.session_id, error=error)

    async def _open(self, group: t.GroupRef) -> t.BackupSession | None:
        """A session; who finds the group locked tries again for a while."""
        for _ in range(_OPENINGS):
            try:
                return await self._gateway.catalogue.open_backup(
                    self._ctx, group, self._known.time, benchmark=False, process_id=self._gateway.id
                )
            except Locked:
                await asyncio.sleep(2.0)
            except PbsError:
                return None
        return None

    async def _step(self, number: int) -> None:
        await _pause(self._args["think"][number])
        if self._args["abort"] == number + 1:
            raise _GaveUp("the client went away")
        if self._session is not None and self._session.session_id in self._gateway.lost:
            raise _GaveUp("the lease was lost")

    async def _steps(self, session: str) -> None:
        await self._inherit(session)
        await self._step(0)
        picked = [POOL[number] for number in self._args["picks"]]
        await self._upload(session, [chunk for chunk in picked if chunk.digest not in self._inherited])
        await self._step(1)
        self._known.digests = tuple(dict.fromkeys([*self._inherited, *(chunk.digest for chunk in picked)]))
        await self._gateway.chunks.flush(self._ctx, session)
        raw, csum, size = index_of(self._known.digests)
        await self._gateway.catalogue.close_index(self._ctx, session, INDEX, csum, size, _pieces(raw))
        await self._step(2)
        manifest = manifest_of(self._known.group, self._known.time, csum, size)
        await self._gateway.catalogue.put_blob(self._ctx, session, MANIFEST_NAME, manifest)
        await self._step(3)
        self._known.fact = Fact.FINISHING
        await self._gateway.catalogue.finish(self._ctx, session, _NO_STATISTICS)
        self._known.fact = Fact.ACKNOWLEDGED
        await _pause(self._args["think"][4])

    async def _inherit(self, session: str) -> None:
        """Some of the base's chunks, as the client's choice of changed blocks would have it."""
        base = None if self._session is None else self._session.base
        if base is None or not self._args["keep"]:
            return
        try:
            pieces = [piece async for piece in self._gateway.catalogue.read_session_file(self._ctx, session, INDEX)]
        except (NotFound, DataCorrupt):
            return
        digests = [entry.digest for entry in DynamicIndex(b"".join(pieces))]
        self._inherited = [digest for number, digest in enumerate(digests) if self._args["keep"] >> number & 1]

    async def _upload(self, session: str, chunks: Sequence[Chunk]) -> None:
        places = asyncio.Semaphore(_UPLOADS_AT_ONCE)

        async def one(chunk: Chunk) -> None:
            async with places:
                await self._gateway.chunks.put_chunk(self._ctx, session, chunk.digest, chunk.size, chunk.data)

        results = await asyncio.gather(*(one(chunk) for chunk in chunks), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result


def manifest_of(group: int, time: int, csum: bytes, size: int) -> bytes:
    """The manifest's file of a backup with one index."""
    manifest = {
        "backup-type": "host",
        "backup-id": f"g{group}",
        "backup-time": time,
        "files": [{"filename": INDEX, "size": size, "csum": csum.hex()}],
        "signature": None,
        "unprotected": {},
    }
    return blob.encode(json.dumps(manifest).encode())


def index_of(digests: Sequence[bytes]) -> tuple[bytes, bytes, int]:
    """File, csum and size of an index of these chunks."""
    ends = list(itertools.accumulate(BY_DIGEST[digest].size for digest in digests))
    body = b"".join(end.to_bytes(8, "little") + digest for end, digest in zip(ends, digests, strict=True))
    csum = hashlib.sha256(body).digest()
    return dynamic_header(b"\0" * 16, 1_700_000_000, csum) + body, csum, ends[-1] if ends else 0


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def backup(world: World, gateway: Gateway, args: dict[str, Any]) -> None:
    await BackupClient(world, gateway, args).run()


# ---------------------------------------------------------------------------------------------------- other people


async def restore(world: World, gateway: Gateway, args: dict[str, Any]) -> None:
    """Read the newest backup of a group chunk by chunk; what is damaged without a reason is a loss."""
    known = _newest(world, args["group"])
    if known is None:
        return
    key, ctx = t.SnapshotKey(group_of(world, known.group), known.time), context()
    with contextlib.suppress(Conflict, NotFound, Unavailable):
        session = await gateway.catalogue.open_reader(ctx, key, process_id=gateway.id)
        gateway.sessions.add(session.session_id)
        try:
            await _read_all(world, gateway, session.session_id, args["think"])
        finally:
            gateway.sessions.discard(session.session_id)
            with contextlib.suppress(PbsError):
                await gateway.catalogue.close_session(ctx, session.session_id)


async def _read_all(world: World, gateway: Gateway, session: str, think: Sequence[float]) -> None:
    ctx = context()
    pieces = [piece async for piece in gateway.catalogue.read_session_file(ctx, session, INDEX)]
    for number, entry in enumerate(DynamicIndex(b"".join(pieces))):
        await _pause(think[number % len(think)])
        try:
            data = await gateway.chunks.get_chunk(ctx, session, entry.digest)
        except (NotFound, DataCorrupt) as error:
            if entry.digest not in world.truth.damaged:
                world.lost(f"restore: chunk {entry.digest.hex()[:8]}: {error.message}")
            continue
        if data != BY_DIGEST[entry.digest].data and entry.digest not in world.truth.damaged:
            world.lost(f"restore: chunk {entry.digest.hex()[:8]} has other bytes")


def _newest(world: World, group: int) -> Known | None:
    found = [known for known in world.truth.required() if known.group == group]
    return max(found, key=lambda known: known.time, default=None)


async def forget(world: World, gateway: Gateway, args: dict[str, Any]) -> None:
    ctx, group = context(), group_of(world, args["group"])
    mine = sorted(
        (known for known in world.truth.backups if known.group == args["group"]), key=lambda known: known.time
    )
    if args["which"] == "group":
        world.truth.forgetting.add(args["group"])
        with contextlib.suppress(PbsError):
            await gateway.catalogue.delete_group(ctx, group, error_on_protected=False)
            world.truth.forgetting.discard(args["group"])
        for known in world.truth.backups:
            known.perhaps_gone |= known.group == args["group"] and known.fact is not Fact.FOREIGN
        return
    there = [known for known in mine if known.fact is Fact.ACKNOWLEDGED]
    for known in {"oldest": there[:1], "newest": there[-1:]}.get(args["which"], there):
        for same in mine:
            same.perhaps_gone |= same.time == known.time
        with contextlib.suppress(PbsError):
            await gateway.catalogue.delete_snapshot(ctx, t.SnapshotKey(group, known.time))


async def move(world: World, gateway: Gateway, args: dict[str, Any]) -> None:
    """A group to another namespace; where it is afterwards is asked, not assumed."""
    group = group_of(world, args["group"])
    if args["to"] == group.ns:
        return
    with contextlib.suppress(PbsError):
        await gateway.catalogue.move_group(context(), group, args["to"], merge=True)
    await world.loop.spawn(WORLD, world.find_places())  # people look, no process does: nothing befalls them


async def gc(world: World, worker: Worker, args: dict[str, Any]) -> None:
    if world.on_s3 and world.truth.unknown():
        return  # nothing in a bucket protects what people have not taken in yet: they know
    with contextlib.suppress(PbsError):
        upid, _ = await worker.collection.start(context(), STORE)
        if args["stop"] is not None:
            await asyncio.sleep(args["stop"])
            await worker.catalogue.stop_task(context(), upid)
        await worker.tasks.wait(upid)


async def prune(world: World, worker: Worker, args: dict[str, Any]) -> None:
    world.truth.pruned = True
    with contextlib.suppress(PbsError):
        upid = await worker.prune.datastore(context(), STORE, "", None, KeepOptions(last=args["last"]), dry_run=False)
        await worker.tasks.wait(upid)


async def verify(world: World, worker: Worker, args: dict[str, Any]) -> None:
    with contextlib.suppress(PbsError):
        scope, options = VerifyScope(STORE), VerifyOptions(ignore_verified=False)
        await worker.tasks.wait(await worker.verify.start(context(), scope, options))


GATEWAY_OPS: dict[str, Callable[[World, Gateway, dict[str, Any]], Awaitable[None]]] = {
    "backup": backup,
    "restore": restore,
    "forget": forget,
    "move": move,
}
WORKER_OPS: dict[str, Callable[[World, Worker, dict[str, Any]], Awaitable[None]]] = {
    "gc": gc,
    "prune": prune,
    "verify": verify,
}
