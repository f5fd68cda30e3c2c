"""Pytest fixtures for every test of the workspace (the root `conftest.py` loads them)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import pytest

from testkit.product import ProductServer
from testkit.servers import NatsServer, PostgresServer, S3Server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One Postgres per test process; tests take databases of their own from it."""
    server = PostgresServer().start()
    yield server
    server.stop()


@pytest.fixture
def service_database(postgres: PostgresServer) -> Callable[[str], Awaitable[str]]:
    """`url = await service_database("auth")`: a fresh, migrated database of that service, as its own role."""
    return postgres.service_database


@pytest.fixture
def nats() -> Iterator[NatsServer]:
    """A NATS server of the test's own."""
    server = NatsServer().start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """One object store per test process."""
    server = S3Server().start()
    yield server
    server.stop()


@pytest.fixture
def s3_bucket(s3: S3Server) -> str:
    """A fresh bucket of it."""
    return s3.new_bucket()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The numbers of gateway workers of the shared products."""
    parser.addoption("--workers", default="1", help="gateway workers of the product on local storage")
    parser.addoption("--workers-on-s3", default="4", help="gateway workers of the product on object storage")


@pytest.fixture(scope="session")
def product(pytestconfig: pytest.Config) -> Iterator[ProductServer]:
    """The whole product on local storage, one gateway worker, shared by this process: use names of your own."""
    server = ProductServer({"PBS_GATEWAY_WORKERS": pytestconfig.getoption("--workers")}).start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def product_on_s3(s3: S3Server, pytestconfig: pytest.Config) -> Iterator[ProductServer]:
    """The same on object storage with four gateway workers."""
    workers = pytestconfig.getoption("--workers-on-s3")
    server = ProductServer({**s3.environment(s3.new_bucket()), "PBS_GATEWAY_WORKERS": workers}).start()
    yield server
    server.close()


@pytest.fixture
def own_product() -> Iterator[Callable[..., ProductServer]]:
    """`server = own_product(env)`: started products of the test's own, for tests that break them."""
    made: list[ProductServer] = []

    def start(env: dict[str, str] | None = None) -> ProductServer:
        made.append(ProductServer(env))
        return made[-1].start()

    yield start
    for server in made:
        server.close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that use the shared product run in one process of pytest-xdist, so that it starts once."""
    for item in items:
        if "product" in getattr(item, "fixturenames", ()) and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group("product"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed test shows the end of the product's log."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, ProductServer):
                report.sections.append(("product log", value.log_tail()))
