"""The cache of callers: at most two seconds, and never longer than a change is known."""

from __future__ import annotations

import asyncio

import pytest

from pbs_cloud.contracts.auth import AuthClient, Credentials
from pbs_cloud.contracts.context import Caller
from pbs_cloud.contracts.errors import Unauthenticated, Unavailable
from pbs_cloud.gateway.authentication import Authenticator, wait_since
from pbs_cloud.runtime.clock import ManualClock

GOOD = Credentials(token_id="a@pbs!t", token_secret="good")


class CountingAuth(AuthClient):
    """Knows one token; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer = asyncio.Event()
        self.answer.set()
        self.error: Exception | None = None

    async def authenticate(self, credentials: Credentials, client_address: str = "") -> Caller:
        self.asked += 1
        await self.answer.wait()
        if self.error is not None:
            raise self.error
        if credentials.token_secret != "good":
            raise Unauthenticated("no such token")
        return Caller("tenant", "a@pbs!t")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def auth() -> CountingAuth:
    return CountingAuth()


@pytest.fixture
def authenticator(auth: CountingAuth, clock: ManualClock) -> Authenticator:
    return Authenticator(auth, clock)


async def test_two_seconds(authenticator: Authenticator, auth: CountingAuth, clock: ManualClock) -> None:
    await authenticator.authenticate(GOOD)
    await clock.advance(1.9)
    assert (await authenticator.authenticate(GOOD)).auth_id == "a@pbs!t"
    assert auth.asked == 1
    await clock.advance(0.2)
    await authenticator.authenticate(GOOD)
    assert auth.asked == 2


async def test_other_credentials_are_asked_for(authenticator: Authenticator, auth: CountingAuth) -> None:
    await authenticator.authenticate(GOOD)
    with pytest.raises(Unauthenticated, match=r"^authentication failed$"):
        await authenticator.authenticate(Credentials(token_id="a@pbs!t", token_secret="bad"))
    with pytest.raises(Unauthenticated):
        await authenticator.authenticate(Credentials(token_id="a@pbs!tgood", token_secret=""))
    assert auth.asked == 2


async def test_failures_are_not_kept(authenticator: Authenticator, auth: CountingAuth) -> None:
    auth.error = Unavailable("away")
    with pytest.raises(Unavailable):
        await authenticator.authenticate(GOOD)
    auth.error = None
    assert await authenticator.authenticate(GOOD)


async def test_nothing_to_ask(authenticator: Authenticator, auth: CountingAuth) -> None:
    for empty in (None, Credentials(), Credentials(ticket=""), Credentials(token_id="a@pbs!t", token_secret="")):
        with pytest.raises(Unauthenticated):
            await authenticator.authenticate(empty)
    assert auth.asked == 0


async def test_equal_questions_are_asked_once(authenticator: Authenticator, auth: CountingAuth) -> None:
    auth.answer.clear()
    waiting = [asyncio.create_task(authenticator.authenticate(GOOD)) for _ in range(20)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting[0].cancel()
    auth.answer.set()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert auth.asked == 1
    assert [type(result) for result in done[1:]] == [Caller] * 19


async def test_changes_drop_callers(authenticator: Authenticator, auth: CountingAuth) -> None:
    await authenticator.authenticate(GOOD)
    authenticator.drop("another")
    await authenticator.authenticate(GOOD)
    assert auth.asked == 1
    for change in (("tenant", None), ("tenant", "a@pbs"), (None, None)):
        asked = auth.asked
        authenticator.drop(*change)
        await authenticator.authenticate(GOOD)
        assert auth.asked == asked + 1


async def test_an_answer_from_before_a_change_is_not_kept(authenticator: Authenticator, auth: CountingAuth) -> None:
    auth.answer.clear()
    waiting = asyncio.create_task(authenticator.authenticate(GOOD))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    authenticator.drop()
    auth.answer.set()
    await waiting
    await authenticator.authenticate(GOOD)
    assert auth.asked == 2


async def test_delays_count_from_the_start(clock: ManualClock) -> None:
    await clock.advance(10)
    waiting = asyncio.create_task(wait_since(clock, 8, 3))
    await asyncio.sleep(0)
    assert not waiting.done()
    await clock.advance(1)
    await asyncio.wait_for(waiting, 1)
    await asyncio.wait_for(wait_since(clock, 1, 3), 1)
