"""A model of object storage below the real `S3Backend` and `S3Deleter`: it takes the place of their client libraries.

Requests may come late, twice, never, without an answer, and long after the process that sent them has died; the store
refuses signatures that are more than 15 minutes off its clock (formats 9.9).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError
from obstore import exceptions as failures
from testkit.simulator.loop import CURRENT, Process, SimLoop
from testkit.simulator.patching import EPOCH

SIGNATURE_SECONDS = 900.0
ATTEMPT_SECONDS = 20.0
_WORLD = Context()


@dataclass(slots=True)
class Object:
    data: bytes
    changed: float


class Fate(Enum):
    """What happens to one request."""

    ANSWERED = "answered"
    REFUSED = "refused"
    UNANSWERED = "unanswered"
    LATE = "late"
    LOST = "lost"
    TWICE = "twice"


_MISHAPS = (Fate.REFUSED, Fate.UNANSWERED, Fate.LATE, Fate.LATE, Fate.LOST, Fate.TWICE)


class Bucket:
    """Objects by key. `trouble`: probability that something happens to a request. `late`: the longest way it takes."""

    def __init__(self, loop: SimLoop, *, trouble: float = 0.0, late: float = 960.0) -> None:
        self.loop = loop
        self.objects: dict[str, Object] = {}
        self.trouble = trouble
        self.late = late
        self.away = False
        self.requests = 0
        self.in_flight = 0

    # ------------------------------------------------------------------------------------------------ requests

    def _fate(self) -> Fate:
        self.requests += 1
        if self.away:
            return Fate.REFUSED
        rng = self.loop.rng
        if self.trouble and rng.random() < self.trouble:
            return _MISHAPS[int(rng.random() * len(_MISHAPS))]
        return Fate.ANSWERED

    def _delay(self) -> float:
        rng = self.loop.rng
        return 0.001 + rng.random() * rng.random() * 0.05

    def _late(self) -> float:
        """Often seconds, sometimes as long as a signature is good."""
        rng = self.loop.rng
        return rng.random() * (self.late if rng.random() < 0.5 else min(self.late, 90.0))

    def _arrives(self, signed: float, effect: Callable[[], Any]) -> Any:
        """What the store makes of a request. Raises what its answer means to a client."""
        if abs(EPOCH + self.loop.now - signed) > SIGNATURE_SECONDS:
            raise failures.PermissionDeniedError("RequestTimeTooSkewed")
        return effect()

    async def send(self, effect: Callable[[], Any]) -> Any:
        """A request of the client library of the data path, and its answer."""
        signed = _wall()
        fate = self._fate()
        answer: asyncio.Future[Any] = self.loop.create_future()
        if fate is Fate.LOST:
            return await asyncio.sleep(3600)
        if fate is Fate.REFUSED:
            await asyncio.sleep(self._delay())
            raise failures.GenericError("503 Slow Down")
        told = fate is Fate.ANSWERED  # what was answered does not strike again: all of formats 9.9 rests on that
        self._deliver(self._late() if fate is Fate.LATE else self._delay(), signed, effect, answer if told else None)
        if fate is Fate.TWICE:
            self._deliver(self._late(), signed, effect, None)
        return await answer

    def _deliver(
        self, seconds: float, signed: float, effect: Callable[[], Any], answer: asyncio.Future[Any] | None
    ) -> None:
        self.in_flight += 1

        def arrive() -> None:
            self.in_flight -= 1
            try:
                result, error = self._arrives(signed, effect), None
            except Exception as found:
                result, error = None, found
            if answer is not None:
                self.loop.call_later(self._delay(), _resolve, answer, result, error, context=_WORLD)

        self.loop.call_later(seconds, arrive, context=_WORLD)

    # ------------------------------------------------------------------------------------------------ what it does

    def put(self, key: str, data: bytes, *, only_new: bool) -> None:
        if only_new and key in self.objects:
            raise failures.AlreadyExistsError("412 Precondition Failed")
        self.objects[key] = Object(data, EPOCH + self.loop.now)

    def get(self, key: str) -> bytes:
        found = self.objects.get(key)
        if found is None:
            raise FileNotFoundError(key)
        return found.data

    def copy(self, source: str, target: str) -> None:
        self.put(target, self.get(source), only_new=False)

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.objects.pop(key, None)

    def below(self, prefix: str) -> list[dict[str, Any]]:
        return [
            {"path": key, "size": len(found.data), "last_modified": datetime.fromtimestamp(found.changed, UTC)}
            for key, found in sorted(self.objects.items())
            if key.startswith(prefix)
        ]


def _wall() -> float:
    return EPOCH + CURRENT.get().skew + asyncio.get_running_loop().time()


def _resolve(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def obstore_of(bucket: Bucket) -> SimpleNamespace:
    """What the backends use of the module `obstore`."""

    async def put_async(_store: Any, key: str, content: Any, *, mode: str = "overwrite", **_: Any) -> None:
        data = content if isinstance(content, bytes) else b"".join([bytes(piece) async for piece in content])
        await bucket.send(lambda: bucket.put(key, data, only_new=mode == "create"))

    async def get_async(_store: Any, key: str) -> _Result:
        return _Result(await bucket.send(lambda: bucket.get(key)))

    async def head_async(_store: Any, key: str) -> Mapping[str, Any]:
        return {"size": len(await bucket.send(lambda: bucket.get(key)))}

    async def copy_async(_store: Any, source: str, target: str) -> None:
        await bucket.send(lambda: bucket.copy(source, target))

    async def delete_async(_store: Any, key: str) -> None:
        await bucket.send(lambda: bucket.delete([key]))

    async def list_(_store: Any, prefix: str, chunk_size: int = 1000) -> AsyncIterator[list[dict[str, Any]]]:
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                found = await bucket.send(lambda: bucket.below(prefix))
        except TimeoutError as error:
            raise failures.GenericError("timed out") from error
        for start in range(0, len(found), chunk_size):
            yield found[start : start + chunk_size]

    return SimpleNamespace(
        put_async=put_async, get_async=get_async, head_async=head_async, copy_async=copy_async,
        delete_async=delete_async, list=list_, exceptions=failures,
    )  # fmt: skip


@dataclass(slots=True)
class _Result:
    data: bytes

    async def bytes_async(self) -> bytes:
        return self.data

    async def stream(self, min_chunk_size: int = 0) -> AsyncIterator[bytes]:
        yield self.data


class BatchClient:
    """What is used of boto3, called in a thread; `fence` runs between signing and sending, as with the real client."""

    def __init__(self, bucket: Bucket, *, fence: Callable[[], None] = lambda: None) -> None:
        self._bucket = bucket
        self._fence = fence

    def delete_objects(self, Bucket: str, Delete: Mapping[str, Any]) -> dict[str, Any]:
        """The answer is known at once, the caller gets it when `blocking_seconds` are over."""
        keys = [entry["Key"] for entry in Delete["Objects"]]
        bucket, loop, signed = self._bucket, self._bucket.loop, _wall()
        self._fence()
        fate = bucket._fate()
        if fate is Fate.REFUSED or abs(EPOCH + loop.now - signed) > SIGNATURE_SECONDS:
            loop.blocking_seconds += bucket._delay()
            raise _client_error(503)
        if fate is Fate.LOST:
            loop.blocking_seconds += ATTEMPT_SECONDS
            raise ReadTimeoutError(endpoint_url="")
        if fate in (Fate.LATE, Fate.UNANSWERED):
            late = bucket._late() if fate is Fate.LATE else bucket._delay()
            bucket._deliver(loop.blocking_seconds + late, signed, lambda: bucket.delete(keys), None)
            loop.blocking_seconds += ATTEMPT_SECONDS
            raise ReadTimeoutError(endpoint_url="")
        failed = [key for key in keys if bucket.trouble and loop.rng.random() < bucket.trouble]
        done = [key for key in keys if key not in failed]
        delay = bucket._delay()
        bucket._deliver(loop.blocking_seconds + delay, signed, lambda: bucket.delete(done), None)
        loop.blocking_seconds += delay + bucket._delay()
        return {"Errors": [{"Key": key, "Code": "InternalError"} for key in failed]}


def _client_error(status: int) -> ClientError:
    return ClientError({"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": "SlowDown"}}, "DeleteObjects")


def skewed_beyond(process: Process) -> bool:
    """Whether the store refuses everything that the process signs."""
    return abs(process.skew) > SIGNATURE_SECONDS
