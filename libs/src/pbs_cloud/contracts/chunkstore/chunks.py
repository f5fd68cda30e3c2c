"""Client of ``Chunks``: blob bytes as raw gRPC messages, or in shared memory on one host (data-plane.md)."""

from __future__ import annotations

from typing import Any

import grpc

from pbs_cloud.contracts.chunkstore.types import StoredChunk
from pbs_cloud.contracts.client import ServiceClient
from pbs_cloud.contracts.codec import from_message
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.proto.chunkstore.v1 import chunkstore_pb2 as pb
from pbs_cloud.proto.chunkstore.v1 import chunkstore_pb2_grpc

SERVICE = "/pbs_cloud.proto.chunkstore.v1.Chunks"
# A chunk upload may wait for its digest's other writer and for a backend that is away (30 s).
CHUNK_DEADLINE_SECONDS = 60.0


class ChunksClient(ServiceClient):
    """Calls of ``pbs_cloud.proto.chunkstore.v1.Chunks``. The caller checks that a session may read a digest."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self._stub = chunkstore_pb2_grpc.ChunksStub(channel)
        self._put: Any = channel.unary_unary(
            f"{SERVICE}/PutChunk", request_serializer=None, response_deserializer=pb.PutChunkResponse.FromString
        )
        self._get: Any = channel.unary_unary(
            f"{SERVICE}/GetChunk", request_serializer=pb.GetChunkRequest.SerializeToString, response_deserializer=None
        )

    async def put_chunk(
        self, ctx: CallContext, session_id: str, digest: bytes, size: int, blob: bytes | memoryview
    ) -> StoredChunk:
        """Check, claim and store an encoded chunk; ``size`` is its raw size.

        Raises InvalidArgument (blob, digest or size wrong), SessionLost, QuotaExceeded, NoSpace, Unavailable.
        """
        parameters = pb.PutChunkRequest(session_id=session_id, digest=digest, size=size)
        answer = await self._raw_unary(self._put, parameters, bytes(blob), ctx, timeout=CHUNK_DEADLINE_SECONDS)
        return from_message(answer, StoredChunk)

    async def put_shared_chunk(
        self, ctx: CallContext, session_id: str, digest: bytes, size: int, region: bytes, offset: int, length: int
    ) -> StoredChunk:
        """``put_chunk`` with the blob at ``offset`` of a shared region, which is the receiver's until this answers."""
        request = pb.PutSharedChunkRequest(
            chunk=pb.PutChunkRequest(session_id=session_id, digest=digest, size=size),
            region=region,
            offset=offset,
            length=length,
        )
        return from_message(
            await self._unary(self._stub.PutSharedChunk, request, ctx, timeout=CHUNK_DEADLINE_SECONDS), StoredChunk
        )

    async def get_chunk(self, ctx: CallContext, session_id: str, digest: bytes) -> bytes:
        """The stored blob, CRC checked. Raises NotFound (no such chunk), DataCorrupt, SessionLost, Unavailable."""
        request = pb.GetChunkRequest(session_id=session_id, digest=digest)
        return bytes(await self._unary(self._get, request, ctx, timeout=CHUNK_DEADLINE_SECONDS))

    async def get_shared_chunk(
        self, ctx: CallContext, session_id: str, digest: bytes, region: bytes, offset: int, capacity: int
    ) -> int:
        """``get_chunk`` into a slot of a shared region; answers the length."""
        request = pb.GetSharedChunkRequest(
            chunk=pb.GetChunkRequest(session_id=session_id, digest=digest),
            region=region,
            offset=offset,
            capacity=capacity,
        )
        return int((await self._unary(self._stub.GetSharedChunk, request, ctx, timeout=CHUNK_DEADLINE_SECONDS)).length)

    async def flush(self, ctx: CallContext, session_id: str) -> None:
        """Everything that the session uploaded is durable and live when this returns."""
        await self._unary(self._stub.Flush, pb.FlushRequest(session_id=session_id), ctx, timeout=CHUNK_DEADLINE_SECONDS)
