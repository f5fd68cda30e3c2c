"""Calendar events against the vectors (conformance 55) and the extensions of rest-api D.9."""

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbs_cloud.formats.calendar import CalendarEvent, parse_zone, zone_text
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.names import format_time, parse_time

QUIRK = "*/24:0"
"""Listed among the records, but with the overflow quirk of the reference; the plain meaning fires at minute 0."""
VIENNA = ZoneInfo("Europe/Vienna")


def test_records(vectors):
    records = vectors("calendar")["records"]
    assert len(records) == 1139
    for record in records:
        if record["next"] == "invalid":
            with pytest.raises(FormatError, match="schedule"):
                CalendarEvent.parse(record["expr"])
        elif record["expr"] != QUIRK:
            found = CalendarEvent.parse(record["expr"]).next_after(record["last"], ZoneInfo(record["tz"]))
            assert found == record["next"], record


def test_open_steps_have_their_plain_meaning(vectors):
    for record in vectors("calendar")["overflow_quirk"]:
        found = CalendarEvent.parse(record["expr"]).next_after(record["last"], ZoneInfo(record["tz"]))
        assert found == record["plain"], record


def test_clock_changes(vectors):
    for case in vectors("calendar")["dst_vienna"]:
        last, found = case["last"], []
        for _ in case["events"]:
            last = CalendarEvent.parse(case["expr"]).next_after(last, VIENNA)
            found.append(last)
        assert found == case["events"], case


@pytest.mark.parametrize("text", ["24:00", "30:15", "*/24:0", "*/0:0"])
def test_strict_parsing_refuses_what_people_do_not_mean(text):
    with pytest.raises(FormatError, match=r"hours|minutes"):
        CalendarEvent.parse(text, strict=True)


NOW = parse_time("2025-12-17T19:33:20Z")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("daily 02:00", "2025-12-18T02:00:00Z"),
        ("weekly 3:00 UTC", "2025-12-22T03:00:00Z"),
        ("*-*-last 03:00", "2025-12-31T03:00:00Z"),
        ("*-feb-1,last", "2026-02-01T00:00:00Z"),
        ("feb-last", "2026-02-28T00:00:00Z"),
        ("jan-15 02:00", "2026-01-15T02:00:00Z"),
        ("jan..mar-1", "2026-01-01T00:00:00Z"),
        ("2026-01-15 02:00", "2026-01-15T02:00:00Z"),
        ("mon..fri 8..17:0/15", "2025-12-18T08:00:00Z"),
        ("daily +02:00", "2025-12-17T22:00:00Z"),
        ("hourly -0530", "2025-12-17T20:30:00Z"),
        ("02:30 Europe/Vienna", "2025-12-18T01:30:00Z"),
        ("02:30 TZ=Europe/Vienna", "2025-12-18T01:30:00Z"),
        ("mon local", "2025-12-22T00:00:00Z"),
    ],
)
def test_extensions(text, expected):
    assert format_time(CalendarEvent.parse(text, strict=True).next_after(NOW)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "daily 25:00",
        "daily 02:00 03:00",
        "daily Mars/Base",
        "daily TZ=../etc",
        "daily +25:00",
        "last-1",
        "jan",
        "minutely 2",
        "x" * 600,
        None,
        "mon local local",
        "1jan-1",
        "*-*-*-*",
        "²:00",
    ],
)
def test_bad_extensions(text):
    with pytest.raises(FormatError, match="schedule"):
        CalendarEvent.parse(text, strict=True)


def test_the_end_of_time():
    assert CalendarEvent.parse("2199-12-31 23:59:59").next_after(NOW) == 7258118399
    assert CalendarEvent.parse("daily").next_after(7258118399) is None
    assert CalendarEvent.parse("daily").next_after(2**62) is None


@given(
    st.integers(0, 4_000_000_000), st.sampled_from(["*:0/7", "mon..wed 3:15", "*-*-1..3", "hourly", "sat 22..23:*:30"])
)
def test_events_lie_in_the_future_and_are_stable(last, text):
    event = CalendarEvent.parse(text)
    found = event.next_after(last, VIENNA)
    assert found > last
    assert event.next_after(found - 1, VIENNA) == found


@pytest.mark.parametrize("zone", ["UTC", "+02:00", "-0530", "Europe/Vienna"])
def test_a_zone_survives_as_text(zone: str) -> None:
    event = CalendarEvent.parse(f"daily 02:00 {zone}")
    assert event.zone is not None
    again = parse_zone(zone_text(event.zone))
    assert CalendarEvent.parse("daily 02:00").next_after(1_700_000_000, again) == event.next_after(1_700_000_000)
    with pytest.raises(FormatError):
        parse_zone("Nowhere/Land")
