"""One statement from credentials to everything that rights need (views of the schema)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from pbs_cloud.contracts.context import AclEntry
from pbs_cloud.runtime.database import Connection


@dataclass(frozen=True, slots=True)
class Principal:
    """A user, the API token it came with (if any), its tenant, and the ACL entries of both."""

    tenant_id: str
    tenant_active: bool
    quota_bytes: int | None
    maintenance: str | None
    user_uuid: uuid.UUID
    userid: str
    ticket_id: uuid.UUID
    password_hash: str | None
    user_enable: bool
    user_expire: int
    last_login: int | None
    token_uuid: uuid.UUID | None
    token_id: str | None
    secret_hash: bytes | None
    login_id: uuid.UUID | None
    token_enable: bool | None
    token_expire: int | None
    last_used: int | None
    acl: tuple[AclEntry, ...]

    @property
    def auth_id(self) -> str:
        """The auth id that acts: the token's if there is one."""
        return self.token_id or self.userid

    def is_active(self, now: float) -> bool:
        """Whether tenant, user and token are enabled and not expired."""
        user = self.user_enable and not 0 < self.user_expire <= now
        token = self.token_id is None or (bool(self.token_enable) and not 0 < (self.token_expire or 0) <= now)
        return self.tenant_active and user and token


async def by_userid(connection: Connection, userid: str) -> Principal | None:
    """The user itself."""
    return await _one(connection, "SELECT * FROM user_principal WHERE userid = $1", userid)


async def by_token_id(connection: Connection, token_id: str) -> Principal | None:
    """The API token with this full id."""
    return await _one(connection, "SELECT * FROM token_principal WHERE token_id = $1", token_id)


async def by_secret_hash(connection: Connection, secret_hash: bytes) -> Principal | None:
    """The API token with this SHA-256 of its secret."""
    return await _one(connection, "SELECT * FROM token_principal WHERE secret_hash = $1", secret_hash)


async def by_login_id(connection: Connection, login_id: uuid.UUID) -> Principal | None:
    """The API token that tickets name by ``login_id``."""
    return await _one(connection, "SELECT * FROM token_principal WHERE login_id = $1", login_id)


async def _one(connection: Connection, statement: str, value: object) -> Principal | None:
    row = await connection.fetchrow(statement, value)
    if row is None:
        return None
    return Principal(**{**row, "acl": tuple(AclEntry(*entry) for entry in row["acl"])})


async def record_login(connection: Connection, userid: str, now: int) -> None:
    """Remember when the user logged in last."""
    await connection.execute("UPDATE tenant_user SET last_login = $2 WHERE userid = $1", userid, now)


async def record_use(connection: Connection, used: dict[uuid.UUID, int]) -> None:
    """Remember when tokens were used last; rows that somebody else holds are left for the next time."""
    await connection.execute(
        """
        UPDATE api_token k SET last_used = greatest(coalesce(k.last_used, 0), n.at)
        FROM unnest($1::uuid[], $2::bigint[]) AS n(id, at)
        WHERE k.id = n.id AND k.id IN (
            SELECT id FROM api_token WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
        )
        """,
        list(used),
        list(used.values()),
    )
