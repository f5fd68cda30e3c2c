"""Rows of ``login_failure``: counters that leak, shared by all replicas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pbs_cloud.runtime.database import Connection

# How many forgotten rows a failure removes: more than it makes, so that the table cannot grow for ever.
_CLEAN_UP = 20


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter as it was at ``at`` (Unix seconds); ``trusted_at``: when a login last succeeded, 0 = never."""

    scope: str
    key: bytes
    level: float = 0.0
    at: float = 0.0
    trusted_at: float = 0.0


async def read(connection: Connection, keys: Sequence[tuple[str, bytes]]) -> list[Counter]:
    """The counters that there are among these."""
    statement = """
        SELECT scope, key, level, at, trusted_at FROM login_failure
        WHERE (scope, key) IN (SELECT * FROM unnest($1::text[], $2::bytea[]))
    """
    rows = await connection.fetch(statement, [scope for scope, _ in keys], [key for _, key in keys])
    return [Counter(*row) for row in rows]


async def add_failure(
    connection: Connection, key: tuple[str, bytes], now: float, leak: float, most: float, forget_at: float
) -> None:
    """One failure more: what leaked away since (``leak`` a second) is gone, and ``most`` is the highest level."""
    statement = """
        INSERT INTO login_failure AS f (scope, key, level, at, forget_at) VALUES ($1, $2, 1, $3, $6)
        ON CONFLICT (scope, key) DO UPDATE SET
            level = least(greatest(f.level - greatest($3 - f.at, 0) * $4, 0) + 1, $5),
            at = greatest(f.at, $3), forget_at = greatest(f.forget_at, $6)
    """
    await connection.execute(statement, *key, now, leak, most, forget_at)


async def trust(connection: Connection, key: tuple[str, bytes], now: float, forget_at: float) -> None:
    """The login that the key stands for succeeded: its counter starts again."""
    statement = """
        INSERT INTO login_failure AS f (scope, key, level, at, trusted_at, forget_at) VALUES ($1, $2, 0, $3, $3, $4)
        ON CONFLICT (scope, key) DO UPDATE SET level = 0, at = $3, trusted_at = $3, forget_at = $4
    """
    await connection.execute(statement, *key, now, forget_at)


async def remove(connection: Connection, key: tuple[str, bytes]) -> None:
    """Forget a counter."""
    await connection.execute("DELETE FROM login_failure WHERE scope = $1 AND key = $2", *key)


async def clean_up(connection: Connection, now: float) -> None:
    """Remove some counters that nobody needs any more; those that somebody else holds are left."""
    statement = """
        DELETE FROM login_failure WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM login_failure WHERE forget_at < $1 ORDER BY forget_at LIMIT $2 FOR UPDATE SKIP LOCKED))
    """
    await connection.execute(statement, now, _CLEAN_UP)
