"""Deleting objects so that nothing strikes late: every request is fenced by the machine's clock (formats 9.9)."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from pbs_cloud.chunkstore.backends.local import LocalBackend
from pbs_cloud.chunkstore.backends.port import ChunkBackend
from pbs_cloud.chunkstore.backends.s3 import S3Backend
from pbs_cloud.chunkstore.backends.s3_client import UNANSWERED, S3Settings
from pbs_cloud.contracts.errors import Internal
from pbs_cloud.formats import layout
from pbs_cloud.runtime.settings import Settings
from pbs_cloud.runtime.telemetry import Counter

FENCE_SECONDS = 60.0
"""A request that was not sent so long after its transaction is not sent at all."""

BATCH_KEYS = 1000
_READ_SECONDS = 20.0
_OUTCOMES = Counter("pbs_chunks_deleted", "Objects whose deletion was asked for", ["outcome"])
_fence = threading.local()


class FencedOff(Exception):
    """The worker slept too long between its transaction and its request."""


@dataclass(frozen=True, slots=True)
class Doomed:
    """A chunk to delete; ``bad``: its set-aside copies go too."""

    digest: bytes
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """Digests by what happened; ``refused``: there was an answer, and it was no; the rest got none."""

    deleted: frozenset[bytes]
    refused: frozenset[bytes]


class Deleter(Protocol):
    """Deletes the objects of one datastore. Implemented for a directory and for a bucket."""

    async def delete(self, chunks: Sequence[Doomed], began: float) -> Outcome:
        """`began`: boot time (`boot_time()`) of before the transaction that allowed it."""


def boot_time() -> float:
    """Seconds that also pass while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def deleter_for(backend: ChunkBackend, settings: Settings, executor: Executor) -> Deleter:
    """The deleter of a backend."""
    if isinstance(backend, LocalBackend):
        return LocalDeleter(backend, executor)
    if isinstance(backend, S3Backend):
        return S3Deleter(S3Settings.of(settings), backend.prefix, executor)
    raise Internal("the storage cannot be swept")


class LocalDeleter:
    """Unlinks; the caller holds the digests' locks, so nothing can be late."""

    def __init__(self, backend: LocalBackend, executor: Executor) -> None:
        self._backend = backend
        self._executor = executor

    async def delete(self, chunks: Sequence[Doomed], began: float) -> Outcome:
        if bad := [chunk.digest for chunk in chunks if chunk.bad]:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._unlink_bad, bad)
        digests = [chunk.digest for chunk in chunks]
        failed = frozenset(await self._backend.delete_chunks(digests))
        return Outcome(frozenset(digests) - failed, failed)

    def _unlink_bad(self, digests: Sequence[bytes]) -> None:
        for digest in digests:
            for number in range(layout.MAX_BAD_COPIES):
                with contextlib.suppress(OSError):
                    (self._backend.path / layout.bad_chunk_path(digest, number)).unlink(missing_ok=True)


class S3Deleter:
    """Batch deletes, each request sent at most once."""

    def __init__(self, settings: S3Settings, prefix: str, executor: Executor) -> None:
        self._settings = settings
        self._prefix = prefix
        self._executor = executor

    async def delete(self, chunks: Sequence[Doomed], began: float) -> Outcome:
        if bad := [chunk.digest for chunk in chunks if chunk.bad]:
            copies = [layout.bad_chunk_key(self._prefix, d, n) for d in bad for n in range(layout.MAX_BAD_COPIES)]
            await self.delete_keys(copies, began)
        by_key = {layout.chunk_key(self._prefix, chunk.digest): chunk.digest for chunk in chunks}
        deleted, refused = await self.delete_keys(list(by_key), began)
        return Outcome(frozenset(by_key[key] for key in deleted), frozenset(by_key[key] for key in refused))

    async def delete_keys(self, keys: Sequence[str], began: float) -> tuple[set[str], set[str]]:
        """Keys that are gone, and keys whose deletion was refused."""
        deleted: set[str] = set()
        refused: set[str] = set()
        for start in range(0, len(keys), BATCH_KEYS):
            part = keys[start : start + BATCH_KEYS]
            loop = asyncio.get_running_loop()
            done, failed = await loop.run_in_executor(self._executor, self._request, part, began)
            deleted |= done
            refused |= failed
        _OUTCOMES.labels("deleted").inc(len(deleted))
        _OUTCOMES.labels("refused").inc(len(refused))
        _OUTCOMES.labels("unanswered").inc(len(keys) - len(deleted) - len(refused))
        return deleted, refused

    def _request(self, keys: Sequence[str], began: float) -> tuple[set[str], set[str]]:
        from botocore.exceptions import BotoCoreError, ClientError

        client = _client(self._settings)
        body = {"Objects": [{"Key": key} for key in keys], "Quiet": False}
        _fence.until = began + FENCE_SECONDS
        try:
            answer = client.delete_objects(Bucket=self._settings.bucket, Delete=body)
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 504)
            return set(), set() if status in UNANSWERED else set(keys)
        except FencedOff:
            return set(), set(keys)
        except BotoCoreError:
            return set(), set()
        errors = {str(error["Key"]): error.get("Code") for error in answer.get("Errors", ())}
        refused = {key for key in keys if errors.get(key, "NoSuchKey") != "NoSuchKey"}
        return set(keys) - refused, refused


@lru_cache(maxsize=64)
def _client(settings: S3Settings) -> Any:
    """boto3 without repetition: an attempt that is repeated unseen could strike when its row is long gone."""
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        region_name=settings.region,
        endpoint_url=settings.endpoint,
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=settings.secret_key,
        config=Config(
            signature_version="s3v4",
            connect_timeout=5,
            read_timeout=_READ_SECONDS,
            retries={"total_max_attempts": 1, "mode": "standard"},
            s3={"addressing_style": "path"},
        ),
    )
    client.meta.events.register("before-send.s3.DeleteObjects", _refuse_late)
    return client


def _refuse_late(**_: Any) -> None:
    """Runs when the request is signed, right before it is sent."""
    if boot_time() > getattr(_fence, "until", 0.0):
        raise FencedOff("too late to send")
