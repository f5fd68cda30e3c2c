"""Rows of ``api_token``."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pbs_cloud.auth.db.rows import pick, pick_all, pick_one
from pbs_cloud.runtime.database import Connection

_DEFAULTS = {"enable": True, "expire": 0}


@dataclass(frozen=True, slots=True)
class TokenRow:
    """An API token; times in Unix seconds, ``expire`` 0 = never."""

    id: uuid.UUID
    user_id: uuid.UUID
    token_id: str
    name: str
    comment: str | None
    enable: bool
    expire: int
    created_at: int
    last_used: int | None


async def by_token_id(connection: Connection, tenant_id: str, token_id: str) -> TokenRow | None:
    statement = "SELECT * FROM api_token WHERE tenant_id = $1 AND token_id = $2"
    return pick_one(TokenRow, await connection.fetchrow(statement, tenant_id, token_id))


async def by_id(connection: Connection, tenant_id: str, identity: uuid.UUID) -> TokenRow | None:
    statement = "SELECT * FROM api_token WHERE tenant_id = $1 AND id = $2"
    return pick_one(TokenRow, await connection.fetchrow(statement, tenant_id, identity))


async def of_user(connection: Connection, tenant_id: str, user_id: uuid.UUID) -> list[TokenRow]:
    """Tokens of one user, by name."""
    statement = "SELECT * FROM api_token WHERE tenant_id = $1 AND user_id = $2 ORDER BY name"
    return pick_all(TokenRow, await connection.fetch(statement, tenant_id, user_id))


async def all_tokens(connection: Connection, tenant_id: str) -> list[TokenRow]:
    """All tokens of the tenant, by id."""
    statement = "SELECT * FROM api_token WHERE tenant_id = $1 ORDER BY token_id"
    return pick_all(TokenRow, await connection.fetch(statement, tenant_id))


async def insert(
    connection: Connection,
    tenant_id: str,
    user_id: uuid.UUID,
    token_id: str,
    secret_hash: bytes,
    created_at: int,
    values: Mapping[str, Any],
) -> TokenRow:
    """``values``: columns as in ``update``.

    Raises asyncpg's ``UniqueViolationError`` when the user has a token of that name.
    """
    statement = """
        INSERT INTO api_token (tenant_id, user_id, token_id, name, secret_hash, created_at, comment, enable, expire)
        SELECT $1, $2, $3, $4, $5, $6, comment, enable, expire FROM jsonb_populate_record(NULL::api_token, $7)
        RETURNING *
    """
    name, columns = token_id.rpartition("!")[2], {**_DEFAULTS, **values}
    row = await connection.fetchrow(statement, tenant_id, user_id, token_id, name, secret_hash, created_at, columns)
    return pick(TokenRow, row)


async def update(connection: Connection, identity: uuid.UUID, values: Mapping[str, Any]) -> None:
    """Set the given columns, any of comment, enable, expire."""
    statement = """
        UPDATE api_token k
        SET (comment, enable, expire) = (SELECT comment, enable, expire FROM jsonb_populate_record(k, $2))
        WHERE k.id = $1
    """
    await connection.execute(statement, identity, dict(values))


async def replace_secret(connection: Connection, identity: uuid.UUID, secret_hash: bytes) -> None:
    """From now on only this secret is good, and tickets made from the former one are not."""
    await connection.execute(
        "UPDATE api_token SET secret_hash = $2, login_id = gen_random_uuid() WHERE id = $1", identity, secret_hash
    )


async def delete(connection: Connection, identity: uuid.UUID) -> None:
    await connection.execute("DELETE FROM api_token WHERE id = $1", identity)
