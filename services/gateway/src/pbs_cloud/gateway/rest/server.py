"""The process ``gateway-rest``: the application on a unix socket that only the front workers use."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pbs_cloud.contracts.auth import AuthClient
from pbs_cloud.contracts.billing import BillingClient
from pbs_cloud.contracts.chunkstore import CatalogueClient, ChunksClient
from pbs_cloud.contracts.configuration import ConfigurationClient
from pbs_cloud.contracts.context import SystemContext
from pbs_cloud.contracts.errors import PbsError
from pbs_cloud.contracts.gc import GcClient
from pbs_cloud.gateway.authentication import Authenticator
from pbs_cloud.gateway.limits import RequestLimits
from pbs_cloud.gateway.rest.app import create_app
from pbs_cloud.gateway.rest.calls import Clients, Node
from pbs_cloud.gateway.rest.endpoints import all_endpoints
from pbs_cloud.gateway.rest.endpoints.node_view import NO_FINGERPRINT
from pbs_cloud.gateway.rest.readiness import ServiceReadiness
from pbs_cloud.gateway.rest.reading import Readers
from pbs_cloud.gateway.rest.tree import ApiTree
from pbs_cloud.gateway.revocation import RevocationListener
from pbs_cloud.gateway.shared_limits import SharedLimits
from pbs_cloud.runtime.bus import Bus
from pbs_cloud.runtime.grpc_channel import ChannelComponent
from pbs_cloud.runtime.lifecycle import BackgroundTask, Component, run_components
from pbs_cloud.runtime.logging import get_logger
from pbs_cloud.runtime.settings import Settings

log = get_logger(__name__)
REPORT_SECONDS: Final = 60.0
KEEP_ALIVE_SECONDS: Final = 120
BACKLOG: Final = 2048


def socket_path(settings: Settings) -> Path:
    """Where the REST worker listens."""
    return settings.run_path / "rest.sock"


def certificate_fingerprint(settings: Settings) -> str:
    """SHA-256 of the public leaf certificate as colon-separated lower-case hex; zeros without TLS."""
    if settings.tls_disabled or settings.tls_cert is None:
        return NO_FINGERPRINT
    leaf = x509.load_pem_x509_certificates(settings.tls_cert.read_bytes())[0]
    return hashlib.sha256(leaf.public_bytes(Encoding.DER)).digest().hex(":")


class _Server(uvicorn.Server):
    """Leaves signals to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpServer(Component):
    """uvicorn on a unix socket with mode 0600."""

    name = "http"

    def __init__(self, app: object, path: Path, settings: Settings, readiness: ServiceReadiness) -> None:
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, int(settings.shutdown_seconds)),
            backlog=BACKLOG,
        )
        self._server = _Server(config)
        self._path = path
        self._readiness = readiness
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self._path))
        self._path.chmod(0o600)
        listener.setblocking(False)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name="uvicorn")
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
                raise RuntimeError("the HTTP server ended at its start")
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self._readiness.stop()
        self._server.should_exit = True
        if self._serving is not None:
            await asyncio.gather(self._serving, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    def ready(self) -> bool:
        return self._serving is not None and not self._serving.done()


async def report_requests(tree: ApiTree, billing: BillingClient) -> None:
    """Tell billing once a minute how many calls each tenant made; counts that cannot be delivered wait."""
    while True:
        await asyncio.sleep(REPORT_SECONDS)
        counted, tree.requests_by_tenant = tree.requests_by_tenant, type(tree.requests_by_tenant)()
        if not counted:
            continue
        try:
            await billing.report_api_requests(counted)
        except PbsError as error:
            tree.requests_by_tenant.update(counted)
            log.warning("request counts not reported", error=error.message)


async def main(settings: Settings) -> None:
    """Serve until SIGTERM."""
    where = settings.services
    channels = {
        name: ChannelComponent(target, settings)
        for name, target in {
            "auth": where.auth,
            "chunks": where.chunks,
            "catalogue": where.catalogue,
            "billing": where.billing,
            "gc": where.gc,
        }.items()
    }
    auth = AuthClient(channels["auth"].channel)
    catalogue, chunks = CatalogueClient(channels["catalogue"].channel), ChunksClient(channels["chunks"].channel)
    billing, gc = BillingClient(channels["billing"].channel), channels["gc"].channel
    readers = Readers(catalogue, chunks, f"{settings.host_name}/{settings.process_name}")
    authenticator, limits = Authenticator(auth), RequestLimits(settings.rate_limit_enabled)
    node = Node(settings, time.time(), lambda: certificate_fingerprint(settings))
    tree = ApiTree(
        all_endpoints(),
        Clients(auth, catalogue, chunks, billing, GcClient(gc), ConfigurationClient(gc), readers),
        node,
        authenticator,
        limits,
    )
    operator = SystemContext().for_tenant(settings.default_tenant)

    async def has_datastore() -> bool:
        return bool((await catalogue.list_datastores(operator))[0])

    readiness = ServiceReadiness({name: part.channel for name, part in channels.items()}, has_datastore)
    server = HttpServer(create_app(tree, settings, readiness.missing), socket_path(settings), settings, readiness)
    report = BackgroundTask("report of request counts", lambda: report_requests(tree, billing))
    bus = Bus(settings.required_nats_url, name=settings.process_name)
    revocation = RevocationListener(bus, authenticator)
    shared = SharedLimits(bus, limits)
    await run_components(settings, [*channels.values(), bus, revocation, shared, readers, report, server])
