"""Interleavings of sessions on the model and on a real Postgres: who waits, and how each step ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
from simulation.postgres.both import Clock, ModelSession, RealSession, failure, rows_of, settled
from simulation.postgres.content import fill
from simulation.postgres.random_arguments import KNOWN
from simulation.postgres.scenarios import Scenario, Step
from simulation.postgres.server import clear
from testkit.simulator.postgres import SimPostgres

_PATIENCE_SECONDS = 10.0
_POLL_SECONDS = 0.003
DEADLOCK_SECONDS = 0.03
Trace = list[tuple[str, dict[str, Any], list[str]]]
"""For each step: whose it was, what ended with it (by session), who waits after it."""


async def _work(session: Any, connections: dict[str, Any], name: str, step: Step) -> Any:
    """Do one step: its answer, or the class of its error."""
    what = step[1]
    try:
        if what in ("begin", "begin isolated"):
            connections[name] = await session.begin("*", isolated=what == "begin isolated")
            return None
        if what in ("commit", "roll back"):
            return await session.end(commit=what == "commit")
        connection = connections[name]
        if what.lstrip().startswith(("SELECT", "WITH")) or "RETURNING" in what:
            rows = rows_of(await connection.fetch(what, *step[2:]), KNOWN)
            return rows if what.count("ORDER BY") == 1 and "JOIN" not in what else sorted(rows, key=repr)
        return await connection.execute(what, *step[2:])
    except asyncpg.PostgresError as error:
        return failure(error)


async def _trace(
    scenario: Scenario, sessions: dict[str, Any], settle: Callable[[int, dict[str, asyncio.Task[Any]]], Awaitable[None]]
) -> Trace:
    """Run a scenario; `settle(step, running)` waits until nobody can go on."""
    connections: dict[str, Any] = {}
    running: dict[str, asyncio.Task[Any]] = {}
    trace: Trace = []
    for number, step in enumerate(scenario.steps):
        name = step[0]
        assert name not in running, f"{scenario.name}: {name} still waits at step {number}: {trace}"
        running[name] = asyncio.create_task(_work(sessions[name], connections, name, step))
        await settle(number, running)
        ended = {who: running.pop(who).result() for who in sorted(running) if running[who].done()}
        trace.append((name, ended, sorted(running)))
    assert not running, f"{scenario.name}: {sorted(running)} wait for ever: {trace}"
    return trace


async def on_model(scenario: Scenario) -> Trace:
    """What the model does."""
    postgres = SimPostgres(Clock())
    names = sorted({step[0] for step in scenario.steps})
    sessions = {name: ModelSession(postgres, scenario.schema) for name in names}
    await fill(await sessions["A"].begin("*"), scenario.schema)
    await sessions["A"].end(commit=True)
    return await _trace(scenario, sessions, lambda _, __: settled())


class Server:
    """Sessions of one schema on the server."""

    def __init__(self, schema: str, sessions: dict[str, RealSession]) -> None:
        self.schema = schema
        self.sessions = sessions

    async def trace(self, scenario: Scenario, expected: Trace) -> Trace:
        """What Postgres does; `expected` says for what to look, an answer too many or too few is found all the same."""
        first = self.sessions["A"]
        await clear(first, self.schema)
        await fill(await first.begin("*"), self.schema)
        await first.end(commit=True)

        async def settle(number: int, running: dict[str, asyncio.Task[Any]]) -> None:
            waits = expected[number][2]
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while time.monotonic() < deadline:
                wrong = [name for name, task in running.items() if task.done() is (name in waits)]
                if not wrong and await self._blocked(waits):
                    break
                await asyncio.sleep(_POLL_SECONDS)
            if waits and scenario.deadlock:
                await asyncio.sleep(2 * DEADLOCK_SECONDS)

        return await _trace(scenario, self.sessions, settle)

    async def _blocked(self, names: list[str]) -> bool:
        """Whether all of some sessions wait for others."""
        pids = [self.sessions[name].connection.get_server_pid() for name in names]
        if not pids:
            return True
        watcher = self.sessions["watcher"].connection
        return bool(
            await watcher.fetchval("SELECT bool_and(pg_blocking_pids(p) <> '{}') FROM unnest($1::int[]) p", pids)
        )
