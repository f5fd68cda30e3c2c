"""A front process: one of several on the public port."""

from __future__ import annotations

import asyncio
import os
import resource
import ssl
import time
from pathlib import Path
from typing import Final

from pbs_cloud.contracts.auth import AuthClient
from pbs_cloud.contracts.chunkstore import CatalogueClient, ChunksClient
from pbs_cloud.gateway.arena import Arena
from pbs_cloud.gateway.authentication import Authenticator
from pbs_cloud.gateway.front.backend import BackendPool
from pbs_cloud.gateway.front.client import Service
from pbs_cloud.gateway.front.listener import Listener
from pbs_cloud.gateway.front.proxy import Proxy
from pbs_cloud.gateway.front.proxy_header import parse_networks
from pbs_cloud.gateway.front.tls import server_context
from pbs_cloud.gateway.front.upgrade import Upgrades
from pbs_cloud.gateway.http2.inflow import CreditPool
from pbs_cloud.gateway.limits import RequestLimits
from pbs_cloud.gateway.revocation import RevocationListener
from pbs_cloud.gateway.sessions.calls import Surroundings
from pbs_cloud.gateway.sessions.region import RegionKeeper
from pbs_cloud.gateway.sessions.registry import SessionRegistry
from pbs_cloud.gateway.sessions.stopping import StopListener
from pbs_cloud.gateway.sessions.transfer import ChunkTransfer
from pbs_cloud.gateway.shared_limits import SharedLimits
from pbs_cloud.runtime.bus import Bus
from pbs_cloud.runtime.errors import ConfigError
from pbs_cloud.runtime.grpc_channel import ChannelComponent
from pbs_cloud.runtime.lifecycle import BackgroundTask, Component, run_components
from pbs_cloud.runtime.logging import get_logger
from pbs_cloud.runtime.settings import Settings
from pbs_cloud.runtime.shared_region import SharedRegion, shared_regions_supported

log = get_logger(__name__)

MIB: Final = 1024 * 1024
ARENA_BYTES: Final = 96 * MIB
RECEIVE_BUDGET: Final = 96 * MIB
RECEIVE_RESERVE: Final = 48 * MIB


STALL_SECONDS: Final = 60.0
"""How long unfinished bodies may rest while other connections wait for the memory they hold."""


async def main(settings: Settings) -> None:
    """Serve the public port until SIGTERM; running sessions may then finish for ``settings.shutdown_seconds``."""
    _raise_descriptor_limit()
    auth = ChannelComponent(settings.services.auth, settings)
    chunks = ChannelComponent(settings.services.chunks, settings)
    catalogue = ChannelComponent(settings.services.catalogue, settings)
    catalogue_client, chunks_client = CatalogueClient(catalogue.channel), ChunksClient(chunks.channel)
    arena, memory = _arena(settings)
    transfer = ChunkTransfer(chunks_client, arena)
    around = Surroundings(catalogue_client, chunks_client, transfer, _spool_folder(settings))
    registry = SessionRegistry(
        catalogue_client, f"{settings.host_name}/{settings.process_name}", settings.shutdown_seconds
    )
    authenticator = Authenticator(AuthClient(auth.channel))
    bus = Bus(settings.required_nats_url, name=settings.process_name)
    revocation = RevocationListener(bus, authenticator)
    limits = RequestLimits(settings.rate_limit_enabled)
    upgrades = Upgrades(around, registry, authenticator, limits)
    backend = BackendPool(settings.run_path / "rest.sock")
    pool = CreditPool(RECEIVE_BUDGET, RECEIVE_RESERVE)
    service = Service(Proxy(backend), upgrades, registry, pool)
    listener = Listener(settings.listen, _tls(settings), service, parse_networks(settings.trusted_proxies))
    stops = StopListener(bus, registry)
    watch = BackgroundTask("stalled bodies", lambda: _watch(pool))
    await run_components(
        settings,
        [
            bus,
            auth,
            chunks,
            catalogue,
            revocation,
            SharedLimits(bus, limits),
            *memory,
            registry,
            stops,
            watch,
            listener,
        ],
    )


def _raise_descriptor_limit() -> None:
    """As many connections as the machine allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _watch(pool: CreditPool) -> None:
    while True:
        await asyncio.sleep(STALL_SECONDS / 4)
        expelled = pool.expel_stalled(time.monotonic(), STALL_SECONDS)
        if expelled:
            log.warning("connections with stalled bodies ended", connections=expelled)


def _arena(settings: Settings) -> tuple[Arena, list[Component]]:
    """Memory that chunkstore on this host shares, or none of the kind."""
    path = settings.services.chunks_shm
    if path is None or not shared_regions_supported():
        return Arena(memoryview(bytearray())), []
    region = SharedRegion(ARENA_BYTES)
    arena = Arena(region.memory)
    return arena, [RegionKeeper(arena, region, path)]


def _spool_folder(settings: Settings) -> Path | None:
    """Where large indexes lie while they are built or sent; None: the system's temporary folder."""
    folder = settings.data_dir / "spool"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_disabled:
        return None
    if settings.tls_cert is None or settings.tls_key is None:
        raise ConfigError("PBS_TLS_CERT, PBS_TLS_KEY: must be set when the gateway runs alone")
    return server_context(settings.tls_cert, settings.tls_key)
