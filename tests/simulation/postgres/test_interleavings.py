"""The model against a real Postgres: the same interleavings of sessions end the same, and the same sessions wait."""

from __future__ import annotations

import random

import pytest
from simulation.postgres.both import Clock
from simulation.postgres.interleaving import Server, on_model
from simulation.postgres.random_arguments import Arguments
from simulation.postgres.scenarios import SCENARIOS, Scenario, Step
from simulation.postgres.statements_of_services import all_statements
from testkit.simulator.postgres import SimPostgres

pytestmark = pytest.mark.asyncio(loop_scope="module")
RANDOM = 50
_TABLES = ("chunk", "session", "snapshot", "usage_counter", "datastore", "gc_run", "backup_group", "pin", "outbox")
_CHANGES = ("UPDATE", "INSERT", "DELETE", "FOR ")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name.replace(" ", "-"))
async def test_same_interleaving(servers: dict[str, Server], scenario: Scenario) -> None:
    expected = await on_model(scenario)
    assert sorted({name for _, _, waits in expected for name in waits}) == sorted(scenario.waits)
    assert await servers[scenario.schema].trace(scenario, expected) == expected


def _contended() -> list[tuple[str, Arguments]]:
    """Statements that lock or change something, with arguments that mostly name the same rows."""
    storage = SimPostgres(Clock()).storage("chunkstore")
    return [
        (found.text, Arguments(found.text, storage.statement(found.text).types, narrow=True))
        for found in all_statements()
        if found.schema == "chunkstore"
        and "staged_" not in found.text
        and any(word in found.text for word in _TABLES)
        and any(word in found.text for word in _CHANGES)
    ]


def _drawn(statements: list[tuple[str, Arguments]], seed: int) -> Scenario:
    """Two transactions: B begins after A has done something, and goes on when A has ended."""
    rng = random.Random(seed)

    def steps(*names: str) -> list[Step]:
        text, arguments = rng.choice(statements)
        return [(name, text, *arguments.make(rng)) for name in names]

    both = steps("A", "B") if rng.random() < 0.6 else [*steps("A"), *steps("B")]
    begins: list[Step] = [("A", "begin"), ("B", rng.choice(["begin", "begin", "begin isolated"]))]
    end: Step = ("A", rng.choice(["commit", "commit", "roll back"]))
    return Scenario(f"random {seed}", [*begins, *steps("A"), *both, end, *steps("B"), ("B", "commit")])


async def test_same_random_interleavings(servers: dict[str, Server]) -> None:
    statements = _contended()
    waited = 0
    for seed in range(RANDOM):
        scenario = _drawn(statements, seed)
        expected = await on_model(scenario)
        waited += any(waits for _, _, waits in expected)
        found = await servers["chunkstore"].trace(scenario, expected)
        assert found == expected, f"{scenario}"
    assert waited > RANDOM // 25
