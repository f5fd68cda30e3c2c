"""The database pool against a real Postgres: tenant walls, patience, retries."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from asyncpg.transaction import Transaction
from testkit.servers import PostgresServer

from pbs_cloud.contracts.errors import Unavailable
from pbs_cloud.runtime import database_urls
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.migrations import create_roles_and_schemas, tenant_isolation

TABLE = "CREATE TABLE thing (tenant_id text NOT NULL, id int PRIMARY KEY, data jsonb);" + tenant_isolation("thing")


async def make_database(server: PostgresServer) -> Database:
    admin = await server.new_database()
    await create_roles_and_schemas(admin)
    # A schema without migrations of its own: the tests bring their table.
    url = database_urls.for_service(admin, "gc")
    database = Database(url, schema="gc", application_name="test")
    database._head = None
    await database.start()
    async with database.system() as connection:
        await connection.execute(TABLE)
    return database


@pytest.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[Database]:
    made = await make_database(postgres)
    yield made
    await made.stop()


async def test_a_tenant_sees_and_writes_only_its_rows(database: Database) -> None:
    for number, tenant in enumerate(("one", "two")):
        async with database.tenant(tenant) as connection:
            await connection.execute("INSERT INTO thing VALUES ($1, $2, $3)", tenant, number, {"of": tenant})
    async with database.tenant("one") as connection:
        rows = await connection.fetch("SELECT * FROM thing")
        assert [(row["tenant_id"], row["data"]) for row in rows] == [("one", {"of": "one"})]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.tenant("one") as connection:
            await connection.execute("INSERT INTO thing VALUES ('two', 9, NULL)")
    async with database.system() as connection:
        assert await connection.fetchval("SELECT count(*) FROM thing") == 2


async def test_outside_of_a_tenant_there_is_an_error_not_an_empty_list(database: Database) -> None:
    async with database.tenant("one") as connection:
        await connection.execute("INSERT INTO thing VALUES ('one', 1, NULL)")
    connection = await asyncpg.connect(database._pool_arguments["dsn"])
    try:
        with pytest.raises(asyncpg.UndefinedObjectError):
            await connection.fetch("SELECT * FROM gc.thing")
    finally:
        await connection.close()


@pytest.mark.parametrize("tenant", ["", "*"])
async def test_no_tenant_is_refused(database: Database, tenant: str) -> None:
    with pytest.raises(ValueError, match="no tenant"):
        async with database.tenant(tenant):
            pass


async def test_an_error_rolls_back(database: Database) -> None:
    with pytest.raises(RuntimeError):
        async with database.tenant("one") as connection:
            await connection.execute("INSERT INTO thing VALUES ('one', 1, NULL)")
            raise RuntimeError
    async with database.system() as connection:
        assert await connection.fetchval("SELECT count(*) FROM thing") == 0


async def test_an_os_error_of_the_body_stays_what_it_is(database: Database) -> None:
    with pytest.raises(FileNotFoundError):
        async with database.tenant("one"):
            raise FileNotFoundError("a chunk")


@pytest.mark.parametrize("code", ["53100", "53200", "57014"])
async def test_a_server_that_cannot_do_its_work_is_not_available(database: Database, code: str) -> None:
    """No room, no memory, a cancelled statement: whoever cleans up after `Unavailable` does so; the pool goes on."""
    with pytest.raises(Unavailable):
        async with database.system() as connection:
            await connection.execute(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$")
    assert database.ready()
    async with database.system() as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_a_connection_that_is_lost_at_the_begin_is_replaced(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool has taken it back already when it is given back: that is no error of the caller's."""
    original, lost = Transaction.start, 0

    async def start(transaction: Transaction) -> None:
        nonlocal lost
        if lost < 2:
            lost += 1
            transaction._connection._transport.abort()
            raise ConnectionResetError
        await original(transaction)

    monkeypatch.setattr(Transaction, "start", start)
    async with database.system() as connection:
        assert await connection.fetchval("SELECT 1") == 1
    assert lost == 2


async def test_conflicts_are_retried(database: Database) -> None:
    async with database.system() as connection:
        await connection.execute("INSERT INTO thing VALUES ('one', 1, '0')")

    async def increment() -> None:
        async with database.system(isolation="serializable") as connection:
            value = await connection.fetchval("SELECT data FROM thing WHERE id = 1")
            await asyncio.sleep(0.001)
            await connection.execute("UPDATE thing SET data = $1 WHERE id = 1", value + 1)

    await asyncio.gather(*(database.retrying(increment) for _ in range(5)))
    async with database.system() as connection:
        assert await connection.fetchval("SELECT data FROM thing WHERE id = 1") == 5


class TestWithoutServer:
    @pytest.fixture
    async def server(self) -> AsyncIterator[PostgresServer]:
        server = PostgresServer()
        await asyncio.to_thread(server.start)
        yield server
        await asyncio.to_thread(server.stop)

    async def test_the_pool_survives_a_kill(self, server: PostgresServer) -> None:
        database = await make_database(server)
        with pytest.raises(Unavailable):
            async with database.tenant("one") as connection:
                server.kill()
                await connection.execute("INSERT INTO thing VALUES ('one', 1, NULL)")
        assert not database.ready()
        with pytest.raises(Unavailable):
            async with database.tenant("one", wait=0.3):
                pass

        async def insert() -> None:
            async with database.tenant("one", wait=20) as connection:
                await connection.execute("INSERT INTO thing VALUES ('one', 2, NULL)")

        waiting = [asyncio.create_task(insert())]
        await asyncio.sleep(0.3)
        await asyncio.to_thread(server.start)
        await asyncio.gather(*waiting)
        assert database.ready()
        server.kill()
        async with asyncio.timeout(10):
            while database.ready():
                await asyncio.sleep(0.05)
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(10):
            while not database.ready():
                await asyncio.sleep(0.05)
        async with database.system() as connection:
            assert [row["id"] for row in await connection.fetch("SELECT id FROM thing")] == [2]
        await database.stop()

    async def test_start_waits_for_the_server(self, server: PostgresServer) -> None:
        admin = await server.new_database()
        await create_roles_and_schemas(admin)
        server.kill()
        database = Database(database_urls.for_service(admin, "gc"), schema="gc", application_name="test")
        database._head = None
        start = asyncio.create_task(database.start())
        await asyncio.sleep(0.2)
        assert not start.done()
        await asyncio.to_thread(server.start)
        await asyncio.wait_for(start, 10)
        await database.stop()
