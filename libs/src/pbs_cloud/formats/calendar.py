"""Calendar events: when a schedule fires next (formats 10.4, extensions of rest-api D.9).

Extensions over the stock grammar: a time zone behind the event (``+02:00``, ``-0500``, ``local``, a time zone
database name, ``TZ=<name>``), a time behind ``daily`` and the longer keywords, ``last`` as a day of month, and
month names.
"""

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from pbs_cloud.formats.errors import FormatError

MAX_YEAR: Final = 2199
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY = "(?:mon(?:day)?|tue(?:sday)?|wed(?:nesday)?|thu(?:rsday)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?)"
_WEEKDAYS = re.compile(rf"{_DAY}(?:\.\.{_DAY})?(?:,{_DAY}(?:\.\.{_DAY})?)*", re.IGNORECASE)
_ZONE = re.compile(r"(.*\S)\s+(?:TZ=)?([+-][0-9]{2}:?[0-9]{2}|[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*)")
_OFFSET = re.compile(r"[+-][0-9]{2}:?[0-9]{2}")
_VALUE = re.compile(r"([0-9]{1,9})(?:\.\.([0-9]{1,9}))?(?:/([0-9]{1,9}))?")
_STEP = re.compile(r"\*(?:/([0-9]{1,9}))?")
_MONTH_NAME = re.compile(rf"\b(?:{'|'.join(_MONTHS)})\b", re.IGNORECASE)
_KEYWORD_WITH_TIME = re.compile(r"(daily|weekly|monthly|quarterly|semi-?annually|yearly|annually)\s+(\S+)")


@dataclass(frozen=True, slots=True)
class _Field:
    """Range of one field; ``first`` is where ``*`` begins."""

    name: str
    first: int
    maximum: int

    def parse(self, text: str) -> tuple[int, ...]:
        """Sorted values of a list."""
        step = _STEP.fullmatch(text)
        if step is not None:
            return tuple(range(self.first, self.maximum + 1, self._number(step[1] or "1", minimum=1)))
        values: set[int] = set()
        for item in text.split(","):
            match = _VALUE.fullmatch(item)
            if match is None:
                raise FormatError(f"schedule: {self.name}: cannot read '{item}'")
            values.update(self._range(match))
        return tuple(sorted(values))

    def _range(self, match: re.Match[str]) -> range:
        start, step = self._number(match[1]), self._number(match[3] or "0")
        end = self._number(match[2]) if match[2] else (self.maximum if step else start)
        if end < start:
            raise FormatError(f"schedule: {self.name}: {match[0]} ends before it starts")
        return range(start, end + 1, step) if step else range(start, (end if match[3] is None else start) + 1)

    def _number(self, text: str, minimum: int = 0) -> int:
        number = int(text)
        if not minimum <= number <= self.maximum:
            raise FormatError(f"schedule: {self.name}: {number} is not within {minimum} to {self.maximum}")
        return number


_YEAR = _Field("years", 0, MAX_YEAR)
_MONTH = _Field("months", 1, 12)
_MONTHDAY = _Field("days", 1, 31)
_HOUR = _Field("hours", 0, 23)
_MINUTE = _Field("minutes", 0, 59)
_SECOND = _Field("seconds", 0, 59)
_EVERY_HOUR = _HOUR.parse("*")


@dataclass(frozen=True, slots=True)
class CalendarEvent:
    """A parsed schedule; ``zone`` None means the zone given to :meth:`next_after`."""

    weekdays: frozenset[int] = frozenset(range(7))
    years: tuple[int, ...] | None = None
    months: tuple[int, ...] = tuple(range(1, 13))
    days: tuple[int, ...] = tuple(range(1, 32))
    last_day: bool = False
    hours: tuple[int, ...] = (0,)
    minutes: tuple[int, ...] = (0,)
    seconds: tuple[int, ...] = (0,)
    zone: tzinfo | None = None

    @classmethod
    def parse(cls, text: str, strict: bool = False) -> "CalendarEvent":
        """Parse an event.

        ``strict`` refuses two numbers whose first cannot be an hour, like ``24:00``, which PBS reads as minute
        24: use it for what people type.
        """
        if not isinstance(text, str) or not text or len(text) > 512 or text != text.strip():
            raise FormatError("schedule: empty, too long or with blanks around")
        if text.endswith("UTC"):
            return replace(_parse_event(text[:-3].rstrip(), strict), zone=UTC)
        try:
            return _parse_event(text, strict)
        except FormatError:
            zoned = _ZONE.fullmatch(text)
            if zoned is None:
                raise
        zone = None if zoned[2] == "local" else parse_zone(zoned[2])
        return replace(_parse_event(zoned[1], strict), zone=zone)

    def next_after(self, last: int, zone: tzinfo = UTC) -> int | None:
        """First firing strictly after ``last`` (Unix seconds); None if there is none before 2200.

        A local time that a clock change leaves out is skipped, one that happens twice fires the first time.
        """
        zone = self.zone or zone
        try:
            local = datetime.fromtimestamp(last, zone).replace(tzinfo=None)
        except (ValueError, OverflowError, OSError):
            return None
        for moment in self._local_times(local):
            try:
                stamp = int(moment.replace(tzinfo=zone).timestamp())
                exists = datetime.fromtimestamp(stamp, zone).replace(tzinfo=None) == moment
            except (ValueError, OverflowError):
                continue
            if exists and stamp > last:
                return stamp
        return None

    def _local_times(self, after: datetime) -> Iterator[datetime]:
        """Matching local times later than ``after``, in order."""
        start = after + timedelta(seconds=1)
        for day in self._dates(start.date()):
            begin = start.time() if day == start.date() else time.min
            for moment in self._times(begin):
                yield datetime.combine(day, moment)

    def _dates(self, start: date) -> Iterator[date]:
        years = range(start.year, MAX_YEAR + 1) if self.years is None else self.years
        for year in years:
            if year < start.year:
                continue
            for month in self.months:
                if month < 1 or (year, month) < (start.year, start.month):
                    continue
                length = monthrange(year, month)[1]
                wanted = (*self.days, length) if self.last_day else self.days
                for day in wanted:
                    if 1 <= day <= length:
                        found = date(year, month, day)
                        if found >= start and found.weekday() in self.weekdays:
                            yield found

    def _times(self, begin: time) -> Iterator[time]:
        for hour in self.hours:
            if hour < begin.hour:
                continue
            for minute in self.minutes:
                if (hour, minute) < (begin.hour, begin.minute):
                    continue
                for second in self.seconds:
                    if (hour, minute, second) >= (begin.hour, begin.minute, begin.second):
                        yield time(hour, minute, second)


_QUARTERS = (1, 4, 7, 10)
_MINUTELY = CalendarEvent(hours=_EVERY_HOUR, minutes=_MINUTE.parse("*"))
_SEMIANNUALLY = CalendarEvent(months=(1, 7), days=(1,))
_YEARLY = CalendarEvent(months=(1,), days=(1,))
_KEYWORDS = {
    "minutely": _MINUTELY,
    "hourly": CalendarEvent(hours=_EVERY_HOUR),
    "daily": CalendarEvent(),
    "weekly": CalendarEvent(weekdays=frozenset((0,))),
    "monthly": CalendarEvent(days=(1,)),
    "quarterly": CalendarEvent(months=_QUARTERS, days=(1,)),
    "semiannually": _SEMIANNUALLY,
    "semi-annually": _SEMIANNUALLY,
    "yearly": _YEARLY,
    "annually": _YEARLY,
}


def _parse_event(text: str, strict: bool) -> CalendarEvent:
    if text in _KEYWORDS:
        return _KEYWORDS[text]
    keyword = _KEYWORD_WITH_TIME.fullmatch(text)
    if keyword is not None:
        return _with_time(_KEYWORDS[keyword[1]], keyword[2], strict)
    event = CalendarEvent()
    weekdays = _WEEKDAYS.match(text)
    if weekdays is not None:
        event = replace(event, weekdays=_parse_weekdays(weekdays[0].lower()))
        text = text[weekdays.end() :].lstrip()
        if not text:
            return event
    parts = text.split()
    if parts and "-" in parts[0]:
        event = _with_date(event, parts.pop(0))
        if not parts:
            return event
    if len(parts) != 1:
        raise FormatError("schedule: expected [weekdays] [date] [time]")
    return _with_time(event, parts[0], strict)


def _parse_weekdays(text: str) -> frozenset[int]:
    found: set[int] = set()
    for item in text.split(","):
        first, _, last = item.partition("..")
        start, end = _weekday(first), _weekday(last or first)
        found.update((start + step) % 7 for step in range((end - start) % 7 + 1))
    return frozenset(found)


def _weekday(name: str) -> int:
    return next(number for number, day in enumerate(_DAYS) if day.startswith(name))


def _with_date(event: CalendarEvent, text: str) -> CalendarEvent:
    parts = text.split("-")
    if len(parts) not in (2, 3):
        raise FormatError(f"schedule: cannot read date '{text}'")
    years = _YEAR.parse(parts[0]) if len(parts) == 3 and parts[0] != "*" else None
    months = _MONTH.parse(_MONTH_NAME.sub(lambda name: str(_MONTHS.index(name[0].lower()) + 1), parts[-2]))
    numbers = [item for item in parts[-1].split(",") if item != "last"]
    last_day = len(numbers) != parts[-1].count(",") + 1
    days = _MONTHDAY.parse(",".join(numbers)) if numbers else ()
    return replace(event, years=years, months=months, days=days, last_day=last_day)


def _with_time(event: CalendarEvent, text: str, strict: bool) -> CalendarEvent:
    parts = text.split(":")
    if len(parts) > 3:
        raise FormatError(f"schedule: cannot read time '{text}'")
    if len(parts) == 1:
        return replace(event, hours=_EVERY_HOUR, minutes=_MINUTE.parse(text))
    if len(parts) == 3:
        hours, minutes, seconds = _HOUR.parse(parts[0]), _MINUTE.parse(parts[1]), _SECOND.parse(parts[2])
        return replace(event, hours=hours, minutes=minutes, seconds=seconds)
    try:
        return replace(event, hours=_HOUR.parse(parts[0]), minutes=_MINUTE.parse(parts[1]))
    except FormatError:
        if strict:
            raise
    return replace(event, hours=_EVERY_HOUR, minutes=_MINUTE.parse(parts[0]), seconds=_SECOND.parse(parts[1]))


def zone_text(zone: tzinfo) -> str:
    """The text that `parse_zone` reads as this zone."""
    return "UTC" if zone is UTC else str(zone).removeprefix("UTC") or "UTC"


def parse_zone(text: str) -> tzinfo:
    """A time zone as it stands behind an event: `UTC`, `+02:00`, `-0500` or a name of the database."""
    if text == "UTC":
        return UTC
    if _OFFSET.fullmatch(text):
        hours, minutes = int(text[1:3]), int(text[-2:])
        if hours > 23 or minutes > 59:
            raise FormatError("schedule: time zone offset out of range")
        offset = timedelta(hours=hours, minutes=minutes)
        return timezone(-offset if text[0] == "-" else offset)
    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise FormatError(f"schedule: unknown time zone '{text}'") from None
