"""Products that these tests may break: their own, never the shared ones."""

from collections.abc import AsyncIterator, Iterator

import pytest
from testkit.product import ProductServer
from testkit.world import Tenant, shared_tenant


@pytest.fixture(scope="module")
def victim() -> Iterator[ProductServer]:
    """A product on local storage for the tests of one module, one after the other."""
    server = ProductServer().start()
    yield server
    server.close()


@pytest.fixture
async def tenant(victim: ProductServer) -> AsyncIterator[Tenant]:
    """A tenant on the victim, with a namespace of the test's own."""
    async with shared_tenant(victim) as shared:
        yield shared
