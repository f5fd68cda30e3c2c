"""What all typed clients share: context, deadline and the error taxonomy around each call."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

import grpc
from google.protobuf.message import Message

from pbs_cloud.contracts.context import CONTEXT_METADATA_KEY, REQUEST_METADATA_KEY, CallContext
from pbs_cloud.contracts.errors import from_rpc_error

# Calls wait up to 30 s for a part that is away (below the session lease), then fail.
DEADLINE_SECONDS = 35.0
# Whole listings and large files.
STREAM_DEADLINE_SECONDS = 3600.0


def call_metadata(ctx: CallContext | None, request: Message | None = None) -> tuple[tuple[str, bytes], ...]:
    """Metadata of a call: who calls, and for RAW methods the parameters."""
    metadata: list[tuple[str, bytes]] = []
    if ctx is not None:
        metadata.append((CONTEXT_METADATA_KEY, ctx.to_bytes()))
    if request is not None:
        metadata.append((REQUEST_METADATA_KEY, request.SerializeToString()))
    return tuple(metadata)


class ServiceClient:
    """Base of the typed clients; ``channel`` stays open as long as its owner wants."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def _unary(
        self, method: Any, request: Message, ctx: CallContext | None, *, timeout: float = DEADLINE_SECONDS
    ) -> Any:
        """One call and its answer; raises a ``PbsError``."""
        try:
            return await method(request, metadata=call_metadata(ctx), timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def _raw_unary(
        self,
        method: Any,
        parameters: Message,
        body: bytes | memoryview,
        ctx: CallContext | None,
        *,
        timeout: float = DEADLINE_SECONDS,
    ) -> Any:
        """A call whose message is the raw body."""
        try:
            return await method(body, metadata=call_metadata(ctx, parameters), timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def _raw_stream_in(
        self, method: Any, parameters: Message, pieces: AsyncIterable[bytes], ctx: CallContext | None
    ) -> Any:
        """A call that sends a stream of raw pieces."""
        try:
            return await method(pieces, metadata=call_metadata(ctx, parameters), timeout=STREAM_DEADLINE_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def _stream_out(self, method: Any, request: Message, ctx: CallContext | None) -> AsyncIterator[Any]:
        """Items of a streamed answer; leaving the loop early cancels the call."""
        call = method(request, metadata=call_metadata(ctx), timeout=STREAM_DEADLINE_SECONDS)
        try:
            async for item in call:
                yield item
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()
