"""Databases of the real server for the comparisons."""

from __future__ import annotations

import asyncio

import pytest
from testkit.servers import PostgresServer


@pytest.fixture(scope="session")
def real_databases(postgres: PostgresServer) -> dict[str, str]:
    """URL by schema: one database each for all tests here, which clear it before they use it."""
    return {schema: asyncio.run(postgres.service_database(schema)) for schema in ("chunkstore", "gc")}
