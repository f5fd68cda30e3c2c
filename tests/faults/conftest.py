"""Products that these tests may break: their own, never the shared ones."""

from collections.abc import AsyncIterator, Iterator

import pytest
from testkit.product import ProductServer
from testkit.world import Tenant, new_tenant


@pytest.fixture(scope="module")
def victim() -> Iterator[ProductServer]:
    """A product on local storage for the tests of one module, one after the other."""
    server = ProductServer().start()
    yield server
    server.close()


@pytest.fixture
async def tenant(victim: ProductServer) -> AsyncIterator[Tenant]:
    """A tenant of the test's own on the victim."""
    async with new_tenant(victim) as made:
        yield made
