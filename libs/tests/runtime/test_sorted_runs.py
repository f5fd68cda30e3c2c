"""The external sort of digests and of records that begin with one."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest

from pbs_cloud.runtime.sorted_runs import SortedRuns, is_increasing, members

RECORD = np.dtype([("digest", "S32"), ("number", "<u8")])


@pytest.mark.parametrize(("run", "merge", "piece"), [(1, 1, 1), (10, 20, 3), (100, 70, 1000), (10_000, 1, 300)])
async def test_records_come_in_order_with_what_belongs_to_them(run: int, merge: int, piece: int) -> None:
    """Also digests that differ in their last byte only, and those that end in zeros."""
    generator = random.Random(run)
    digests = [generator.randbytes(32) for _ in range(300)] + [b"a" * 31 + bytes([n]) for n in range(100)]
    generator.shuffle(digests)
    size = RECORD.itemsize
    runs = SortedRuns(RECORD, run_bytes=run * size, merge_bytes=merge * size, piece_bytes=piece * size)
    records = np.empty(len(digests), dtype=RECORD)
    records["digest"] = np.frombuffer(b"".join(digests), dtype="S32")
    records["number"] = np.arange(len(digests))
    for start in range(0, len(records), 17):
        await runs.add(records[start : start + 17])
    pieces = [found async for found in runs.pieces()]
    runs.close()
    assert max(map(len, pieces)) <= piece
    expected = np.array(sorted(range(len(digests)), key=digests.__getitem__))
    assert np.concatenate(pieces)["number"].tolist() == expected.tolist()


async def test_nothing_has_no_pieces() -> None:
    runs = SortedRuns(RECORD)
    assert [piece async for piece in runs.pieces()] == []
    runs.close()


@pytest.mark.parametrize("alike", [0, 8, 31])
def test_members_and_order(alike: int) -> None:
    """Whether or not the digests begin alike."""
    digests = np.sort(np.frombuffer(b"".join(bytes(alike) + os.urandom(32 - alike) for _ in range(50)), dtype="S32"))
    digests = np.unique(digests)
    inside = np.arange(len(digests)) % 3 == 0
    assert members(digests, digests[inside]).tolist() == inside.tolist()
    assert members(digests[inside], digests).all()
    assert not members(digests, digests[:0]).any()
    assert is_increasing(digests)
    assert not is_increasing(digests[::-1].copy())
    assert not is_increasing(np.repeat(digests, 2))
