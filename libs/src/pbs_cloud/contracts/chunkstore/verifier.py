"""Client of ``Verifier``: checks chunks where they lie (formats 11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from pbs_cloud.contracts.client import ServiceClient
from pbs_cloud.contracts.codec import from_message
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.proto.chunkstore.v1 import verification_pb2 as pb
from pbs_cloud.proto.chunkstore.v1 import verification_pb2_grpc

# A batch may read a gigabyte from a slow bucket.
CHECK_DEADLINE_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class BadChunk:
    """A chunk that failed. ``corrupt``: its object is damaged or missing; else only this use of it is wrong, or it
    could not be read just now."""

    digest: bytes
    reason: str
    corrupt: bool


@dataclass(frozen=True, slots=True)
class CheckedChunks:
    """What a batch found, and the bytes that were read for it."""

    bad: tuple[BadChunk, ...]
    bytes: int


class VerifierClient(ServiceClient):
    """Calls of ``pbs_cloud.proto.chunkstore.v1.Verifier``."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self._stub = verification_pb2_grpc.VerifierStub(channel)

    async def check_chunks(
        self, ctx: CallContext, session_id: str, digests: bytes, sizes: Sequence[int], *, encrypted: bool, workers: int
    ) -> CheckedChunks:
        """Check the concatenated ``digests`` of 32 bytes; ``sizes`` are their raw sizes.

        Every check is done when this answers; damaged chunks are marked and set aside by then.
        Raises SessionLost, InvalidArgument, Unavailable (nothing is known of the batch).
        """
        request = pb.CheckChunksRequest(
            session_id=session_id, digests=digests, sizes=sizes, encrypted=encrypted, workers=workers
        )
        answer = await self._unary(self._stub.CheckChunks, request, ctx, timeout=CHECK_DEADLINE_SECONDS)
        return from_message(answer, CheckedChunks)
