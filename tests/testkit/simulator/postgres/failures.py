"""Errors of the model: its own, and those of asyncpg with the attributes that callers look at."""

from __future__ import annotations

from typing import TypeVar

import asyncpg

E = TypeVar("E", bound=asyncpg.PostgresError)


class UnsupportedSql(Exception):
    """The model does not know this statement or this part of it. It never guesses."""


def postgres_error(kind: type[E], message: str, **attributes: str) -> E:
    """An error as asyncpg raises it; `attributes` such as `constraint_name` and `table_name`."""
    error: E = kind(message)
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


def not_serializable(what: str) -> asyncpg.SerializationError:
    """A repeatable read transaction met a row that somebody changed after its snapshot."""
    return postgres_error(asyncpg.SerializationError, f"could not serialize access due to concurrent {what}")
