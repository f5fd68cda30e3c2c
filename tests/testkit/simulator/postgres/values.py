"""Types of the model: how values come in (as strictly as asyncpg takes them), go out, and look in a binary COPY.

Names: `int2` `int4` `int8` `float8` `numeric` `text` `bytea` `uuid` `bool` `timestamptz` `interval` `jsonb`, and arrays
as `text[]`. SQL null is None. A `jsonb` value is a `Jsonb` inside of the model and a fresh Python value outside.
"""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import asyncpg
from testkit.simulator.postgres.failures import UnsupportedSql

Convert = Callable[[Any], Any]
_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_COPY_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
WHOLE = frozenset(("int2", "int4", "int8"))
_scan = json.JSONDecoder().scan_once
_RANGES = {"int2": 1 << 15, "int4": 1 << 31, "int8": 1 << 63}


class Jsonb:
    """A JSON value that nobody can change; equal when the value is."""

    __slots__ = ("text",)

    def __init__(self, value: Any) -> None:
        self.text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)

    def load(self) -> Any:
        """A fresh Python value."""
        return _scan(self.text, 0)[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Jsonb) and (self.text == other.text or self.load() == other.load())

    def __hash__(self) -> int:
        raise UnsupportedSql("a jsonb value as a key")

    def __repr__(self) -> str:
        return f"Jsonb({self.text})"


def _refuse(value: Any, kind: str) -> asyncpg.DataError:
    return asyncpg.DataError(f"invalid input for query argument: {value!r:.80} (expected {kind})")


def _whole(kind: str) -> Convert:
    limit = _RANGES[kind]

    def convert(value: Any) -> int:
        if type(value) is not int:
            if not isinstance(value, int):
                raise _refuse(value, kind)
            value = int(value)
        if not -limit <= value < limit:
            raise _refuse(value, f"{kind}, it is out of range")
        return value  # type: ignore[no-any-return]

    return convert


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    if not isinstance(value, str):
        raise _refuse(value, "text")
    return str.__str__(value)


def _bytea(value: Any) -> bytes:
    if type(value) is bytes:
        return value
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise _refuse(value, "bytea")
    return bytes(value)


def _uuid(value: Any) -> uuid.UUID:
    if type(value) is uuid.UUID:
        return value
    if isinstance(value, uuid.UUID):
        return uuid.UUID(int=value.int)
    if isinstance(value, str):
        try:
            return uuid.UUID(value)
        except ValueError:
            pass
    raise _refuse(value, "uuid")


def _bool(value: Any) -> bool:
    if value is not True and value is not False:
        raise _refuse(value, "bool")
    return bool(value)


def _timestamp(value: Any) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise _refuse(value, "timestamptz")
    return value


def _interval(value: Any) -> timedelta:
    if not isinstance(value, timedelta):
        raise _refuse(value, "interval")
    return value


def _float(value: Any) -> float:
    if not isinstance(value, (int, float)):
        raise _refuse(value, "float8")
    return float(value)


def _numeric(value: Any) -> Decimal:
    if not isinstance(value, (int, Decimal)):
        raise _refuse(value, "numeric")
    return Decimal(value)


def _jsonb(value: Any) -> Jsonb:
    return value if type(value) is Jsonb else Jsonb(value)


_CONVERT: dict[str, Convert] = {
    "int2": _whole("int2"),
    "int4": _whole("int4"),
    "int8": _whole("int8"),
    "float8": _float,
    "numeric": _numeric,
    "text": _text,
    "bytea": _bytea,
    "uuid": _uuid,
    "bool": _bool,
    "timestamptz": _timestamp,
    "interval": _interval,
    "jsonb": _jsonb,
}


def _array(convert: Convert) -> Convert:
    def take(value: Any) -> list[Any]:
        if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
            raise _refuse(value, "an array")
        return [None if item is None else convert(item) for item in value]

    return take


_AS_IS: dict[str, type] = {"text": str, "bytea": bytes, "uuid": uuid.UUID, "bool": bool}


def taking(kind: str) -> Convert:
    """Conversion of a value that is not null and comes from outside. Raises asyncpg.DataError."""
    return _array(_CONVERT[kind[:-2]]) if kind.endswith("[]") else _CONVERT[kind]


def taken_as_is(kind: str) -> type | None:
    """The type whose values `taking` gives back as they are, if there is one."""
    return _AS_IS.get(kind)


def epoch_seconds(value: datetime | timedelta) -> Decimal:
    """`extract(epoch FROM …)`."""
    passed = value - _UNIX if isinstance(value, datetime) else value
    return Decimal(passed // _MICROSECOND) / 1_000_000


def _to_whole(kind: str) -> Convert:
    check = _whole(kind)

    def cast(value: Any) -> int:
        if type(value) is int:
            return int(check(value))
        return int(check(int(Decimal(value).quantize(Decimal(1), rounding=ROUND_HALF_UP))))

    return cast


def _to_text(value: Any) -> str:
    if isinstance(value, (str, int, uuid.UUID)) and not isinstance(value, bool):
        return str(value)
    raise UnsupportedSql(f"{type(value).__name__}::text")


def _parsed_uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise asyncpg.InvalidTextRepresentationError(f'invalid input syntax for type uuid: "{text}"') from error


def casting(source: str | None, target: str) -> Convert:
    """Conversion of a value inside of the model, `source::target`. Raises UnsupportedSql."""
    if source == target:
        return lambda value: value
    if target in WHOLE and source in (*WHOLE, "numeric", "float8"):
        return _to_whole(target)
    if target == "text" and source in (*WHOLE, "uuid"):
        return _to_text
    if target == "uuid" and source == "text":
        return _parsed_uuid
    if target == "float8" and source in (*WHOLE, "numeric"):
        return float
    if target == "numeric" and source in WHOLE:
        return Decimal
    raise UnsupportedSql(f"cast from {source} to {target}")


def literal(text: str, kind: str) -> Any:
    """What a quoted literal means as a value of a type. Raises UnsupportedSql."""
    if kind == "text":
        return text
    if kind == "jsonb":
        return Jsonb(json.loads(text))
    if kind.endswith("[]") and text == "{}":
        return []
    if kind == "uuid":
        return uuid.UUID(text)
    raise UnsupportedSql(f"literal {text!r} as {kind}")


_PACK: dict[str, Callable[[Any], bytes]] = {
    "int2": struct.Struct(">h").pack,
    "int4": struct.Struct(">i").pack,
    "int8": struct.Struct(">q").pack,
    "float8": struct.Struct(">d").pack,
    "bool": struct.Struct(">?").pack,
    "bytea": bytes,
    "text": str.encode,
    "uuid": lambda value: bytes(value.bytes),
    "timestamptz": lambda value: struct.pack(">q", (value - _COPY_EPOCH) // _MICROSECOND),
}


def binary_copy(rows: Sequence[tuple[Any, ...]], kinds: Sequence[str | None]) -> bytes:
    """Rows in the binary format of COPY. Raises UnsupportedSql for a type without one."""
    unknown = [kind for kind in kinds if kind not in _PACK]
    if unknown:
        raise UnsupportedSql(f"binary COPY of {unknown}")
    packers = [_PACK[kind or ""] for kind in kinds]
    parts = [b"PGCOPY\n\xff\r\n\x00" + bytes(8)]
    head = struct.pack(">h", len(kinds))
    for row in rows:
        parts.append(head)
        for value, pack in zip(row, packers, strict=True):
            if value is None:
                parts.append(b"\xff\xff\xff\xff")
                continue
            data = pack(value)
            parts.append(len(data).to_bytes(4, "big"))
            parts.append(data)
    parts.append(b"\xff\xff")
    return b"".join(parts)
