"""The simulator's own parts: time, processes, object storage, directories."""

from __future__ import annotations

import asyncio
import time
import uuid

import pytest
from obstore import exceptions as failures
from testkit.simulator.bucket import Bucket, obstore_of
from testkit.simulator.directory import Directory
from testkit.simulator.loop import Process, SimLoop, Stuck
from testkit.simulator.patching import deterministic


def test_time_jumps_and_a_seed_repeats_itself() -> None:
    def story(seed: int) -> tuple[list[str], float, str]:
        loop, seen = SimLoop(seed), list[str]()

        async def worker(name: str) -> None:
            for number in range(20):
                await asyncio.sleep(loop.rng.random() * 100)
                seen.append(f"{name}{number} {time.monotonic()}")
                await asyncio.to_thread(seen.append, name)

        async def main() -> str:
            tasks = [loop.spawn(Process(name), worker(name)) for name in "abc"]
            await asyncio.gather(*tasks)
            return str(uuid.uuid4())

        with deterministic(loop, seed):
            found = loop.run(main())
            return seen, loop.now, found

    assert story(1) == story(1)
    assert story(1) != story(2)
    assert story(1)[1] > 500


def test_a_killed_process_does_nothing_more() -> None:
    loop, process, seen = SimLoop(1), Process("victim"), list[str]()

    async def victim() -> None:
        try:
            seen.append("begun")
            await asyncio.sleep(10)
        finally:
            seen.append("ended")

    async def main() -> None:
        task = loop.spawn(process, victim())
        await asyncio.sleep(5)
        loop.kill(process)
        await asyncio.sleep(50)
        assert not task.done()

    loop.run(main())
    assert seen == ["begun"]


def test_a_paused_process_goes_on_later() -> None:
    loop, process, woke = SimLoop(1), Process("sleeper"), list[float]()

    async def sleeper() -> None:
        for _ in range(3):
            await asyncio.sleep(1)
            woke.append(loop.now)

    async def main() -> None:
        task = loop.spawn(process, sleeper())
        await asyncio.sleep(1.5)
        loop.pause(process, 100)
        await task

    loop.run(main())
    assert woke[0] == 1 and woke[1] >= 101.5 and woke[2] >= 102.5


def test_waiting_for_nothing_is_found_out() -> None:
    loop = SimLoop(1)

    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck):
        loop.run(main())


def test_requests_of_the_dead_arrive_and_old_signatures_do_not() -> None:
    loop = SimLoop(3)
    bucket = Bucket(loop)
    store, process = obstore_of(bucket), Process("gone")

    async def main() -> None:
        loop.spawn(process, store.put_async(None, "key", b"late"))
        while not bucket.in_flight:
            await asyncio.sleep(0)
        loop.kill(process)
        assert not bucket.objects
        await asyncio.sleep(1)
        assert bucket.objects["key"].data == b"late"
        with pytest.raises(failures.AlreadyExistsError):
            await store.put_async(None, "key", b"again", mode="create")
        bucket._deliver(2000.0, bucket_time(loop), lambda: bucket.delete(["key"]), None)
        await asyncio.sleep(3000)
        assert "key" in bucket.objects

    with deterministic(loop, 3):
        loop.run(main())


def bucket_time(loop: SimLoop) -> float:
    """What a signature made now says."""
    return time.time()


def test_a_power_failure_takes_what_was_not_synced() -> None:
    kept = set()
    for seed in range(8):
        directory = Directory(SimLoop(seed))
        directory.write("durable", b"1", synced=True)
        directory.write("written", b"2", synced=False)
        directory.power_failure()
        assert directory.files["durable"] == b"1"
        kept.add("written" in directory.files)
        directory.write("written", b"3", synced=False)
        directory.sync()
        directory.power_failure()
        assert directory.files["written"] == b"3"
    assert kept == {True, False}
