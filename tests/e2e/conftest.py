"""Every end-to-end test runs against the product on local storage and on S3; see `server`."""

from collections.abc import AsyncIterator

import pytest
from testkit.product import ProductServer
from testkit.world import Tenant, new_tenant, shared_tenant

_FIXTURES = {"local": "product", "s3": "product_on_s3"}


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.xdist_group(f"e2e-{name}")) for name in _FIXTURES])
def server(request: pytest.FixtureRequest) -> ProductServer:
    """The running product, shared by all tests of this process (one xdist worker per storage)."""
    found: ProductServer = request.getfixturevalue(_FIXTURES[request.param])
    return found


@pytest.fixture
async def tenant(server: ProductServer) -> AsyncIterator[Tenant]:
    """The tenant that tests share, with an empty namespace of the test's own."""
    async with shared_tenant(server) as shared:
        yield shared


@pytest.fixture
async def own_tenant(server: ProductServer) -> AsyncIterator[Tenant]:
    """A tenant of the test's own with an empty datastore ``default``."""
    async with new_tenant(server) as made:
        yield made
