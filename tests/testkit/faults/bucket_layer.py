"""The part of the fault layer that sees single requests to object storage, below the methods of the backend."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from types import FrameType
from typing import Any

import obstore
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from obstore.exceptions import GenericError, PermissionDeniedError

from pbs_cloud.chunkstore.backends.s3 import S3Backend
from testkit.faults.layer import Layer, process_at
from testkit.faults.modes import Mode
from testkit.faults.sites import STORAGE, Kind, Site, relative

_REQUESTS = ("put_async", "get_async", "head_async", "copy_async", "delete_async", "list_with_delimiter_async")
_SLOW_SECONDS = 0.2
_FAR = 30


class BucketLayer:
    """Wraps the requests of obstore and the batch deletes of boto3 for as long as the layer is installed."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        layer.wrap_storage(S3Backend, STORAGE)
        for name in _REQUESTS:
            layer.replace(obstore, name, self._request)
        layer.replace(obstore, "list", self._list)
        layer.replace(BaseClient, "_make_api_call", self._api_call)

    # ------------------------------------------------------------------------------------------------ obstore

    def _request(self, _name: str, original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            site, process = self._caller(sys._getframe(1))
            return self._run(site, process, original, args, kwargs)

        return call

    async def _run(self, site: Site | None, process: str, original: Any, args: Any, kwargs: Any) -> Any:
        mode = self._before(site, process)
        if mode is Mode.SLOW:
            await asyncio.sleep(_SLOW_SECONDS)
        answer = await original(*args, **kwargs)
        if mode is Mode.CRASH_AFTER:
            self._layer.kill(process)
        if mode in (Mode.TRUNCATED, Mode.CUT_OFF):
            return _Spoilt(answer, mode)
        if mode in (Mode.LOST_AFTER, Mode.CRASH_AFTER):
            raise GenericError("injected fault: the answer was lost")
        return answer

    def _list(self, _name: str, original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            site, process = self._caller(sys._getframe(1))
            return self._pages(site, process, original, args, kwargs)

        return call

    async def _pages(
        self, site: Site | None, process: str, original: Any, args: Any, kwargs: Any
    ) -> AsyncIterator[list[Any]]:
        mode = self._before(site, process)
        async for page in original(*args, **kwargs):
            if mode is Mode.CUT_OFF:
                yield page[: len(page) // 2]
                raise GenericError("injected fault: the list ends too early")
            if mode is Mode.CRASH_AFTER:
                self._layer.kill(process)
                raise GenericError("injected fault: the process is dead")
            yield page

    def _before(self, site: Site | None, process: str) -> Mode | None:
        if process in self._layer.dead:
            raise GenericError("the process is dead")
        mode = self._layer.take(site, process)
        if mode is Mode.CRASH_BEFORE:
            self._layer.kill(process)
        if mode is Mode.FORBIDDEN:
            raise PermissionDeniedError("injected fault: 403")
        if mode in (Mode.AWAY, Mode.LOST_BEFORE, Mode.CRASH_BEFORE):
            raise GenericError("injected fault: no answer")
        return mode

    # ------------------------------------------------------------------------------------------------ boto3

    def _api_call(self, _name: str, original: Any) -> Any:
        def call(client: Any, operation: str, arguments: Any) -> Any:
            site, process = self._caller(sys._getframe(1))
            return self._delete(site, process, original, (client, operation, arguments))

        return call

    def _delete(self, site: Site | None, process: str, original: Any, args: tuple[Any, str, Any]) -> Any:
        """In a thread. Every site that comes here is a batch delete."""
        if process in self._layer.dead:
            raise ReadTimeoutError(endpoint_url="the process is dead")
        mode = self._layer.take(site, process)
        if mode is Mode.CRASH_BEFORE:
            self._layer.kill_soon(process)
        if mode is Mode.AWAY:
            raise EndpointConnectionError(endpoint_url="injected fault")
        if mode is Mode.FORBIDDEN:
            raise ClientError({"Error": {}, "ResponseMetadata": {"HTTPStatusCode": 403}}, args[1])
        if mode in (Mode.LOST_BEFORE, Mode.CRASH_BEFORE):
            raise ReadTimeoutError(endpoint_url="injected fault")
        if mode is Mode.SLOW:
            time.sleep(_SLOW_SECONDS)
        if mode is Mode.PARTLY:
            return _without_the_first(original, args)
        answer = original(*args)
        if mode is Mode.CRASH_AFTER:
            self._layer.kill_soon(process)
        if mode in (Mode.LOST_AFTER, Mode.CRASH_AFTER):
            raise ReadTimeoutError(endpoint_url="injected fault")
        return answer

    # ------------------------------------------------------------------------------------------------ who calls

    def _caller(self, frame: FrameType | None) -> tuple[Site | None, str]:
        """The site of the request, and the process that whoever needs it belongs to."""
        site, process = None, None
        for _ in range(_FAR):
            if frame is None or process is not None:
                break
            path = relative(frame.f_code.co_filename)
            if path is not None:
                site = site or self._layer.site_at(path, Kind.BUCKET, frame.f_lineno)
                process = self._process(path, frame)
            frame = frame.f_back
        return site, process or "" if site is not None else ""

    def _process(self, path: str, frame: FrameType) -> str | None:
        if not path.startswith("chunkstore/backends/"):
            return process_at(path) if path.startswith("chunkstore/") else None
        backend = frame.f_locals.get("self")
        return None if backend is None else self._layer.owners.get(backend)


def _without_the_first(original: Any, args: tuple[Any, str, Any]) -> Any:
    """The storage cannot delete one of the keys, and says so."""
    client, operation, arguments = args
    first, *others = arguments["Delete"]["Objects"]
    answer: dict[str, Any] = {"Errors": []}
    if others:
        answer = original(client, operation, {**arguments, "Delete": {**arguments["Delete"], "Objects": others}})
    return {**answer, "Errors": [*answer.get("Errors", ()), {"Key": first["Key"], "Code": "InternalError"}]}


class _Spoilt:
    """An answer whose body is too short: told by the client (`CUT_OFF`), or not (`TRUNCATED`)."""

    def __init__(self, answer: Any, mode: Mode) -> None:
        self._answer = answer
        self._mode = mode

    async def bytes_async(self) -> bytes:
        content = bytes(await self._answer.bytes_async())
        if self._mode is Mode.CUT_OFF:
            raise GenericError("injected fault: the body ends too early")
        return content[:-1]

    async def stream(self, **options: Any) -> AsyncIterator[bytes]:
        async for part in self._answer.stream(**options):
            yield bytes(part)[: len(part) // 2]
            break
        if self._mode is Mode.CUT_OFF:
            raise GenericError("injected fault: the body ends too early")
