"""A billing process and a producer of events, each on a database of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from testkit.servers import NatsServer, temporary_folder

from pbs_cloud.billing.component import components
from pbs_cloud.contracts.billing import BillingClient, Usage
from pbs_cloud.contracts.context import SystemContext
from pbs_cloud.contracts.events import Event, EventType
from pbs_cloud.runtime.bus import Bus
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.grpc_channel import open_channel
from pbs_cloud.runtime.lifecycle import Component
from pbs_cloud.runtime.outbox import OutboxRelay, emit
from pbs_cloud.runtime.settings import Settings

HOUR = 1_700_000_000 // 3600 * 3600


@dataclass
class Billing:
    """One running billing process."""

    url: str
    nats_url: str
    run_dir: Path = field(default_factory=lambda: temporary_folder("billing"))
    parts: list[Component] = field(default_factory=list)

    async def start(self) -> Billing:
        settings = Settings(
            billing_database_url=self.url, nats_url=self.nats_url, run_dir=self.run_dir, data_dir=self.run_dir
        )
        self.parts = components(settings)
        for part in self.parts:
            await part.start()
        self._channel = open_channel(settings.services.billing, settings)
        self.client = BillingClient(self._channel)
        return self

    async def stop(self) -> None:
        await self._channel.close()
        for part in reversed(self.parts):
            await part.stop()

    @property
    def database(self) -> Database:
        return next(part for part in self.parts if isinstance(part, Database))

    async def usage(self, tenant_id: str = "acme", store: str | None = None) -> Usage | None:
        return await self.client.get_usage(SystemContext().for_tenant(tenant_id), store=store)

    async def wait_for(self, tenant_id: str = "acme", **expected: int) -> Usage:
        """Usage of the tenant as soon as it has these values."""
        found = None
        for _ in range(600):
            found = await self.usage(tenant_id)
            if found and all(getattr(found, name) == value for name, value in expected.items()):
                return found
            await asyncio.sleep(0.05)
        raise AssertionError(f"expected {expected}, found {found}")


@dataclass
class Producer:
    """The chunkstore's outbox: database, bus and, while `relaying`, the relay."""

    database: Database
    nats_url: str

    async def emit(
        self, kind: EventType, size: int = 0, *, tenant_id: str = "acme", at: int = HOUR, **data: str
    ) -> Event:
        """Commit one event."""
        event = Event(kind, tenant_id, at, size, data or {"store": "tank"})
        async with self.database.tenant(tenant_id) as connection:
            await emit(connection, event, producer="chunkstore")
        return event

    @asynccontextmanager
    async def relaying(self) -> AsyncIterator[Bus]:
        """Events are sent, and sent again on demand."""
        bus = Bus(self.nats_url, name="producer")
        relay = OutboxRelay(self.database, bus, producer="chunkstore")
        await bus.start()
        await relay.start()
        try:
            yield bus
        finally:
            await relay.stop()
            await bus.stop()


@pytest.fixture
async def producer(service_database: Callable[[str], Awaitable[str]], nats: NatsServer) -> AsyncIterator[Producer]:
    """A producer that has sent nothing yet."""
    database = Database(await service_database("chunkstore"), schema="chunkstore", application_name="test")
    await database.start()
    yield Producer(database, nats.url)
    await database.stop()


@pytest.fixture
async def billing(service_database: Callable[[str], Awaitable[str]], nats: NatsServer) -> AsyncIterator[Billing]:
    """One running process."""
    process = await Billing(await service_database("billing"), nats.url).start()
    yield process
    await process.stop()
