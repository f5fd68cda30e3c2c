"""Configuration fields of datastores and the tenant's configuration digest (rest-api C.12, E.10)."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence

from pbs_cloud.chunkstore.catalogue.maintenance import Maintenance
from pbs_cloud.chunkstore.catalogue.names import refuse_nul
from pbs_cloud.chunkstore.catalogue.rows import list_stores
from pbs_cloud.contracts.errors import Conflict, InvalidArgument
from pbs_cloud.runtime.database import Connection

MODIFIED = "detected modified configuration - file changed by other user? Try again."
_KEEP = tuple(f"keep-{unit}" for unit in ("last", "hourly", "daily", "weekly", "monthly", "yearly"))
_CHANGEABLE = frozenset(
    {
        "comment",
        "gc-schedule",
        "gc-on-unmount",
        "verify-new",
        "notify-user",
        "notify",
        "notification-mode",
        "notification-thresholds",
        "tuning",
        "maintenance-mode",
        "counter-reset-schedule",
    }
)
_AT_CREATION = _CHANGEABLE | {"path", "backend", "backing-device", "prune-schedule", *_KEEP}
_DELETABLE = _CHANGEABLE | {"prune-schedule", *_KEEP}
MAX_VALUE = 4096


def new_config(name: str, fields: Mapping[str, str]) -> dict[str, str]:
    """Checked fields of a new datastore; ``path`` is a label. Raises InvalidArgument."""
    config = {"path": f"/pbs-cloud/{name}", **fields}
    _check(config, _AT_CREATION)
    return config


def changed_config(config: Mapping[str, str], changes: Mapping[str, str], delete: Sequence[str]) -> dict[str, str]:
    """The configuration after an update; what is set wins over what is deleted. Raises InvalidArgument."""
    _check(changes, _CHANGEABLE)
    for name in delete:
        if name not in _DELETABLE:
            raise InvalidArgument(f"delete: '{name}' cannot be deleted", field="delete")
    return {k: v for k, v in config.items() if k not in delete} | dict(changes)


def _check(fields: Mapping[str, str], allowed: frozenset[str]) -> None:
    for name, value in fields.items():
        if name not in allowed:
            raise InvalidArgument(f"{name}: this field cannot be set here", field=name)
        refuse_nul(value, name)
        if len(value) > MAX_VALUE:
            raise InvalidArgument(f"{name}: longer than {MAX_VALUE} characters", field=name)
    if "maintenance-mode" in fields:
        Maintenance.parse(fields["maintenance-mode"])


async def lock_configuration(connection: Connection, tenant_id: str) -> bytes:
    """Take the lock under which a tenant's datastores change; answers the salt of its digest."""
    await connection.execute(
        "INSERT INTO tenant_salt (tenant_id, salt) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        tenant_id,
        secrets.token_bytes(16),
    )
    salt: bytes = await connection.fetchval("SELECT salt FROM tenant_salt WHERE tenant_id = $1 FOR UPDATE", tenant_id)
    return salt


async def configuration_digest(connection: Connection, tenant_id: str) -> str:
    """SHA-256 of the configuration of all datastores of a tenant, salted so that equal ones differ between tenants."""
    salt = await connection.fetchval("SELECT salt FROM tenant_salt WHERE tenant_id = $1", tenant_id)
    if salt is None:
        salt = await lock_configuration(connection, tenant_id)
    stores = await list_stores(connection, tenant_id)
    text = json.dumps([[store.name, store.config] for store in stores], sort_keys=True)
    return hashlib.sha256(salt + tenant_id.encode() + text.encode()).hexdigest()


async def require_digest(connection: Connection, tenant_id: str, expected: str | None) -> None:
    """Raises Conflict if the configuration is not the one that ``expected`` was made of."""
    if expected is not None and expected != await configuration_digest(connection, tenant_id):
        raise Conflict(MODIFIED, field="digest")
