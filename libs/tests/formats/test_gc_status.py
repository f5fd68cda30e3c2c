"""Collection arithmetic against the vectors (conformance 47, 48 as far as pure)."""

import pytest

from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.gc_status import Cutoff, GcStatus, SweepClass, cutoff, sweep_class
from pbs_cloud.formats.layout import parse_chunk_name


def test_cutoff_rows(vectors):
    for row in vectors("gc-cutoff")["rows"]:
        limits = cutoff(row["phase1_start"], row["oldest_writer"], row["cutoff_minutes"])
        assert limits == Cutoff(row["min_atime"], row["effective_oldest_writer"])
        for sample in row["samples"]:
            assert sweep_class(sample["atime"], limits) == sample["class_"]


def test_a_sweep_of_a_real_server(vectors):
    run, with_writer = vectors("gc-cutoff")["real_runs"]
    start, status, digest = 1_700_000_000, GcStatus(), "ab" * 32
    for sample in run["samples"]:
        name = sample["name"].replace("<DIGEST IN UPPER CASE>", digest.upper()).replace("<digest>", digest)
        parsed = parse_chunk_name(name.split(" ")[0])
        if parsed is None:
            assert sample["result"] == "ignored"
        elif parsed.using:
            assert sample["result"] == "deleted"
        else:
            bad = parsed.bad_number is not None
            found = sweep_class(start - sample["age"], cutoff(start, None))
            status.count(found, 10, bad)
            shown = {"removed": "removed-bad", "pending": "still-bad"}.get(found, found) if bad else found
            assert shown == sample["result"]
    counters = {name: count for name, count in run["counters"].items() if not name.endswith("bytes")}
    assert {name: status.to_dict()[name] for name in counters} == counters
    assert (status.removed_bytes, status.pending_bytes, status.disk_bytes) == (40, 40, 10)
    for sample in with_writer["samples"]:
        assert sweep_class(start - sample["age"], cutoff(start, start - 4)) == sample["result"]


def test_bad_chunks_count_in_bytes_only():
    status = GcStatus()
    status.count(SweepClass.DISK, 7, bad=True)
    assert (status.disk_bytes, status.disk_chunks) == (7, 0)


def test_status_json():
    fresh = GcStatus()
    assert fresh.to_dict()["upid"] is None
    assert "cache-stats" not in fresh.to_dict()
    assert fresh.deduplication_factor == 1.0
    full = GcStatus("UPID:x", 12, 300, 100, 5, 1, 2, 3, 4, 5, 6, 7, 8)
    assert GcStatus.parse(full.to_dict()) == full
    assert full.deduplication_factor == 3.0
    assert GcStatus.parse({}) == fresh
    assert full.to_dict()["cache-stats"] == {"hits": 7, "misses": 8}


@pytest.mark.parametrize("bad", [[], {"upid": 5}, {"disk-bytes": "1"}, {"disk-chunks": -1}, {"still-bad": True}])
def test_bad_status(bad):
    with pytest.raises(FormatError, match="gc status"):
        GcStatus.parse(bad)


@pytest.mark.parametrize("minutes", [0, 2881])
def test_cutoff_limits(minutes):
    with pytest.raises(FormatError, match="gc-atime-cutoff"):
        cutoff(1, None, minutes)
