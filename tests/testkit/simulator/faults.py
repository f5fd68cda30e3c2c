"""What befalls a world: processes die or stand still, lines are cut, storage is away, the power fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any

from testkit.simulator.loop import Process
from testkit.simulator.storage_hooks import Trap
from testkit.simulator.truth import POOL

from pbs_cloud.formats import layout

if TYPE_CHECKING:
    from testkit.simulator.world import World

PREFIX = "store"


async def kill(world: World, args: dict[str, Any]) -> None:
    """kill -9; the supervisor starts it again a little later."""
    if args["name"] not in world.product.running:
        return
    world.product.kill(args["name"])
    await asyncio.sleep(args["seconds"])
    if args["name"] not in world.product.running:
        world.product.start(args["name"])


async def pause(world: World, args: dict[str, Any]) -> None:
    process = world.product.running.get(args["name"])
    if process is not None:
        world.loop.pause(process, args["seconds"])


async def trap(world: World, args: dict[str, Any]) -> None:
    """A process dies or stands still at a certain point, if it comes there within a minute."""

    def spring(process: Process) -> None:
        if args["what"] == "pause":
            world.loop.pause(process, args["seconds"])
        else:
            world.loop.pause(process, 0.001)
            world.loop.call_soon(lambda: asyncio.ensure_future(kill(world, args)), context=Context())

    found = Trap(args["name"], args["kind"], args["title"], args["count"], spring)
    world.hooks.traps.append(found)
    await asyncio.sleep(60.0)
    if found in world.hooks.traps:
        world.hooks.traps.remove(found)


async def cut(world: World, args: dict[str, Any]) -> None:
    pair = (args["pair"][0], args["pair"][1])
    world.network.cut.add(pair)
    await asyncio.sleep(args["seconds"])
    world.network.cut.discard(pair)


async def storm(world: World, args: dict[str, Any]) -> None:
    """Object storage, or else the network, is unreliable for a while."""
    if world.on_s3:
        world.bucket.trouble = max(world.bucket.trouble, args["trouble"])
    else:
        world.network.trouble = args["trouble"] / 5
    await asyncio.sleep(args["seconds"])
    world.bucket.trouble = world.script.config["trouble"]
    world.network.trouble = world.script.config["network"]


async def power(world: World, args: dict[str, Any]) -> None:
    """Everything stops at once; of the files only what was synced is certain."""
    names = list(world.product.running)
    for name in names:
        world.product.kill(name)
    world.directory.power_failure()
    await asyncio.sleep(args["seconds"])
    for name in names:
        if name not in world.product.running:
            world.product.start(name)


async def full(world: World, args: dict[str, Any]) -> None:
    world.directory.full = True
    await asyncio.sleep(args["seconds"])
    world.directory.full = False


async def corrupt(world: World, args: dict[str, Any]) -> None:
    """Bits rot, or an object is gone, and nobody is told."""
    digest = POOL[args["chunk"]].digest
    data = world.chunk_object(digest)
    if data is None:
        return
    world.truth.damaged.add(digest)
    world.truth.found_damaged.discard(digest)
    bad = data[:-1] + bytes([data[-1] ^ 1])
    if world.on_s3:
        key = layout.chunk_key(PREFIX, digest)
        if args["gone"]:
            world.bucket.objects.pop(key)
        else:
            world.bucket.objects[key].data = bad
        return
    path = layout.chunk_path(digest)
    for files in (world.directory.files, world.directory.durable):
        if args["gone"]:
            files.pop(path, None)
        elif path in files:
            files[path] = bad


FAULTS: dict[str, Callable[[World, dict[str, Any]], Awaitable[None]]] = {
    "kill": kill,
    "pause": pause,
    "trap": trap,
    "cut": cut,
    "storm": storm,
    "power": power,
    "full": full,
    "corrupt": corrupt,
}
