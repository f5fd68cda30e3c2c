"""What exists after the first start: tenant, root token, datastores."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from pbs_cloud.contracts.auth import AuthClient
from pbs_cloud.contracts.chunkstore.catalogue import CatalogueClient
from pbs_cloud.contracts.errors import Unavailable
from pbs_cloud.runtime.grpc_channel import open_channel
from pbs_cloud.runtime.settings import Settings
from pbs_cloud.server.certificates import write_private

T = TypeVar("T")


async def ensure_contents(settings: Settings, unshown: Path) -> str | None:
    """Make what is missing of tenant, root user, root token and datastores; waits for the services.

    Args:
        unshown: file that keeps the root token's secret until the caller has shown it and removes the file.

    Returns:
        The root token's secret if nobody has seen it yet.
    """
    secret = await _ensure_root(settings, unshown)
    channel = open_channel(settings.services.catalogue, settings)
    try:
        catalogue = CatalogueClient(channel)
        for name in settings.all_datastores:
            await _until_available(partial(catalogue.ensure_datastore, settings.default_tenant, name))
    finally:
        await channel.close()
    return secret


async def _ensure_root(settings: Settings, unshown: Path) -> str | None:
    channel = open_channel(settings.services.auth, settings)
    try:
        secret = await _until_available(partial(AuthClient(channel).ensure_root, settings.default_tenant))
    finally:
        await channel.close()
    return await asyncio.to_thread(_keep_secret, secret, settings, unshown)


def _keep_secret(created: str | None, settings: Settings, unshown: Path) -> str | None:
    if created is not None:
        write_private(unshown, f"{created}\n".encode())
    elif not unshown.exists():
        return None
    secret = unshown.read_text().strip()
    if settings.root_token_file is not None:
        write_private(settings.root_token_file, f"{secret}\n".encode())
    return secret


async def _until_available(call: Callable[[], Awaitable[T]]) -> T:
    while True:
        try:
            return await call()
        except Unavailable:
            await asyncio.sleep(0.2)
