"""From a datastore row to its backend."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from pbs_cloud.chunkstore.backends.local import LocalBackend
from pbs_cloud.chunkstore.backends.paths import check_absolute, check_prefix
from pbs_cloud.chunkstore.backends.port import ChunkBackend, StoreLocation
from pbs_cloud.chunkstore.backends.s3 import S3Backend
from pbs_cloud.chunkstore.backends.s3_client import S3Settings
from pbs_cloud.contracts.errors import InvalidArgument
from pbs_cloud.runtime.settings import Settings

MARK_PREFIX = "pbs-cloud-"
"""Before the datastore's uuid in our mark."""


def store_location(row: Mapping[str, Any]) -> StoreLocation:
    """From a datastore row with the columns `backend_type`, `location`, `config` and `uuid`."""
    return StoreLocation(row["backend_type"], row["location"], str(row["uuid"]), dict(row["config"]))


def open_backend(settings: Settings, store: StoreLocation, executor: Executor) -> ChunkBackend:
    """The backend of one datastore; nothing is touched before its first call. `executor` runs all blocking work.

    Raises:
        InvalidArgument: the row's type or location is not usable with these settings.
    """
    mark = f"{MARK_PREFIX}{store.uuid}" if store.uuid else "pbs-cloud"
    if store.backend_type == "filesystem" and store.location.startswith("/"):
        return LocalBackend(Path(check_absolute(store.location)), executor, mark=mark)
    location = check_prefix(store.location, "location")
    if store.backend_type == "filesystem":
        return LocalBackend(settings.data_dir / location, executor, mark=mark)
    if store.backend_type != "s3":
        raise InvalidArgument(f"unknown backend type {store.backend_type!r}", field="backend")
    if settings.s3_bucket is None:
        raise InvalidArgument("object storage is not set up (PBS_S3_BUCKET)", field="backend")
    prefix = "/".join(part for part in (settings.s3_prefix.strip("/"), location) if part)
    return S3Backend(S3Settings.of(settings), prefix, executor, mark=mark)
