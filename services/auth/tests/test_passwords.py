"""Password hashes: equal work, bounded queues, memory of right passwords."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from testkit.auth_service import ShiftedClock

from pbs_cloud.auth.passwords import Passwords
from pbs_cloud.contracts.errors import RateLimited


class Counting(Passwords):
    """Counts how often a hash is computed."""

    work = 0

    def _matches(self, stored: str, password: str) -> bool:
        self.work += 1
        return super()._matches(stored, password)


@pytest.fixture
async def passwords() -> AsyncIterator[Counting]:
    made = Counting(ShiftedClock())
    yield made
    await made.stop()


async def test_right_and_wrong(passwords: Counting) -> None:
    stored = await passwords.hash("first-secret")
    assert stored.startswith("$argon2id$")
    assert await passwords.hash("first-secret") != stored
    assert await passwords.verify("a@pbs", stored, "first-secret")
    assert not await passwords.verify("a@pbs", stored, "other-secret")
    assert not await passwords.verify("a@pbs", "no hash at all", "first-secret")


async def test_an_unknown_user_costs_the_same_work(passwords: Counting) -> None:
    for _ in range(3):
        assert not await passwords.verify("nobody@pbs", None, "first-secret")
    assert passwords.work == 3


async def test_right_passwords_are_remembered_for_a_minute_wrong_ones_never(passwords: Counting) -> None:
    stored = await passwords.hash("first-secret")
    for _ in range(3):
        assert await passwords.verify("a@pbs", stored, "first-secret")
    assert passwords.work == 1
    for _ in range(2):
        assert not await passwords.verify("a@pbs", stored, "other-secret")
    assert passwords.work == 3
    assert await passwords.verify("b@pbs", stored, "first-secret")
    assert passwords.work == 4, "what is known of one user says nothing about another"
    clock = passwords._clock
    assert isinstance(clock, ShiftedClock)
    clock.shift += 61
    assert await passwords.verify("a@pbs", stored, "first-secret")
    assert passwords.work == 5


async def test_parts_of_the_key_cannot_be_shifted(passwords: Counting) -> None:
    keys = {passwords._memory_key(*parts) for parts in (("ab", "c", "d"), ("a", "bc", "d"), ("a", "b", "cd"))}
    assert len(keys) == 3


async def test_a_flood_is_refused_and_does_not_last(passwords: Counting) -> None:
    stored = await passwords.hash("first-secret")
    flood = [asyncio.create_task(passwords.verify("a@pbs", stored, f"wrong-{n}")) for n in range(220)]
    await asyncio.sleep(0)
    refused = [task for task in flood if task.done() and isinstance(task.exception(), RateLimited)]
    assert len(refused) == 20
    for task in flood:
        task.cancel()
    await asyncio.gather(*flood, return_exceptions=True)
    assert await passwords.verify("a@pbs", stored, "first-secret")
