"""Human units in, API values out, and back: sizes, times, durations."""

import re
import time
from datetime import UTC, datetime
from typing import Final

from pbs_cloud.cli.errors import UsageError

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTPE]?)(i?)B?", re.IGNORECASE)
_SPAN = re.compile(r"([+-]?)(\d+)\s*(s|min|h|d|w|y)")
_SECONDS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}


class Null:
    """A parameter that is sent as `null` (None is left out)."""


def parse_size(text: str) -> int:
    """Bytes of `500`, `1.5G`, `10GiB` (powers of 1024) or `10GB` (powers of 1000). Raises UsageError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"'{text}' is no size", hint="sizes are written as 500, 20G, 1.5TiB, 10GB")
    number, unit, binary = match.groups()
    exponent = "_KMGTPE".index(unit.upper()) if unit else 0
    decimal = bool(unit) and not binary and text.strip()[-1:] in "Bb"
    return int(float(number) * (1000 if decimal else 1024) ** exponent)


def format_size(count: float) -> str:
    """`1.5 GiB`."""
    value, unit = float(count), _UNITS[0]
    for name in _UNITS:
        unit = name
        if abs(value) < 1023.95 or name == _UNITS[-1]:
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def parse_time(text: str, *, future: bool) -> int:
    """Unix seconds of a moment. Raises UsageError.

    `2026-03-02`, `2026-03-02 14:00` (local time), the same with `Z` or an offset, Unix seconds, `now`, or a distance
    from now such as `30d`: ahead if `future`, else back; a sign decides otherwise.
    """
    given = text.strip()
    if given == "now":
        return int(time.time())
    if re.fullmatch(r"\d{5,}", given) or given == "0":
        return int(given)
    span = _SPAN.fullmatch(given)
    if span is not None:
        sign = {"+": 1, "-": -1}.get(span[1], 1 if future else -1)
        return int(time.time()) + sign * int(span[2]) * _SECONDS[span[3]]
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise UsageError(
            f"'{text}' is no time", hint="times are written as 2026-03-02, '2026-03-02 14:00', 30d, 2h, or Unix seconds"
        ) from None
    return int(moment.timestamp())


def format_time(seconds: float | None) -> str:
    """Local time, `2026-03-02 14:00:05`; nothing for None and 0."""
    if not seconds:
        return ""
    return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M:%S}"


def format_recent(seconds: float | None) -> str:
    """Local time without the year if it is the present one, `03-02 14:00:05`."""
    text = format_time(seconds)
    return text[5:] if text[:4] == f"{datetime.now():%Y}" else text


def format_moment(text: str | None) -> str:
    """Local time of an RFC 3339 text."""
    if not text:
        return ""
    return format_time(datetime.fromisoformat(text).timestamp())


def format_duration(seconds: float | None) -> str:
    """`3 d 04:05:06`, `04:05:06`, `12 s`."""
    if seconds is None:
        return ""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    days, rest = divmod(whole, 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days} d {clock}" if days else clock


def snapshot_time(seconds: int) -> str:
    """As in a snapshot's path: `2026-03-02T02:00:04Z`, always UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def parse_group(text: str) -> dict[str, str]:
    """`vm/100` as the API's parameters. Raises UsageError."""
    kind, slash, name = text.partition("/")
    if not slash or not name or "/" in name or kind not in ("vm", "ct", "host"):
        raise UsageError(f"'{text}' is no backup group", hint="groups are written as vm/100, ct/101 or host/name")
    return {"backup-type": kind, "backup-id": name}


def parse_snapshot(text: str) -> dict[str, str | int]:
    """`vm/100/2026-03-02T02:00:04Z` as the API's parameters. Raises UsageError."""
    group, slash, moment = text.rpartition("/")
    hint = "snapshots are written as vm/100/2026-03-02T02:00:04Z, as `snapshot list` shows them"
    if not slash or "/" not in group:
        raise UsageError(f"'{text}' is no snapshot", hint=hint)
    try:
        seconds = int(moment) if moment.isdigit() else int(datetime.fromisoformat(moment).timestamp())
    except ValueError:
        raise UsageError(f"'{text}' is no snapshot: '{moment}' is no time", hint=hint) from None
    return {**parse_group(group), "backup-time": seconds}


def parse_fingerprint(text: str) -> str:
    """A certificate's SHA-256 in lower-case pairs with colons, from any usual writing. Raises UsageError."""
    digits = re.sub(r"[\s:]", "", text).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise UsageError("the fingerprint must be 32 pairs of hex digits", hint="`pbs-cloud up` prints it at its start")
    return bytes.fromhex(digits).hex(":")
