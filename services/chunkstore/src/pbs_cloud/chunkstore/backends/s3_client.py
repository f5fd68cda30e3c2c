"""Requests to object storage: one connection pool per bucket, a time limit per attempt, a bounded number of them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeVar

import obstore
from obstore import exceptions as failures
from obstore.store import S3Store

from pbs_cloud.chunkstore.backends import late_writes
from pbs_cloud.contracts.errors import AlreadyExists, NotFound, PbsError, Unavailable
from pbs_cloud.runtime.logging import get_logger
from pbs_cloud.runtime.settings import Settings
from pbs_cloud.runtime.telemetry import Counter

T = TypeVar("T")

TOTAL_SECONDS = 28.0
"""A call gives up after this (below the session lease, architecture "Failure rules")."""

ATTEMPT_SECONDS = 20.0
UNANSWERED = (502, 504)
"""Answers of something in between, which say nothing about the request: it may still be on its way."""

_MAX_ATTEMPTS = 8
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 3.0
ATTEMPTS = Counter(
    "pbs_chunks_s3_attempts", "Requests to object storage, each attempt counted", ["operation", "outcome"]
)
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Where the bucket is; without keys the environment's credentials are used. `endpoint` None: Amazon's own."""

    bucket: str
    region: str
    endpoint: str | None
    access_key: str | None
    secret_key: str | None

    @classmethod
    def of(cls, settings: Settings) -> S3Settings:
        """From the settings of the process; `s3_bucket` must be set."""
        secret = settings.aws_secret_access_key
        return cls(
            bucket=settings.s3_bucket or "",
            region=settings.s3_region,
            endpoint=settings.s3_endpoint,
            access_key=settings.aws_access_key_id,
            secret_key=None if secret is None else secret.get_secret_value(),
        )


def data_client(settings: S3Settings) -> S3Store:
    """For lists and uploads in parts, which the client itself repeats request by request."""
    return _client(settings, 2)


def single_client(settings: S3Settings) -> S3Store:
    """For everything else: sends each request once, as `attempts` repeats, bounds and counts them."""
    return _client(settings, 0)


@lru_cache(maxsize=64)
def _client(settings: S3Settings, retries: int) -> S3Store:
    """Path style, SHA-256 checksum with every upload, `If-None-Match` for new objects."""
    keys: dict[str, Any] = {}
    if settings.access_key is not None:
        keys = {"access_key_id": settings.access_key, "secret_access_key": settings.secret_key}
    if settings.endpoint is not None:
        keys["endpoint"] = settings.endpoint
    return S3Store(
        settings.bucket,
        region=settings.region,
        virtual_hosted_style_request=False,
        checksum_algorithm="SHA256",
        conditional_put="etag",
        client_options={
            "allow_http": (settings.endpoint or "").startswith("http://"),
            "connect_timeout": timedelta(seconds=5),
            "read_timeout": timedelta(seconds=ATTEMPT_SECONDS),
            "timeout": timedelta(minutes=30),
            "default_content_type": "application/octet-stream",
        },
        retry_config={
            "max_retries": retries,
            "retry_timeout": timedelta(seconds=5),
            "backoff": {
                "init_backoff": timedelta(seconds=_FIRST_PAUSE),
                "max_backoff": timedelta(seconds=1),
                "base": 2,
            },
        },
        **keys,
    )


@lru_cache(maxsize=64)
def control_client(settings: S3Settings) -> Any:
    """boto3 for what the data client lacks: batch deletes that say which keys failed. Blocking; safe in threads.

    It repeats nothing: who deletes has to know whether an attempt got no answer and may still arrive.
    """
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        region_name=settings.region,
        endpoint_url=settings.endpoint,
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=settings.secret_key,
        config=Config(
            signature_version="s3v4",
            connect_timeout=5,
            read_timeout=ATTEMPT_SECONDS,
            retries={"total_max_attempts": 1, "mode": "standard"},
            s3={"addressing_style": "path"},
        ),
    )


async def attempts(operation: str, what: str, request: Callable[[], Awaitable[T]]) -> T:
    """The answer of `request`, repeated with growing, jittered pauses while the storage is away.

    Raises:
        NotFound, AlreadyExists (412): at once. Unavailable: refused, or no answer in `TOTAL_SECONDS`.
    """
    deadline, pause = time.monotonic() + TOTAL_SECONDS, _FIRST_PAUSE
    for attempt in range(1, _MAX_ATTEMPTS + 1):
        left = deadline - time.monotonic()
        try:
            async with asyncio.timeout(min(ATTEMPT_SECONDS, max(left, 1.0))):
                answer = await request()
        except (obstore.exceptions.BaseError, OSError) as error:
            ATTEMPTS.labels(operation, type(error).__name__).inc()
            known = as_pbs_error(error, what)
            if not isinstance(known, Unavailable) or isinstance(error, _REFUSED):
                raise known from error
            if attempt == _MAX_ATTEMPTS or left <= pause:
                _log.warning("object storage failed", operation=operation, attempts=attempt, error=str(error)[:500])
                raise known from error
        else:
            ATTEMPTS.labels(operation, "ok").inc()
            return answer
        await asyncio.sleep(pause * (0.5 + secrets.randbelow(1000) / 1000))
        pause = min(pause * 2, _LONGEST_PAUSE)
    raise Unavailable(f"{what}: object storage does not answer")


_REFUSED = (failures.PermissionDeniedError, failures.UnauthenticatedError, failures.InvalidPathError)


def as_pbs_error(error: Exception, what: str) -> PbsError:
    """The error of the taxonomy; nothing of the bucket's address is told."""
    if isinstance(error, failures.AlreadyExistsError | failures.PreconditionError):
        return AlreadyExists(f"{what} exists already")
    if isinstance(error, FileNotFoundError):
        return NotFound(f"{what} does not exist")
    if isinstance(error, _REFUSED):
        return Unavailable(f"{what}: object storage refused the request")
    late_writes.note()
    return Unavailable(f"{what}: object storage does not answer")
