"""What lies in the storage of a datastore, for acts that damage it or look at it: a directory, or keys of a bucket."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import uuid
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from pbs_cloud.chunkstore.backends.local_layout import MARK_NAME, store_owner
from pbs_cloud.chunkstore.backends.opening import MARK_PREFIX
from pbs_cloud.formats import layout

_LONG_AGO = 1e9


class Storage(StrEnum):
    """Where the walk's datastores are."""

    DIRECTORY = "directory"
    BUCKET = "bucket"


class Place(Protocol):
    """The objects of one datastore by their relative path of `formats.layout`."""

    async def read(self, path: str) -> bytes | None:
        """Content; None if there is nothing."""

    async def write(self, path: str, content: bytes) -> None:
        """Put or replace, as old as the storage lets it be."""

    async def remove(self, path: str) -> None:
        """Take away what is there."""

    async def copy_to(self, target: Any) -> None:
        """All of it to a new place of the same kind, without the mark."""

    async def mark(self) -> None:
        """As a product of ours marks it that nobody here knows."""

    async def clear(self) -> None:
        """Remove all of it."""


def _strange_mark() -> bytes:
    return json.dumps({"hostname": f"{MARK_PREFIX}{uuid.uuid4()}"}).encode()


class Directory:
    """A datastore in a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def read(self, path: str) -> bytes | None:
        try:
            return (self.path / path).read_bytes()
        except FileNotFoundError:
            return None

    async def write(self, path: str, content: bytes) -> None:
        file = self.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        os.utime(file, (_LONG_AGO, _LONG_AGO))
        _owned((file,))

    async def remove(self, path: str) -> None:
        (self.path / path).unlink(missing_ok=True)

    async def copy_to(self, target: Directory) -> None:
        shutil.copytree(self.path, target.path)
        (target.path / MARK_NAME).unlink()
        _owned((target.path, *target.path.rglob("*")))

    async def mark(self) -> None:
        (self.path / MARK_NAME).write_bytes(_strange_mark())
        _owned((self.path / MARK_NAME,))

    async def clear(self) -> None:
        shutil.rmtree(self.path)


def _owned(paths: Sequence[Path]) -> None:
    """They belong to whom a datastore belongs."""
    owner = store_owner()
    for path in paths:
        if owner is not None:
            os.chown(path, owner.uid, owner.gid)


class Prefix:
    """A datastore in a bucket; ``client``: boto3."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self.prefix = prefix

    async def read(self, path: str) -> bytes | None:
        return await asyncio.to_thread(self._read, self._key(path))

    async def write(self, path: str, content: bytes) -> None:
        await asyncio.to_thread(self._client.put_object, Bucket=self._bucket, Key=self._key(path), Body=content)

    async def remove(self, path: str) -> None:
        await asyncio.to_thread(self._client.delete_object, Bucket=self._bucket, Key=self._key(path))

    async def copy_to(self, target: Prefix) -> None:
        for key in await asyncio.to_thread(self._keys):
            if key != layout.in_use_key(self.prefix):
                where = {"Bucket": self._bucket, "Key": target.prefix + key.removeprefix(self.prefix)}
                source = {"Bucket": self._bucket, "Key": key}
                await asyncio.to_thread(self._client.copy_object, **where, CopySource=source)

    async def mark(self) -> None:
        where = {"Bucket": self._bucket, "Key": layout.in_use_key(self.prefix)}
        await asyncio.to_thread(self._client.put_object, **where, Body=_strange_mark())

    async def clear(self) -> None:
        for key in await asyncio.to_thread(self._keys):
            await asyncio.to_thread(self._client.delete_object, Bucket=self._bucket, Key=key)

    def _key(self, path: str) -> str:
        inside = path.startswith(f"{layout.CHUNK_DIR}/")
        return f"{self.prefix}/{path}" if inside else layout.content_key(self.prefix, path)

    def _read(self, key: str) -> bytes | None:
        try:
            content: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except self._client.exceptions.NoSuchKey:
            return None
        return content

    def _keys(self) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=f"{self.prefix}/")
        return [entry["Key"] for page in pages for entry in page.get("Contents", ())]
