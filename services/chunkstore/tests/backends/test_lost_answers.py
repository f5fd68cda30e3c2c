"""Requests that a bucket carries out and whose answers get lost: what was done is found to be done."""

import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from testkit.late_requests import LateRequests, putting

from pbs_cloud.chunkstore.backends import s3_client
from pbs_cloud.chunkstore.backends.s3 import S3Backend
from pbs_cloud.chunkstore.backends.s3_client import S3Settings
from pbs_cloud.contracts.errors import Conflict

from .conftest import MARK


@pytest.fixture
async def proxy(s3_settings: S3Settings) -> AsyncIterator[LateRequests]:
    """Between the backend and the bucket."""
    found = await LateRequests(s3_settings.endpoint or "", lambda _bucket, _keys: None).start()
    yield found
    await found.stop()


def new_store(settings: S3Settings, proxy: LateRequests, executor: ThreadPoolExecutor, mark: str = MARK) -> S3Backend:
    return S3Backend(replace(settings, endpoint=proxy.endpoint), f"lost/{uuid.uuid4()}", executor, mark=mark)


@pytest.mark.parametrize("answers", [1, 100])
async def test_a_store_whose_mark_was_written_unheard_is_made(
    s3_settings: S3Settings,
    proxy: LateRequests,
    executor: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
    answers: int,
) -> None:
    """Whether a second attempt finds it there (412) or none is answered at all."""
    monkeypatch.setattr(s3_client, "_MAX_ATTEMPTS", 2)
    backend = new_store(s3_settings, proxy, executor)
    rule = proxy.drop_answers(putting(".in-use"), times=answers)
    await backend.create()
    assert rule.caught
    await backend.check()


async def test_a_mark_of_somebody_else_that_came_first_stays(
    s3_settings: S3Settings, proxy: LateRequests, executor: ThreadPoolExecutor
) -> None:
    """Both looked and found nothing."""
    first = new_store(s3_settings, proxy, executor, mark="pbs-cloud-first")
    second = S3Backend(replace(s3_settings, endpoint=proxy.endpoint), first.prefix, executor, mark="pbs-cloud-second")
    await first._put_mark()
    with pytest.raises(Conflict, match="pbs-cloud-first"):
        await second._put_mark()
    await first.check()
