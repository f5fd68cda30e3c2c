"""Rows as dataclasses, by equal names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar

T = TypeVar("T")


def pick(cls: type[T], row: Any) -> T:
    """The dataclass ``cls`` from the columns of ``row`` that it names."""
    return cls(**{field.name: row[field.name] for field in dataclasses.fields(cls)})  # type: ignore[arg-type]


def pick_one(cls: type[T], row: Any) -> T | None:
    """As ``pick``; None for no row."""
    return None if row is None else pick(cls, row)


def pick_all(cls: type[T], rows: Iterable[Any]) -> list[T]:
    """As ``pick`` for each row."""
    return [pick(cls, row) for row in rows]
