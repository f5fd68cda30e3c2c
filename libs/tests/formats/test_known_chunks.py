"""The map of registered chunks against a plain dict (conformance 17)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.index import DynamicIndex, FixedIndex, digest_array, dynamic_header, fixed_header
from pbs_cloud.formats.known_chunks import KnownChunks

digests = (
    st.binary(min_size=1, max_size=2).map(lambda short: short.ljust(32, b"\0"))
    | st.binary(min_size=1, max_size=2).map(lambda short: short.rjust(32, b"\0"))
    | st.binary(min_size=32, max_size=32)
)
chunks = st.lists(st.tuples(digests, st.integers(1, 2**24)), max_size=30)


def index_of(entries) -> DynamicIndex:
    raw, end = dynamic_header(bytes(16), 0, bytes(32)), 0
    for digest, size in entries:
        end += size
        raw += end.to_bytes(8, "little") + digest
    return DynamicIndex(raw)


@given(st.lists(chunks, max_size=3), chunks, st.lists(digests, max_size=20))
def test_behaves_like_a_dict(indexes, uploads, others):
    known, expected = KnownChunks(fold_threshold=4), {}
    for entries in filter(None, indexes):
        known.register_index(index_of(entries))
        expected.update(entries)
    inherited = set(expected)
    for digest, size in uploads:
        known.add(digest, size)
        expected[digest] = size
    wanted = [*expected, *others]
    for digest in wanted:
        assert known.get(digest) == expected.get(digest)
        assert (digest in known) == (digest in expected)
        assert known.inherits(digest) == (digest in inherited)
    sizes = known.sizes_of(digest_array(b"".join(wanted))) if wanted else []
    assert list(sizes) == [expected.get(digest, 0) for digest in wanted]


def test_the_tail_of_a_fixed_index_has_its_short_size():
    raw = fixed_header(bytes(16), 0, bytes(32), 2 * 4096 + 5, 4096) + b"".join(bytes([n]) * 32 for n in (1, 2, 3))
    known = KnownChunks()
    known.register_index(FixedIndex(raw))
    assert [known.get(bytes([n]) * 32) for n in (1, 2, 3, 4)] == [4096, 4096, 5, None]


@pytest.mark.parametrize("ends", [(0,), (5, 5), (2**24 + 1,)])
def test_impossible_sizes_are_refused(ends):
    raw = dynamic_header(bytes(16), 0, bytes(32)) + b"".join(end.to_bytes(8, "little") + bytes(32) for end in ends)
    with pytest.raises(FormatError):
        KnownChunks().register_index(DynamicIndex(raw))


def test_many_chunks_stay_compact():
    count = 300_000
    rng = np.random.default_rng(1)
    body = rng.integers(0, 256, (count, 32), dtype=np.uint8).tobytes()
    known = KnownChunks(fold_threshold=10_000)
    known.register_index(FixedIndex(fixed_header(bytes(16), 0, bytes(32), count * 4096, 4096) + body))
    for position in range(60_000):
        known.add(body[32 * position + 7 : 32 * position + 39], 7)
    stored = sum(run.digests.nbytes + run.sizes.nbytes for run in known._inherited + known._uploaded)
    assert stored <= 36 * (count + 60_000)
    assert len(known._recent) < 10_000
    assert len(known._uploaded) <= 4
    assert known.get(body[:32]) == 4096
    assert known.get(body[7:39]) == 7
