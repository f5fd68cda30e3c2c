"""Migrations: transactional, safe to run twice at once, as the service's own role, with real passwords."""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest
from testkit.servers import PostgresServer

from pbs_cloud.runtime import database_urls
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.migrations import create_roles_and_schemas, current_revision, migrate

SCRIPT = """
from pbs_cloud.runtime.migrations import execute_script
revision, down_revision = {revision!r}, {down!r}
def upgrade() -> None:
    execute_script({sql!r})
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Adds a migration to an otherwise empty history of the service `gc`."""
    folder = tmp_path / "pbs_cloud" / "gc" / "migrations"
    (folder / "versions").mkdir(parents=True)
    for module in ("migrations", "revisions"):
        monkeypatch.setattr(f"pbs_cloud.runtime.{module}.migrations_folder", lambda _service: folder)

    def add(revision: str, sql: str) -> None:
        number = int(revision)
        text = SCRIPT.format(revision=revision, down=f"{number - 1:04d}" if number > 1 else None, sql=sql)
        (folder / "versions" / f"{revision}_step.py").write_text(text)

    return add


@pytest.fixture
async def url(postgres: PostgresServer) -> AsyncIterator[str]:
    admin = await postgres.new_database()
    await create_roles_and_schemas(admin)
    yield database_urls.for_service(admin, "gc")


async def names(url: str) -> list[tuple[str, str]]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT tablename, tableowner FROM pg_tables WHERE schemaname = 'gc' ORDER BY 1")
        return [(row["tablename"], row["tableowner"]) for row in rows]
    finally:
        await connection.close()


async def test_steps_run_in_order_and_only_once(url: str, script: Callable[[str, str], None]) -> None:
    script("0001", "CREATE TABLE one (id int); CREATE TABLE two (id int)")
    assert await migrate(url, "gc")
    script("0002", "INSERT INTO one VALUES (1)")
    assert await migrate(url, "gc")
    assert not await migrate(url, "gc")
    assert await current_revision(url, "gc") == "0002"
    assert await names(url) == [("alembic_version", "pbs_gc"), ("one", "pbs_gc"), ("two", "pbs_gc")]


async def test_a_failing_step_leaves_nothing(url: str, script: Callable[[str, str], None]) -> None:
    script("0001", "CREATE TABLE one (id int)")
    await migrate(url, "gc")
    script("0002", "CREATE TABLE half (id int); SELECT no_such_function()")
    with pytest.raises(Exception, match="no_such_function"):
        await migrate(url, "gc")
    assert await current_revision(url, "gc") == "0001"
    assert "half" not in dict(await names(url))


async def test_the_database_waits_for_its_schema(url: str, script: Callable[[str, str], None]) -> None:
    script("0001", "CREATE TABLE one (id int)")
    database = Database(url, schema="gc", application_name="test")
    start = asyncio.create_task(database.start())
    await asyncio.sleep(0.3)
    assert not start.done()
    await migrate(url, "gc")
    await asyncio.wait_for(start, 10)
    await database.stop()


async def test_two_migrators_at_once(postgres: PostgresServer) -> None:
    admin = await postgres.new_database()
    env = {**os.environ, "PBS_DATABASE_URL": admin}
    both = [subprocess.Popen([sys.executable, "-m", "pbs_cloud.server", "migrate"], env=env) for _ in range(2)]
    assert [await asyncio.to_thread(process.wait, 100) for process in both] == [0, 0]


async def test_a_service_cannot_touch_the_schema_of_another(postgres: PostgresServer) -> None:
    admin = await postgres.new_database()
    await create_roles_and_schemas(admin)
    connection = await asyncpg.connect(database_urls.for_service(admin, "billing"))
    for statement in ("CREATE TABLE auth.mine (id int)", "CREATE TABLE public.mine (id int)", "CREATE SCHEMA mine"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await connection.close()


async def test_derived_passwords_log_in_over_tcp() -> None:
    host = f"127.{random.randrange(1, 255)}.{random.randrange(255)}.{random.randrange(1, 255)}"
    server = PostgresServer()
    server._embedded._settings["listen_addresses"] = host
    await asyncio.to_thread(server.start)
    try:
        local = await asyncpg.connect(server.url)
        await local.execute("ALTER ROLE pbs_admin PASSWORD 'p@ss/word'")
        rules = server.folder / "data" / "pg_hba.conf"
        rules.write_text(rules.read_text() + "host all all 127.0.0.0/8 scram-sha-256\n")
        await local.execute("SELECT pg_reload_conf()")
        await local.close()
        admin = f"postgresql://pbs_admin:p%40ss%2Fword@{host}:5432/postgres"
        await create_roles_and_schemas(admin)
        connection = await asyncpg.connect(database_urls.for_service(admin, "auth"), timeout=10)
        assert await connection.fetchval("SELECT current_user") == "pbs_auth"
        await connection.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(database_urls.for_service(admin.replace("p%40", "q"), "auth"), timeout=10)
    finally:
        await asyncio.to_thread(server.stop)
