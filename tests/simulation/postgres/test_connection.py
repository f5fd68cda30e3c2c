"""What services meet at the model's connection: lost connections, crashes, tenants, the shape of answers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from simulation.postgres.content import fill
from simulation.postgres.random_arguments import DIGESTS, SESSIONS
from simulation.postgres.statements_of_services import all_statements
from testkit.simulator.postgres import SimDatabase, SimPostgres, UnsupportedSql

from pbs_cloud.chunkstore.maintenance import staging
from pbs_cloud.contracts.errors import Unavailable

_NAME = "UPDATE datastore SET name = 'other' WHERE id = 1"
_AGAIN = "INSERT INTO namespace (tenant_id, datastore_id, path) SELECT tenant_id, datastore_id, path FROM namespace"
_LOCK = "SELECT id FROM datastore WHERE id = 1 FOR UPDATE"


class Hooks:
    """Raises what a test wants at a point."""

    def __init__(self) -> None:
        self.errors: dict[str, BaseException] = {}
        self.points: list[tuple[str, str]] = []

    async def point(self, kind: str, detail: str) -> None:
        self.points.append((kind, detail))
        if kind in self.errors:
            raise self.errors[kind]

    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def hooks() -> Hooks:
    return Hooks()


@pytest.fixture
async def postgres(hooks: Hooks) -> SimPostgres:
    found = SimPostgres(hooks)
    async with found.database("chunkstore").system() as connection:
        await fill(connection, "chunkstore")
    hooks.points.clear()
    return found


@pytest.fixture
def database(postgres: SimPostgres) -> SimDatabase:
    return postgres.database("chunkstore")


def _names(postgres: SimPostgres) -> list[str]:
    return [row["name"] for row in postgres.storage("chunkstore").rows_of("datastore")]


async def test_points_of_a_transaction(hooks: Hooks, database: SimDatabase) -> None:
    async with database.tenant("t1") as connection:
        assert await connection.execute(_NAME) == "UPDATE 1"
    assert hooks.points == [("statement", "update datastore"), ("commit", "chunkstore"), ("committed", "chunkstore")]


@pytest.mark.parametrize(
    ("kind", "error", "surfaces", "applied"),
    [
        ("statement", ConnectionResetError(), Unavailable, False),
        ("statement", asyncpg.ConnectionDoesNotExistError("gone"), Unavailable, False),
        ("statement", asyncpg.SerializationError("again"), asyncpg.SerializationError, False),
        ("commit", ConnectionResetError(), Unavailable, False),
        ("commit", asyncpg.SerializationError("again"), asyncpg.SerializationError, False),
        ("committed", ConnectionResetError(), Unavailable, True),
        ("committed", RuntimeError(), Unavailable, True),
    ],
)
async def test_an_error_at_a_point(
    hooks: Hooks, postgres: SimPostgres, kind: str, error: Exception, surfaces: type[Exception], applied: bool
) -> None:
    hooks.errors[kind] = error
    with pytest.raises(surfaces):
        async with postgres.database("chunkstore").tenant("t1") as connection:
            await connection.execute(_NAME)
    assert ("other" in _names(postgres)) is applied
    assert not postgres.storage("chunkstore").open


async def test_an_error_in_the_body_rolls_back(postgres: SimPostgres, database: SimDatabase) -> None:
    with pytest.raises(KeyError):
        async with database.tenant("t1") as connection:
            await connection.execute(_NAME)
            raise KeyError
    assert "other" not in _names(postgres)


async def test_a_failed_transaction_takes_no_statement_and_commits_nothing(
    postgres: SimPostgres, database: SimDatabase
) -> None:
    async with database.tenant("t1") as connection:
        await connection.execute(_NAME)
        with pytest.raises(asyncpg.UniqueViolationError) as found:
            await connection.execute("UPDATE datastore SET name = 's2' WHERE id = 1")
        assert found.value.constraint_name == "datastore_name"
        with pytest.raises(asyncpg.InFailedSQLTransactionError):
            await connection.execute(_NAME)
    assert "other" not in _names(postgres)


async def test_a_crash_rolls_back_and_frees_the_locks(postgres: SimPostgres) -> None:
    dead, alive = postgres.database("chunkstore"), postgres.database("chunkstore")
    transaction = dead.tenant("t1")
    connection = await transaction.__aenter__()
    await connection.execute(_NAME)

    async def wait() -> list[Any]:
        async with alive.tenant("t1") as other:
            return list(await other.fetch(_LOCK))

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    dead.crash()
    assert len(await waiting) == 1
    assert "other" not in _names(postgres)
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await connection.execute(_NAME)
    with pytest.raises(Unavailable):
        await dead.tenant("t1").__aenter__()


async def test_a_cancelled_wait_leaves_nothing_behind(postgres: SimPostgres, database: SimDatabase) -> None:
    async def wait() -> None:
        async with database.tenant("t1") as other:
            await other.fetch(_LOCK)

    async with database.tenant("t1") as connection:
        await connection.fetch(_LOCK)
        first, second = asyncio.create_task(wait()), asyncio.create_task(wait())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        assert not second.done()
    await second
    assert not postgres.storage("chunkstore").open


async def test_a_tenant_neither_sees_nor_writes_rows_of_another(database: SimDatabase) -> None:
    async with database.tenant("t2") as connection:
        assert [row["id"] for row in await connection.fetch("SELECT id FROM datastore")] == [3]
        assert await connection.execute(_NAME) == "UPDATE 0"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("INSERT INTO tenant_salt (tenant_id, salt) VALUES ($1, $2)", "t1", b"x")


async def test_arguments_are_taken_as_strictly_as_by_asyncpg(database: SimDatabase) -> None:
    async with database.tenant("t1") as connection:
        for wrong in ("1", 1.5, 1 << 40):
            with pytest.raises(asyncpg.DataError):
                await connection.fetch("SELECT name FROM datastore WHERE id = $1", wrong)
        with pytest.raises(asyncpg.InterfaceError):
            await connection.fetch("SELECT name FROM datastore WHERE id = $1")
        assert await connection.fetchval("SELECT name FROM datastore WHERE id = $1", 1) == "s1"


async def test_records(database: SimDatabase) -> None:
    async with database.tenant("t1") as connection:
        row = await connection.fetchrow("SELECT id, config FROM datastore WHERE id = $1", 1)
        assert row is not None
        assert (row["id"], row[0], row.get("no"), dict(row), tuple(row), len(row)) == (
            1, 1, None, {"id": 1, "config": {"gc-schedule": "daily"}}, (1, {"gc-schedule": "daily"}), 2,
        )  # fmt: skip
        row["config"]["changed"] = True
        assert await connection.fetchval("SELECT config FROM datastore WHERE id = $1", 1) == {"gc-schedule": "daily"}
        assert await connection.fetchrow("SELECT id FROM datastore WHERE id = $1", 99) is None
        found = [row[0] async for row in connection.cursor("SELECT digest FROM chunk WHERE datastore_id = $1", 1)]
        assert found == DIGESTS[:3]


async def test_temporary_tables_end_with_their_transaction(database: SimDatabase) -> None:
    for _ in range(2):
        async with database.tenant("t1") as connection:
            await connection.execute(staging._TABLES)
            await connection.copy_records_to_table("staged_chunk", records=[(DIGESTS[0], 1), (DIGESTS[1], 2)])
            assert await connection.fetchval("SELECT count(*) FROM staged_chunk") == 2


async def test_the_same_seed_gives_the_same_uuids(hooks: Hooks) -> None:
    found = []
    for seed in (1, 1, 2):
        async with SimPostgres(hooks, seed=seed).database("chunkstore").system() as connection:
            found.append(await connection.fetchval("SELECT epoch FROM outbox_sequence"))
    assert found[0] == found[1] != found[2]


async def test_clocks(hooks: Hooks, database: SimDatabase) -> None:
    async with database.tenant("t1") as connection:
        row = await connection.fetchrow("SELECT clock_timestamp() AS now, extract(epoch FROM now())::bigint AS began")
        assert row is not None
        assert (row["now"], row["began"]) == (hooks.now(), int(hooks.now().timestamp()))


@pytest.mark.parametrize(
    "text",
    [
        "SELECT nosuch FROM datastore",
        "SELECT id FROM nosuch",
        "SELECT id FROM datastore GROUP BY id HAVING count(*) > 1",
        "SELECT DISTINCT name FROM datastore",
        "SELECT ln(id) FROM datastore",
        "SELECT id FROM datastore ORDER BY 1",
        "SELECT id FROM datastore WHERE name = 1",
        "UPDATE datastore SET (name, state) = ('a', 'b')",
        "INSERT INTO datastore VALUES (1)",
        "VACUUM datastore",
        "DELETE FROM datastore USING session WHERE session.datastore_id = datastore.id",
        "SELECT id FROM (SELECT id FROM datastore FOR UPDATE) AS d",
    ],
)
async def test_what_it_does_not_know_it_refuses(database: SimDatabase, text: str) -> None:
    async with database.tenant("t1") as connection:
        with pytest.raises(UnsupportedSql) as found:
            await connection.fetch(text)
    assert database.storage.refused == [str(found.value)]


async def test_it_knows_all_statements_of_the_services(postgres: SimPostgres) -> None:
    postgres.storage("chunkstore").is_temporary(staging._TABLES)
    statements = all_statements()
    assert len(statements) > 200
    for found in statements:
        postgres.storage(found.schema).statement(found.text)


async def test_sessions_of_the_content_are_there(postgres: SimPostgres) -> None:
    assert [row["id"] for row in postgres.storage("chunkstore").rows_of("session")] == SESSIONS[:3]


async def test_a_nested_transaction_takes_back_what_it_did(postgres: SimPostgres, database: SimDatabase) -> None:
    async with database.system() as connection:
        await connection.execute("UPDATE datastore SET location = 'before' WHERE id = 1")
        with pytest.raises(RuntimeError):
            async with connection.transaction():
                await connection.execute(_NAME)
                await connection.execute("UPDATE datastore SET location = 'inside' WHERE id = 1")
                raise RuntimeError
        with pytest.raises(asyncpg.UniqueViolationError):
            async with connection.transaction():
                await connection.execute(_NAME)
                await connection.execute(_AGAIN)
        async with connection.transaction():
            await connection.execute("UPDATE datastore SET gc_status = '{}' WHERE id = 1")
    row = postgres.storage("chunkstore").rows_of("datastore")[0]
    assert (row["location"], row["gc_status"]) == ("before", {})
    assert "other" not in _names(postgres)


async def test_what_a_nested_transaction_locked_is_free_when_it_is_taken_back(database: SimDatabase) -> None:
    async with database.system() as first, database.system() as second:
        with pytest.raises(RuntimeError):
            async with first.transaction():
                await first.execute(_LOCK)
                raise RuntimeError
        assert await second.fetchval(f"{_LOCK} NOWAIT") == 1
        with pytest.raises(asyncpg.LockNotAvailableError):
            async with first.transaction():
                await first.execute(f"{_LOCK} NOWAIT")
        assert await first.fetchval("SELECT 1") == 1
