"""Slots: no two share a byte, freed ones join, those without an answer rest."""

import asyncio
import itertools
import random

import pytest

from pbs_cloud.gateway.arena import GRANULE, Arena

MIB = 1 << 20


def arena(size: int = MIB) -> Arena:
    return Arena(memoryview(bytearray(size)), b"region")


def test_slots_never_overlap_and_everything_comes_back():
    dice, found, slots = random.Random(1), arena(8 * MIB), []
    for _ in range(5_000):
        if slots and dice.random() < 0.5:
            slots.pop(dice.randrange(len(slots))).free()
        elif (slot := found.allocate(dice.randint(1, MIB))) is not None:
            slots.append(slot)
        taken = sorted((slot.offset, slot.offset + slot.extent) for slot in slots)
        assert all(left[1] <= right[0] for left, right in itertools.pairwise(taken))
    for slot in slots:
        slot.free()
        slot.free()
    assert found.allocate(8 * MIB) is not None, "one extent again"


def test_view_has_exactly_the_size():
    found = arena()
    slot = found.allocate(100)
    assert len(slot.view) == 100 and slot.extent == GRANULE
    slot.view[:] = bytes([7]) * 100
    assert found.memory[slot.offset : slot.offset + 101].tobytes() == bytes([7]) * 100 + b"\0"


async def test_waiting_in_the_order_of_asking():
    found = arena(2 * GRANULE)
    first = found.allocate(2 * GRANULE)
    waiting = [asyncio.create_task(found.acquire(size)) for size in (2 * GRANULE, 10)]
    await asyncio.sleep(0)
    assert found.allocate(10) is None, "others were first"
    first.free()
    slot = await waiting[0]
    assert not waiting[1].done()
    slot.free()
    (await waiting[1]).free()
    with pytest.raises(ValueError, match="do not fit"):
        await found.acquire(3 * GRANULE)


async def test_cancelled_waiters_leave_nothing():
    found = arena(GRANULE)
    first = found.allocate(10)
    waiting = [asyncio.create_task(found.acquire(10)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    first.free()
    waiting[1].cancel()
    (await waiting[2]).free()
    assert found.free_bytes == GRANULE


async def test_slots_without_an_answer_rest():
    found = arena(2 * GRANULE)
    slot = found.allocate(10)
    slot.quarantine()
    slot.free()
    assert found.free_bytes == GRANULE, "the other side may still use it"
    found.free_resting()
    assert found.free_bytes == 2 * GRANULE
