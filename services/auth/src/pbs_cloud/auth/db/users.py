"""Rows of ``tenant_user``."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pbs_cloud.auth.db.rows import pick, pick_all, pick_one
from pbs_cloud.runtime.database import Connection

_DEFAULTS = {"enable": True, "expire": 0}


@dataclass(frozen=True, slots=True)
class UserRow:
    """A user; times in Unix seconds, ``expire`` 0 = never."""

    id: uuid.UUID
    tenant_id: str
    userid: str
    comment: str | None
    firstname: str | None
    lastname: str | None
    email: str | None
    enable: bool
    expire: int
    created_at: int
    last_login: int | None


async def by_userid(connection: Connection, tenant_id: str, userid: str) -> UserRow | None:
    statement = "SELECT * FROM tenant_user WHERE tenant_id = $1 AND userid = $2"
    return pick_one(UserRow, await connection.fetchrow(statement, tenant_id, userid))


async def all_users(connection: Connection, tenant_id: str) -> list[UserRow]:
    """All users of the tenant, by name."""
    statement = "SELECT * FROM tenant_user WHERE tenant_id = $1 ORDER BY userid"
    return pick_all(UserRow, await connection.fetch(statement, tenant_id))


async def by_id(connection: Connection, user_id: uuid.UUID) -> UserRow | None:
    """The user with this id among those that the transaction sees."""
    return pick_one(UserRow, await connection.fetchrow("SELECT * FROM tenant_user WHERE id = $1", user_id))


async def insert(
    connection: Connection, tenant_id: str, userid: str, created_at: int, values: Mapping[str, Any]
) -> UserRow:
    """``values``: columns as in ``update``.

    Raises asyncpg's ``UniqueViolationError`` when the name is taken, in whatever tenant.
    """
    statement = """
        INSERT INTO tenant_user (tenant_id, userid, created_at,
                                 password_hash, comment, firstname, lastname, email, enable, expire)
        SELECT $1, $2, $3, password_hash, comment, firstname, lastname, email, enable, expire
        FROM jsonb_populate_record(NULL::tenant_user, $4)
        RETURNING *
    """
    return pick(UserRow, await connection.fetchrow(statement, tenant_id, userid, created_at, {**_DEFAULTS, **values}))


async def update(connection: Connection, user_id: uuid.UUID, values: Mapping[str, Any]) -> None:
    """Set the given columns, any of password_hash, ticket_id, comment, firstname, lastname, email, enable, expire."""
    statement = """
        UPDATE tenant_user u
        SET (password_hash, ticket_id, comment, firstname, lastname, email, enable, expire)
          = (SELECT password_hash, ticket_id, comment, firstname, lastname, email, enable, expire
             FROM jsonb_populate_record(u, $2))
        WHERE u.id = $1
    """
    await connection.execute(statement, user_id, dict(values))


async def delete(connection: Connection, user_id: uuid.UUID) -> None:
    """Tokens go with it."""
    await connection.execute("DELETE FROM tenant_user WHERE id = $1", user_id)


async def end_tickets_of_realm(connection: Connection, tenant_id: str, realm: str) -> None:
    """Let no ticket of the realm's users be valid any more."""
    await connection.execute(
        "UPDATE tenant_user SET ticket_id = gen_random_uuid()"
        " WHERE tenant_id = $1 AND right(userid, length($2) + 1) = '@' || $2",
        tenant_id,
        realm,
    )
