"""The model against a real Postgres: random statements of the services, with random arguments, answer the same."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from simulation.postgres.both import Clock, ModelSession, RealSession, failure, rows_of
from simulation.postgres.content import fill
from simulation.postgres.random_arguments import KNOWN, TENANTS, Arguments
from simulation.postgres.server import clear
from simulation.postgres.statements_of_services import all_statements
from testkit.simulator.postgres import SimPostgres
from testkit.simulator.postgres.statements import Statement

ROUNDS = 8
TRANSACTIONS = 60
_ORDERED = "ORDER BY"
# which of several new rows gets which number is the server's choice
_NUMBERED_ANYHOW = re.compile(r"INSERT.*SELECT(?!.*ORDER BY).*RETURNING id", re.DOTALL)


class Pair:
    """One schema on both sides."""

    def __init__(self, schema: str, real: RealSession) -> None:
        self.schema = schema
        self.real = real
        self.postgres = SimPostgres(Clock())
        self.model = ModelSession(self.postgres, schema)
        storage = self.postgres.storage(schema)
        self.statements: list[tuple[Statement, Arguments]] = []
        for found in all_statements():
            if found.schema == schema and "staged_" not in found.text and not _NUMBERED_ANYHOW.search(found.text):
                statement = storage.statement(found.text)
                self.statements.append((statement, Arguments(found.text, statement.types)))

    async def reset(self) -> None:
        """The content to begin with, on both sides."""
        await clear(self.real, self.schema)
        self.postgres = SimPostgres(Clock())
        self.model = ModelSession(self.postgres, self.schema)
        for session in (self.real, self.model):
            await fill(await session.begin("*"), self.schema)
            await session.end(commit=True)

    async def transaction(self, rng: random.Random) -> list[str]:
        """Up to three statements; what was done. Raises AssertionError at the first difference."""
        tenant, done = rng.choice([*TENANTS, "t1", "*"]), []
        real, model = await self.real.begin(tenant), await self.model.begin(tenant)
        failed = False
        for _ in range(rng.randint(1, 3)):
            statement, arguments = rng.choice(self.statements)
            given = arguments.make(rng)
            done.append(f"{tenant}: {' '.join(statement.text.split())}\n  {given}")
            expected, found = await _answer(real, statement, given), await _answer(model, statement, given)
            assert found == expected, "\n".join([*done, f"expected {expected}", f"found    {found}"])
            failed = isinstance(expected, str)
            if failed:
                break
        commit = not failed and rng.random() < 0.8
        await self.real.end(commit=commit)
        await self.model.end(commit=commit)
        return done

    async def tables(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """All rows of all tables, of the server and of the model."""
        answers: list[dict[str, Any]] = []
        for session in (self.real, self.model):
            connection = await session.begin("*")
            found = {}
            for name, table in self.postgres.storage(self.schema).catalog.tables.items():
                if not table.temporary and name != "outbox_sequence":
                    columns = ", ".join(column.name for column in table.columns)
                    found[name] = sorted(
                        map(repr, rows_of(await connection.fetch(f"SELECT {columns} FROM {name}"), KNOWN))
                    )
            answers.append(found)
            await session.end(commit=True)
        return answers[0], answers[1]


async def _answer(connection: Any, statement: Statement, given: list[Any]) -> Any:
    """Rows (in their order, if the statement gives them one) or command tag; the class of an error."""
    try:
        if not statement.columns:
            return [await connection.execute(statement.text, *given)]
        rows = rows_of(await connection.fetch(statement.text, *given), KNOWN)
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return failure(error)
    return rows if statement.text.count(_ORDERED) == 1 else sorted(rows, key=repr)


@pytest.fixture
async def pair(request: pytest.FixtureRequest, real_databases: dict[str, str]) -> AsyncIterator[Pair]:
    """Both sides of the schema that the test names."""
    real = await RealSession.connect(real_databases[request.param], request.param)
    yield Pair(request.param, real)
    await real.connection.close()


@pytest.mark.parametrize("pair", ["chunkstore", "gc"], indirect=True)
async def test_same_answers_and_same_tables(pair: Pair) -> None:
    for seed in range(ROUNDS):
        rng = random.Random(seed)
        await pair.reset()
        done: list[str] = []
        for _ in range(TRANSACTIONS):
            done += await pair.transaction(rng)
        expected, found = await pair.tables()
        for name, rows in expected.items():
            assert found[name] == rows, f"seed {seed}, table {name}\n" + "\n".join(done)
