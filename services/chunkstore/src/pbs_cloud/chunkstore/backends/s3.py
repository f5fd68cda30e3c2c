"""A datastore in a bucket, with the keys of a real PBS (formats 8)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import Executor
from typing import Any, Literal, TypeVar

import obstore
from obstore.exceptions import BaseError

from pbs_cloud.chunkstore.backends.paths import check_key, directory_of, holds_snapshots
from pbs_cloud.chunkstore.backends.port import READ_PIECE, Buffer, Space
from pbs_cloud.chunkstore.backends.s3_client import (
    ATTEMPT_SECONDS,
    ATTEMPTS,
    UNANSWERED,
    S3Settings,
    as_pbs_error,
    attempts,
    control_client,
    data_client,
    single_client,
)
from pbs_cloud.contracts.errors import AlreadyExists, Conflict, InvalidArgument, NotFound, Unavailable
from pbs_cloud.formats import layout
from pbs_cloud.formats.errors import FormatError

T = TypeVar("T")

_SINGLE_PUT_LIMIT = 8 * 1024 * 1024
_DELETE_BATCH = 1000
_DELETE_ATTEMPTS = 4
_DELETE_PAUSE = 0.1
_TEST_NAME = ".s3-client-test"


class S3Backend:
    """`ChunkBackend` on the keys below `prefix`, whose last component is the store's name for a real PBS."""

    kind = "s3"
    immediate = True

    def __init__(self, settings: S3Settings, prefix: str, executor: Executor, *, mark: str) -> None:
        self.prefix = prefix
        self._settings = settings
        self._store = single_client(settings)
        self._patient = data_client(settings)
        self._executor = executor
        self._mark = mark

    # ------------------------------------------------------------------------------------------------ the store

    async def create(self, *, reuse: bool = False) -> None:
        holder = await self._marked_by()
        if holder is not None and holder != self._mark:
            raise Conflict(f"the bucket's prefix is in use by {holder or 'another server'}")
        if not reuse and (holder is not None or await self._has_objects()):
            raise AlreadyExists("the bucket's prefix holds a datastore already")
        if holder is None:
            await self._put_mark()

    async def _put_mark(self) -> None:
        """Unless somebody else's is there by now. One that is ours was written by an attempt without an answer."""
        content = json.dumps({"hostname": self._mark}).encode()
        try:
            await self._put("create", "the mark", layout.in_use_key(self.prefix), content, only_new=True)
        except (AlreadyExists, Unavailable):
            holder = await self._marked_by()
            if holder is None:
                raise
            if holder != self._mark:
                raise Conflict(f"the bucket's prefix is in use by {holder or 'another server'}") from None

    async def complete(self) -> None:
        """Nothing is left for later in a bucket."""

    async def check(self) -> None:
        holder = await self._marked_by()
        if holder is None:
            raise NotFound("the bucket's prefix holds no datastore (no mark)")
        if holder != self._mark:
            raise Conflict(f"the bucket's prefix is in use by {holder or 'another server'}")
        await self._put("check", "the test object", f"{self.prefix}/{_TEST_NAME}", b"", only_new=False)
        await self._delete_one("check", f"{self.prefix}/{_TEST_NAME}")

    async def is_marked(self) -> bool:
        return await self._marked_by() == self._mark

    async def used_by_another(self) -> str | None:
        """Host name in a mark that is not ours; empty if it cannot be read, None without one."""
        holder = await self._marked_by()
        return None if holder == self._mark else holder

    async def own(self) -> None:
        """Nothing: rows in the database decide between the writers of a bucket."""

    async def close(self) -> None:
        """Nothing: connections are shared by all stores of the process."""

    async def destroy(self) -> None:
        await self._delete_all(self.prefix, keep=layout.in_use_key(self.prefix))
        await self._delete_one("destroy", layout.in_use_key(self.prefix))

    async def release(self) -> None:
        await self._delete_one("release", layout.in_use_key(self.prefix))

    async def space(self) -> Space | None:
        return None

    # ------------------------------------------------------------------------------------------------ chunks

    async def write_chunk(
        self, digest: bytes, parts: Sequence[Buffer], *, only_new: bool, durable: bool = False
    ) -> bool:
        key = layout.chunk_key(self.prefix, digest)
        try:
            await self._put("put_chunk", f"chunk {digest.hex()}", key, parts, only_new=only_new)
        except AlreadyExists:
            return False
        return True

    async def read_chunk(self, digest: bytes, location: str | None = None) -> bytes:
        return bytes(await self._get_chunk(digest, location))

    async def read_chunk_into(self, digest: bytes, location: str | None, target: memoryview) -> int:
        content = await self._get_chunk(digest, location)
        size = len(content)
        if size > len(target):
            raise InvalidArgument(f"capacity: the object has {size} bytes", field="capacity")
        target[:size] = memoryview(content)
        return size

    async def chunk_size(self, digest: bytes, location: str | None = None) -> int:
        key = location or layout.chunk_key(self.prefix, digest)
        return await self._size(f"chunk {digest.hex()}", key)

    async def sync(self) -> None:
        """Nothing: an answered PUT is durable."""

    async def set_aside_chunk(self, digest: bytes) -> None:
        keys = [layout.bad_chunk_key(self.prefix, digest, number) for number in range(layout.MAX_BAD_COPIES)]
        taken = set(await self._list_keys(layout.chunk_key(self.prefix, digest).rpartition("/")[0] + "/"))
        target = next((key for key in keys if key not in taken), keys[-1])
        what, source = f"chunk {digest.hex()}", layout.chunk_key(self.prefix, digest)
        await attempts("copy", what, lambda: obstore.copy_async(self._store, source, target))

    async def delete_chunks(self, digests: Sequence[bytes]) -> list[bytes]:
        by_key = {layout.chunk_key(self.prefix, digest): digest for digest in digests}
        failed, _late = await self._delete_keys(list(by_key))
        return [by_key[key] for key in failed]

    # ------------------------------------------------------------------------------------------------ files

    async def put_file(self, key: str, pieces: AsyncIterable[bytes] | bytes, *, only_new: bool = False) -> int:
        target = self._content_key(key)
        if isinstance(pieces, bytes | bytearray | memoryview):
            await self._put("put_file", key, target, pieces, only_new=only_new)
            return len(pieces)
        head = bytearray()
        source = aiter(pieces)
        async for piece in source:
            head += piece
            if len(head) > _SINGLE_PUT_LIMIT:
                if only_new and await self._exists(key, target):
                    raise AlreadyExists(f"{key} exists already")
                return await self._put_large(key, target, bytes(head), source)
        await self._put("put_file", key, target, bytes(head), only_new=only_new)
        return len(head)

    async def read_file(self, key: str) -> AsyncIterator[bytes]:
        target = self._content_key(key)
        result = await attempts("get_file", key, lambda: obstore.get_async(self._store, target))
        try:
            async for part in result.stream(min_chunk_size=READ_PIECE):
                view = memoryview(part)
                for start in range(0, len(view), READ_PIECE):
                    yield bytes(view[start : start + READ_PIECE])
        except (BaseError, OSError) as error:
            raise as_pbs_error(error, key) from error

    async def file_size(self, key: str) -> int:
        return await self._size(key, self._content_key(key))

    async def copy_file(self, source: str, target: str) -> None:
        old, new = self._content_key(source), self._content_key(target)
        await attempts("copy", source, lambda: obstore.copy_async(self._store, old, new))

    async def delete_file(self, key: str) -> None:
        await self._delete_one("delete_file", self._content_key(key))

    async def delete_tree(self, prefix: str) -> bool:
        folder = directory_of(prefix)
        found = layout.content_prefix(self.prefix, folder)
        if not layout.is_folder_of_snapshots(folder):
            return await self._delete_all(found)
        keys = [key async for key, _size in self._list(found)]
        if any(layout.is_snapshot_file(key.rpartition("/")[2]) for key in keys):
            raise holds_snapshots(folder)
        return await self._delete_or_fail(keys)

    async def list_files(self, prefix: str = "") -> AsyncIterator[tuple[str, int]]:
        root = layout.content_prefix(self.prefix)
        start = layout.content_prefix(self.prefix, directory_of(prefix)) if prefix else root
        async for key, size in self._list(start):
            if not key.endswith(f"/{layout.NAMESPACE_MARKER_NAME}"):
                yield key.removeprefix(root), size

    async def make_namespace(self, path: str) -> None:
        levels = directory_of(path).split("/")
        for depth in range(2, len(levels) + 1, 2):
            key = "/".join((*levels[:depth], layout.NAMESPACE_MARKER_NAME))
            with contextlib.suppress(AlreadyExists):
                await self._put("namespace", key, self._content_key(key), b"", only_new=True)

    async def remove_namespace(self, path: str) -> None:
        await self.delete_tree(path)

    # ------------------------------------------------------------------------------------------------ requests

    def _content_key(self, key: str) -> str:
        try:
            return layout.content_key(self.prefix, check_key(key))
        except FormatError as error:
            raise InvalidArgument(str(error), field="key") from error

    async def _put(
        self, operation: str, what: str, key: str, content: Buffer | Sequence[Buffer], *, only_new: bool
    ) -> None:
        whole = content if isinstance(content, bytes) else _joined(content)
        mode: Literal["create", "overwrite"] = "create" if only_new else "overwrite"

        def request() -> Any:
            return obstore.put_async(self._store, key, whole, mode=mode, use_multipart=False)

        await attempts(operation, what, request)

    async def _put_large(self, what: str, key: str, head: bytes, rest: AsyncIterable[bytes]) -> int:
        """A multipart upload: the object appears whole or not at all. Each part is repeated by the client."""
        size, broken = 0, list[Exception]()

        async def source() -> AsyncIterator[bytes]:
            nonlocal size
            size += len(head)
            yield head
            try:
                async for piece in rest:
                    size += len(piece)
                    yield piece
            except Exception as error:
                broken.append(error)
                raise

        try:
            await obstore.put_async(
                self._patient, key, source(), use_multipart=True, chunk_size=_SINGLE_PUT_LIMIT, max_concurrency=2
            )
        except (BaseError, OSError) as error:
            raise (broken[0] if broken else as_pbs_error(error, what)) from error
        return size

    async def _get_chunk(self, digest: bytes, location: str | None) -> Any:
        key = location or layout.chunk_key(self.prefix, digest)

        async def request() -> Any:
            return await (await obstore.get_async(self._store, key)).bytes_async()

        return await attempts("get_chunk", f"chunk {digest.hex()}", request)

    async def _size(self, what: str, key: str) -> int:
        return int((await attempts("head", what, lambda: obstore.head_async(self._store, key)))["size"])

    async def _exists(self, what: str, key: str) -> bool:
        try:
            await self._size(what, key)
        except NotFound:
            return False
        return True

    async def _delete_one(self, operation: str, key: str) -> None:
        try:
            await attempts(operation, "the object", lambda: obstore.delete_async(self._store, key))
        except NotFound:
            return

    async def _marked_by(self) -> str | None:
        """Host name in `.in-use`; empty when it cannot be read, None without the object."""
        key = layout.in_use_key(self.prefix)
        try:
            result = await attempts("mark", "the mark", lambda: obstore.get_async(self._store, key))
            content = bytes(await result.bytes_async())
        except NotFound:
            return None
        try:
            return str(json.loads(content)["hostname"])
        except (ValueError, KeyError, TypeError):
            return ""

    async def _has_objects(self) -> bool:
        async for _found in self._list(f"{self.prefix}/"):
            return True
        return False

    async def _list(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        """Every object below a prefix that ends with `/`."""
        try:
            async for batch in obstore.list(self._patient, prefix, chunk_size=_DELETE_BATCH):
                for entry in batch:
                    yield entry["path"], entry["size"]
        except (BaseError, OSError) as error:
            raise as_pbs_error(error, "the list of objects") from error

    async def _list_keys(self, prefix: str) -> list[str]:
        return [key async for key, _size in self._list(prefix)]

    async def _delete_all(self, prefix: str, keep: str | None = None) -> bool:
        """Delete what is below `prefix`, batch by batch, until nothing is listed; whether a request may be late."""
        batch: list[str] = []
        late = False
        async for key, _size in self._list(f"{prefix.rstrip('/')}/"):
            if key != keep:
                batch.append(key)
            if len(batch) == _DELETE_BATCH:
                late |= await self._delete_or_fail(batch)
                batch = []
        if batch:
            late |= await self._delete_or_fail(batch)
        return late

    async def _delete_or_fail(self, keys: Sequence[str]) -> bool:
        failed, late = await self._delete_keys(keys)
        if failed:
            raise Unavailable(f"{len(failed)} objects could not be deleted")
        return late

    async def _delete_keys(self, keys: Sequence[str]) -> tuple[list[str], bool]:
        """Batch delete; keys whose deletion was not confirmed, and whether a request may still arrive."""
        failed: list[str] = []
        late = False
        for start in range(0, len(keys), _DELETE_BATCH):
            left, unanswered = await self._run(self._delete_batch, keys[start : start + _DELETE_BATCH])
            failed += left
            late |= unanswered
        return failed, late

    def _delete_batch(self, keys: Sequence[str]) -> tuple[list[str], bool]:
        """Blocking. What an attempt refused is asked for again."""
        left, unanswered, pause = list(keys), False, _DELETE_PAUSE
        for attempt in range(_DELETE_ATTEMPTS):
            if attempt:
                time.sleep(pause)
                pause *= 3
            left, answered = self._delete_once(left)
            unanswered |= not answered
            if not left:
                break
        return left, unanswered

    def _delete_once(self, keys: Sequence[str]) -> tuple[list[str], bool]:
        """Keys that are left, and whether there was an answer."""
        from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, EndpointConnectionError

        body = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        try:
            answer = control_client(self._settings).delete_objects(Bucket=self._settings.bucket, Delete=body)
        except (ClientError, BotoCoreError) as error:
            ATTEMPTS.labels("delete_batch", type(error).__name__).inc()
            if isinstance(error, ClientError):
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 504)
                return list(keys), status not in UNANSWERED
            return list(keys), isinstance(error, EndpointConnectionError | ConnectTimeoutError)
        ATTEMPTS.labels("delete_batch", "ok").inc()
        return [str(error["Key"]) for error in answer.get("Errors", ()) if error.get("Code") != "NoSuchKey"], True

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        async with asyncio.timeout(_DELETE_ATTEMPTS * (ATTEMPT_SECONDS + 5.0)):
            return await asyncio.get_running_loop().run_in_executor(self._executor, work, *args)


def _joined(content: Buffer | Sequence[Buffer]) -> bytes:
    parts: Iterable[Buffer] = (content,) if isinstance(content, bytearray | memoryview | bytes) else content
    return b"".join(parts)
