"""Rows of ``openid_realm`` and ``openid_login``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pbs_cloud.auth.db.rows import pick_all, pick_one
from pbs_cloud.runtime.database import Connection

# Logins of one realm that may be at the provider at the same time; the oldest are forgotten first.
_MOST_LOGINS = 10_000


@dataclass(frozen=True, slots=True)
class RealmRow:
    """An OpenID realm; ``client_key`` is sealed."""

    realm: str
    tenant_id: str
    issuer_url: str
    client_id: str
    client_key: bytes | None
    comment: str | None
    scopes: str | None
    prompt: str | None
    acr_values: str | None
    username_claim: str | None
    autocreate: bool
    created_at: int


@dataclass(frozen=True, slots=True)
class LoginRow:
    """A login that is at the provider; ``state`` is a hash, ``code_verifier`` sealed, ``expires_at`` Unix seconds."""

    state: bytes
    tenant_id: str
    realm: str
    redirect_url: str
    nonce: str
    code_verifier: bytes
    expires_at: int


async def by_name(connection: Connection, realm: str) -> RealmRow | None:
    """The realm among those that the transaction sees."""
    return pick_one(RealmRow, await connection.fetchrow("SELECT * FROM openid_realm WHERE realm = $1", realm))


async def of_tenant(connection: Connection, tenant_id: str) -> list[RealmRow]:
    """All OpenID realms of a tenant, by name."""
    rows = await connection.fetch("SELECT * FROM openid_realm WHERE tenant_id = $1 ORDER BY realm", tenant_id)
    return pick_all(RealmRow, rows)


async def is_taken(connection: Connection, realm: str, tenant_id: str) -> bool:
    """Whether a realm, a tenant's slug, or users of another tenant have the name; upper and lower case are alike."""
    statement = """
        SELECT EXISTS (SELECT FROM openid_realm WHERE lower(realm) = lower($1))
            OR EXISTS (SELECT FROM tenant WHERE lower(slug) = lower($1))
            OR EXISTS (SELECT FROM tenant_user WHERE tenant_id <> $2
                       AND lower(right(userid, length($1) + 1)) = '@' || lower($1))
    """
    return bool(await connection.fetchval(statement, realm, tenant_id))


async def insert(connection: Connection, row: RealmRow) -> None:
    """Raises asyncpg's ``UniqueViolationError`` when the name is taken."""
    statement = """
        INSERT INTO openid_realm (realm, tenant_id, issuer_url, client_id, client_key, comment, scopes, prompt,
                                  acr_values, username_claim, autocreate, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    """
    await connection.execute(statement, *dataclasses.astuple(row))


async def update(connection: Connection, realm: str, values: Mapping[str, Any], client_key: bytes | None) -> None:
    """Set the given columns, any but realm, tenant, time of creation and client key; that one is set as given."""
    statement = """
        UPDATE openid_realm r
        SET (issuer_url, client_id, comment, scopes, prompt, acr_values, autocreate)
          = (SELECT issuer_url, client_id, comment, scopes, prompt, acr_values, autocreate
             FROM jsonb_populate_record(r, $2)), client_key = $3
        WHERE r.realm = $1
    """
    await connection.execute(statement, realm, dict(values), client_key)


async def delete(connection: Connection, realm: str) -> bool:
    """Whether there was such a realm."""
    statement = "DELETE FROM openid_realm WHERE realm = $1 RETURNING true"
    return bool(await connection.fetchval(statement, realm))


async def begin_login(connection: Connection, row: LoginRow, now: int) -> None:
    """Remember a login; those of the realm that expired, or are too many, are forgotten."""
    await connection.execute(
        "INSERT INTO openid_login (state, tenant_id, realm, redirect_url, nonce, code_verifier, expires_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)",
        *dataclasses.astuple(row),
    )
    await connection.execute(
        "DELETE FROM openid_login WHERE realm = $1 AND expires_at < greatest($2, coalesce((SELECT expires_at"
        " FROM openid_login WHERE realm = $1 ORDER BY expires_at DESC OFFSET $3 LIMIT 1), 0))",
        row.realm,
        now,
        _MOST_LOGINS,
    )


async def take_login(connection: Connection, state: bytes) -> LoginRow | None:
    """The login with this state, which nobody gets a second time."""
    return pick_one(LoginRow, await connection.fetchrow("DELETE FROM openid_login WHERE state = $1 RETURNING *", state))
