"""The API over ASGI, with a real auth service behind it; calls of other services find nobody."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import grpc
import httpx
import pytest
from testkit.auth_service import AuthWorld, start_auth
from testkit.servers import temporary_folder

from pbs_cloud.contracts.billing import BillingClient
from pbs_cloud.contracts.chunkstore import CatalogueClient, ChunksClient
from pbs_cloud.contracts.configuration import ConfigurationClient
from pbs_cloud.contracts.gc import GcClient
from pbs_cloud.gateway.authentication import Authenticator, FailureDelays
from pbs_cloud.gateway.limits import RequestLimits
from pbs_cloud.gateway.rest.app import create_app
from pbs_cloud.gateway.rest.calls import Clients, Node
from pbs_cloud.gateway.rest.endpoints import all_endpoints
from pbs_cloud.gateway.rest.reading import Readers
from pbs_cloud.gateway.rest.tree import ApiTree


@dataclass
class Api:
    """The application and the operator's credentials."""

    tree: ApiTree
    client: httpx.AsyncClient
    world: AuthWorld

    @property
    def root(self) -> dict[str, str]:
        return {"Authorization": f"PBSAPIToken=root@pam!root-token:{self.world.root_secret}"}

    async def new_user(self, name: str, role: str | None = None, path: str = "/") -> dict[str, str]:
        """Make a user with a password; headers of its ticket."""
        created = await self.client.post(
            "/api2/json/access/users", json={"userid": name, "password": "first-secret"}, headers=self.root
        )
        assert created.status_code == 200, created.text
        if role is not None:
            entry = {"path": path, "auth-id": name, "role": role}
            assert (await self.client.put("/api2/json/access/acl", json=entry, headers=self.root)).status_code == 200
        login = await self.client.post("/api2/json/access/ticket", data={"username": name, "password": "first-secret"})
        data = login.json()["data"]
        return {"Cookie": f"PBSAuthCookie={data['ticket']}", "CSRFPreventionToken": data["CSRFPreventionToken"]}


@pytest.fixture
async def api(service_database: Callable[[str], Awaitable[str]]) -> AsyncIterator[Api]:
    process = await start_auth(await service_database("auth"), temporary_folder("rest"))
    world = await AuthWorld.create(process)
    nowhere = grpc.aio.insecure_channel("unix:/nonexistent")
    catalogue, chunks = CatalogueClient(nowhere), ChunksClient(nowhere)
    tree = ApiTree(
        all_endpoints(),
        Clients(
            process.client,
            catalogue,
            chunks,
            BillingClient(nowhere),
            GcClient(nowhere),
            ConfigurationClient(nowhere),
            Readers(catalogue, chunks, "test"),
        ),
        Node(process.settings, time.time(), lambda: ":".join(["ab"] * 32)),
        Authenticator(process.client),
        RequestLimits(enabled=False),
        delays=FailureDelays(unauthenticated=0.05, forbidden=0.02),
    )

    async def missing() -> list[str]:
        return []

    transport = httpx.ASGITransport(create_app(tree, process.settings, missing), raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="https://pbs", headers={"Accept-Encoding": "identity"}
    ) as client:
        yield Api(tree, client, world)
    await nowhere.close()
    await process.stop()
