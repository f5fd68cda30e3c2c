"""All endpoints: one module for each area."""

from __future__ import annotations

from pbs_cloud.gateway.rest.endpoint import Area, Endpoint
from pbs_cloud.gateway.rest.endpoints import (
    access,
    archives,
    billing,
    contents,
    datastores,
    downloads,
    gc,
    general,
    job_config,
    moves,
    namespaces,
    nodes,
    notes,
    prune,
    realms,
    remotes,
    second_factors,
    sessions,
    status,
    sync,
    tasks,
    tenants,
    tokens,
    traffic,
    users,
    verify,
    webhooks,
)

AREAS: tuple[Area, ...] = (
    general.AREA,
    access.AREA,
    users.AREA,
    second_factors.AREA,
    realms.AREA,
    tokens.AREA,
    tenants.AREA,
    datastores.AREA,
    contents.AREA,
    notes.AREA,
    prune.AREA,
    verify.AREA,
    namespaces.AREA,
    moves.AREA,
    downloads.AREA,
    archives.AREA,
    sessions.AREA,
    gc.AREA,
    job_config.AREA,
    remotes.AREA,
    sync.AREA,
    traffic.AREA,
    status.AREA,
    nodes.AREA,
    tasks.AREA,
    billing.AREA,
    webhooks.AREA,
)


def all_endpoints() -> list[Endpoint]:
    """Every endpoint of every area."""
    return [endpoint for area in AREAS for endpoint in area.endpoints]
