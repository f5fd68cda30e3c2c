"""Rows of ``totp_entry``, ``recovery_key`` and ``factor_state``."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from pbs_cloud.auth.db.rows import pick_all, pick_one
from pbs_cloud.runtime.database import Connection


@dataclass(frozen=True, slots=True)
class TotpEntry:
    """A device that shows one-time codes; ``secret`` is sealed, ``last_step`` was accepted last."""

    id: uuid.UUID
    user_id: uuid.UUID
    description: str
    created_at: int
    enable: bool
    secret: bytes
    algorithm: str
    digits: int
    period: int
    last_step: int


@dataclass(frozen=True, slots=True)
class FactorState:
    """What a user has besides devices. ``recovery_created_at``: when the recovery keys were made; None: there are none.

    ``locked_until``: Unix seconds.
    """

    user_id: uuid.UUID
    recovery_created_at: int | None
    recovery_enable: bool
    recovery_description: str
    totp_failures: int
    failures: int
    locked_until: int


async def state_of(connection: Connection, user_id: uuid.UUID) -> FactorState | None:
    """None for a user that never had a second factor."""
    row = await connection.fetchrow("SELECT * FROM factor_state WHERE user_id = $1", user_id)
    return pick_one(FactorState, row)


async def lock_state(connection: Connection, user_id: uuid.UUID) -> FactorState | None:
    """As ``state_of``; nobody else answers for the user until the commit."""
    row = await connection.fetchrow("SELECT * FROM factor_state WHERE user_id = $1 FOR UPDATE", user_id)
    return pick_one(FactorState, row)


async def all_states(connection: Connection, tenant_id: str) -> dict[uuid.UUID, FactorState]:
    """States of a tenant by user."""
    rows = await connection.fetch("SELECT * FROM factor_state WHERE tenant_id = $1", tenant_id)
    return {state.user_id: state for state in pick_all(FactorState, rows)}


async def ensure_state(connection: Connection, tenant_id: str, user_id: uuid.UUID) -> FactorState:
    """The state, made if it was not there, and locked."""
    await connection.execute(
        "INSERT INTO factor_state (tenant_id, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING", tenant_id, user_id
    )
    state = await lock_state(connection, user_id)
    assert state is not None
    return state


async def set_failures(
    connection: Connection, user_id: uuid.UUID, totp_failures: int, failures: int, locked_until: int
) -> None:
    """Store the counters of wrong answers."""
    await connection.execute(
        "UPDATE factor_state SET totp_failures = $2, failures = $3, locked_until = $4 WHERE user_id = $1",
        user_id,
        totp_failures,
        failures,
        locked_until,
    )


async def entries_of(connection: Connection, user_id: uuid.UUID) -> list[TotpEntry]:
    """Devices of a user, oldest first."""
    rows = await connection.fetch("SELECT * FROM totp_entry WHERE user_id = $1 ORDER BY created_at, id", user_id)
    return pick_all(TotpEntry, rows)


async def all_entries(connection: Connection, tenant_id: str) -> list[TotpEntry]:
    """Devices of all users of a tenant."""
    rows = await connection.fetch("SELECT * FROM totp_entry WHERE tenant_id = $1 ORDER BY created_at, id", tenant_id)
    return pick_all(TotpEntry, rows)


async def insert_entry(connection: Connection, tenant_id: str, entry: TotpEntry) -> None:
    await connection.execute(
        "INSERT INTO totp_entry (id, tenant_id, user_id, description, created_at, secret, algorithm, digits, period,"
        " last_step, enable) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        entry.id,
        tenant_id,
        entry.user_id,
        entry.description,
        entry.created_at,
        entry.secret,
        entry.algorithm,
        entry.digits,
        entry.period,
        entry.last_step,
        entry.enable,
    )


async def update_entry(
    connection: Connection, user_id: uuid.UUID, entry_id: uuid.UUID, description: str | None, enable: bool | None
) -> bool:
    """Change what is given; whether the user has the entry."""
    statement = """
        UPDATE totp_entry SET description = coalesce($3, description), enable = coalesce($4, enable)
        WHERE user_id = $1 AND id = $2 RETURNING true
    """
    return bool(await connection.fetchval(statement, user_id, entry_id, description, enable))


async def delete_entry(connection: Connection, user_id: uuid.UUID, entry_id: uuid.UUID) -> bool:
    """Whether the user had the entry."""
    statement = "DELETE FROM totp_entry WHERE user_id = $1 AND id = $2 RETURNING true"
    return bool(await connection.fetchval(statement, user_id, entry_id))


async def accept_step(connection: Connection, entry_id: uuid.UUID, step: int) -> None:
    """Codes up to this one are used up."""
    await connection.execute("UPDATE totp_entry SET last_step = $2 WHERE id = $1", entry_id, step)


async def unused_recovery(connection: Connection, user_id: uuid.UUID) -> list[int]:
    """Numbers of the recovery keys that were not used yet."""
    rows = await connection.fetch("SELECT number FROM recovery_key WHERE user_id = $1 ORDER BY number", user_id)
    return [row["number"] for row in rows]


async def use_recovery(connection: Connection, user_id: uuid.UUID, key_hash: bytes) -> bool:
    """Use the recovery key up; False if it is none."""
    statement = "DELETE FROM recovery_key WHERE user_id = $1 AND key_hash = $2 RETURNING true"
    return bool(await connection.fetchval(statement, user_id, key_hash))


async def replace_recovery(
    connection: Connection,
    tenant_id: str,
    user_id: uuid.UUID,
    key_hashes: Iterable[bytes],
    created_at: int | None,
    description: str = "",
) -> None:
    """From now on only these are recovery keys; ``created_at`` None: there are none."""
    await connection.execute("DELETE FROM recovery_key WHERE user_id = $1", user_id)
    await connection.executemany(
        "INSERT INTO recovery_key (tenant_id, user_id, number, key_hash) VALUES ($1, $2, $3, $4)",
        [(tenant_id, user_id, number, key_hash) for number, key_hash in enumerate(key_hashes)],
    )
    await connection.execute(
        "UPDATE factor_state SET recovery_created_at = $2, recovery_enable = true, recovery_description = $3"
        " WHERE user_id = $1",
        user_id,
        created_at,
        description,
    )


async def update_recovery(
    connection: Connection, user_id: uuid.UUID, description: str | None, enable: bool | None
) -> None:
    """Change what is given."""
    await connection.execute(
        "UPDATE factor_state SET recovery_description = coalesce($2, recovery_description),"
        " recovery_enable = coalesce($3, recovery_enable) WHERE user_id = $1",
        user_id,
        description,
        enable,
    )
