"""The external sort of digests."""

from __future__ import annotations

import os
import random
import tracemalloc

import numpy as np
import pytest

from pbs_cloud.gc.mark_set import MarkSet


async def sorted_digests(marks: MarkSet) -> list[bytes]:
    joined = b"".join([piece async for piece in marks.pieces()])
    marks.close()
    return [joined[start : start + 32] for start in range(0, len(joined), 32)]


@pytest.mark.parametrize(("run_bytes", "merge_bytes"), [(32, 32), (320, 64), (3200, 32 * 7), (1 << 20, 1 << 16)])
async def test_digests_come_sorted_and_once(run_bytes: int, merge_bytes: int) -> None:
    generator = random.Random(run_bytes)
    digests = [generator.randbytes(32) for _ in range(700)]
    digests += [bytes(32), b"\xff" * 32, b"a" * 31 + b"\0", b"a" * 32, digests[0][:31] + b"\0", bytes(31) + b"\1"]
    told = digests + generator.sample(digests, 300)
    generator.shuffle(told)
    marks = MarkSet(run_bytes, merge_bytes, 96)
    while told:
        count = generator.randint(1, 40)
        await marks.add(b"".join(told[:count]))
        told = told[count:]
    assert await sorted_digests(marks) == sorted(set(digests))


async def test_nothing_is_an_empty_set() -> None:
    assert await sorted_digests(MarkSet()) == []


async def test_memory_does_not_grow_with_the_digests() -> None:
    def peak(count: int) -> int:
        return tracemalloc.get_traced_memory()[1] if count else 0

    peaks = []
    for megabytes in (4, 16):
        tracemalloc.start()
        marks = MarkSet(run_bytes=1 << 20, merge_bytes=1 << 18, piece_bytes=1 << 16)
        for _ in range(megabytes * 4):
            await marks.add(os.urandom(1 << 18))
        total, last = 0, np.empty(0, dtype="S32")
        async for piece in marks.pieces():
            part = np.frombuffer(piece, dtype="S32")
            assert not len(last) or (part[:1] > last).all()
            total, last = total + len(part), part[-1:]
        marks.close()
        peaks.append(peak(total))
        tracemalloc.stop()
        assert total == megabytes * (1 << 20) // 32
    assert peaks[1] < peaks[0] * 1.5
    assert peaks[1] < 8 << 20
