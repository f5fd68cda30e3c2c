"""A loop that loses its first cancellation is ended all the same."""

import asyncio

import pytest

from pbs_cloud.runtime import cancelling
from pbs_cloud.runtime.cancelling import cancel_and_wait


async def test_a_swallowed_cancellation_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > 1:
                    raise

    monkeypatch.setattr(cancelling, "_AGAIN_SECONDS", 0.05)
    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await cancel_and_wait([task])
    assert (task.cancelled(), swallowed) == (True, 2)


async def test_tasks_that_have_ended_are_left_alone() -> None:
    ended = asyncio.create_task(asyncio.sleep(0))
    await ended
    await cancel_and_wait([ended])
    assert not ended.cancelled()
