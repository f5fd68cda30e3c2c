"""Units, times and names as people write them."""

from __future__ import annotations

import time

import pytest

from pbs_cloud.cli import values
from pbs_cloud.cli.errors import UsageError
from pbs_cloud.cli.groups.raw import parse_pairs
from pbs_cloud.cli.layout import column_widths


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("500", 500),
        ("1k", 1024),
        ("1.5G", 3 << 29),
        ("10GiB", 10 << 30),
        ("10GB", 10**10),
        ("2 TiB", 2 << 40),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert values.parse_size(text) == size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (3 << 29, "1.5 GiB"),
        (1 << 70, "1024.0 EiB"),
    ],
)
def test_shown_sizes(size: int, text: str) -> None:
    assert values.format_size(size) == text


@pytest.mark.parametrize("text", ["", "x", "-5", "10XB", "1.2.3", "GiB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError):
        values.parse_size(text)


def test_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Vienna")
    time.tzset()
    try:
        assert values.parse_time("2026-03-02T02:00:04Z", future=False) == 1772416804
        assert values.parse_time("2026-03-02 03:00:04", future=False) == 1772416804
        assert values.parse_time("1772416804", future=False) == 1772416804
        assert values.format_time(1772416804) == "2026-03-02 03:00:04"
        assert values.format_moment("2026-03-02T02:00:04Z") == "2026-03-02 03:00:04"
        assert values.snapshot_time(1772416804) == "2026-03-02T02:00:04Z"
    finally:
        monkeypatch.undo()
        time.tzset()
    now = int(time.time())
    assert abs(values.parse_time("2h", future=False) - (now - 7200)) <= 2
    assert abs(values.parse_time("30d", future=True) - (now + 30 * 86400)) <= 2
    assert abs(values.parse_time("-1d", future=True) - (now - 86400)) <= 2
    with pytest.raises(UsageError, match="yesterday"):
        values.parse_time("yesterday", future=False)


def test_durations() -> None:
    assert [values.format_duration(seconds) for seconds in (None, 0, 59.9, 60, 3725, 90061)] == [
        "", "0 s", "59 s", "00:01:00", "01:02:05", "1 d 01:01:01",
    ]  # fmt: skip


def test_groups_and_snapshots() -> None:
    assert values.parse_group("vm/100") == {"backup-type": "vm", "backup-id": "100"}
    expected = {"backup-type": "host", "backup-id": "web-01", "backup-time": 1772416804}
    assert values.parse_snapshot("host/web-01/2026-03-02T02:00:04Z") == expected
    assert values.parse_snapshot("host/web-01/1772416804") == expected
    for bad in ("vm", "vm/", "xx/100", "vm/100/2026"):
        with pytest.raises(UsageError):
            values.parse_group(bad)
    for bad in ("vm/100", "vm/100/", "vm/100/never", "100/2026-03-02T02:00:04Z"):
        with pytest.raises(UsageError):
            values.parse_snapshot(bad)


def test_fingerprints() -> None:
    raw = bytes(range(32))
    for text in (raw.hex(":"), raw.hex(":").upper(), raw.hex()):
        assert values.parse_fingerprint(text) == raw.hex(":")
    with pytest.raises(UsageError):
        values.parse_fingerprint("00:11")


def test_parameters_of_raw_calls() -> None:
    assert parse_pairs(["a=1", "b:=1", "c:=null", "d=x", "d=y", "e=k=v"]) == {
        "a": "1", "b": 1, "c": None, "d": ["x", "y"], "e": "k=v",
    }  # fmt: skip
    for bad in ("a", "=x", "a:=x"):
        with pytest.raises(UsageError):
            parse_pairs([bad])


def test_columns_shrink_but_nothing_is_cut() -> None:
    head, rows = ["Name", "Size", "Words"], [["n" * 30, "1234567890", "several words of text " * 3]]
    assert column_widths([head, *rows], [False, True, False], 200) == [30, 10, len(rows[0][2])]
    narrow = column_widths([head, *rows], [False, True, False], 80)
    assert narrow[:2] == [30, 10]
    assert sum(narrow) + 4 == 80
    assert column_widths([head, *rows], [False, True, False], 20)[1:] == [10, 10], "numbers stay whole"
