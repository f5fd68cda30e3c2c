"""Worlds for tests of maintenance; one for all tests of a module, who keep apart by groups."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from testkit.maintenance import Maintained, start_maintained
from testkit.servers import NatsServer, PostgresServer


@pytest.fixture(scope="module")
def module_nats() -> Iterator[NatsServer]:
    server = NatsServer().start()
    yield server
    server.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(postgres: PostgresServer, module_nats: NatsServer) -> AsyncIterator[Maintained]:
    """Use it with `pytestmark = pytest.mark.asyncio(loop_scope="module")`."""
    made = await start_maintained(postgres, module_nats)
    yield made
    await made.stop()
