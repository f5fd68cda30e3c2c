"""How answers look for people: which columns, in which units. Data only, nothing is printed here."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pbs_cloud.cli.values import format_duration, format_moment, format_size, format_time

Show = Callable[[Any], str]


def text(value: Any) -> str:
    """Any value in one cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(text(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name}={text(item)}" for name, item in value.items())
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def size(value: Any) -> str:
    """Bytes."""
    return "" if value is None else format_size(value)


def count(value: Any) -> str:
    """A number with thousands apart."""
    return "" if value is None else f"{value:,}".replace(",", " ")


def moment(value: Any) -> str:
    """Unix seconds as local time."""
    return format_time(value)


def moment_text(value: Any) -> str:
    """RFC 3339 as local time."""
    return format_moment(value)


def duration(value: Any) -> str:
    """Seconds."""
    return format_duration(value)


def share(value: Any) -> str:
    """0…1 as per cent."""
    return "" if value is None else f"{value:.1%}"


def expiry(value: Any) -> str:
    """A moment; 0 and None are never."""
    return format_time(value) if value else "never"


def enabled(value: Any) -> str:
    """A flag that is on where it is absent."""
    return "no" if value is False else "yes"


def first_line(value: Any) -> str:
    """Of notes and comments."""
    return text(value).partition("\n")[0]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table or line of a record; `get` is a key or computes the value from the row."""

    title: str
    get: str | Callable[[Mapping[str, Any]], Any]
    show: Show = text
    right: bool = False

    def cell(self, row: Mapping[str, Any]) -> str:
        """The row's value as text."""
        return self.show(row.get(self.get) if isinstance(self.get, str) else self.get(row))


@dataclass(frozen=True, slots=True)
class Table:
    """A list of objects; columns that are empty throughout are left out."""

    columns: tuple[Column, ...]
    empty: str = "none"
    sort: Callable[[Mapping[str, Any]], Any] | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One object, a line for each field; without columns every field as it is named."""

    columns: tuple[Column, ...] = ()
    empty: str = "none"


@dataclass(frozen=True, slots=True)
class Words:
    """Text or a single value, printed as it is."""


View = Table | Record | Words


def generic(data: Any) -> View:
    """A view for any answer."""
    if isinstance(data, list) and data and all(isinstance(row, dict) for row in data):
        names = dict.fromkeys(name for row in data for name in row)
        return Table(tuple(Column(name, name, plain) for name in names))
    if data == []:
        return Table(())
    return Record() if isinstance(data, dict) else Words()


def plain(value: Any) -> str:
    """Nested values as JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else text(value)
