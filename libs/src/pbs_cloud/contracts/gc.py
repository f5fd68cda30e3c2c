"""Typed client of the gc service."""

from __future__ import annotations

from dataclasses import dataclass

import grpc

from pbs_cloud.contracts.client import ServiceClient
from pbs_cloud.contracts.codec import from_message
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.proto.common.v1 import common_pb2
from pbs_cloud.proto.gc.v1 import gc_pb2_grpc


@dataclass(frozen=True, slots=True)
class GcServiceStatus:
    """Sweeps of dead leases since the start of the service; ``last_sweep`` in Unix seconds."""

    sweeps: int
    expired_sessions: int
    last_sweep: int | None = None


class GcClient(ServiceClient):
    """Calls of ``pbs_cloud.proto.gc.v1.Gc``."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self._stub = gc_pb2_grpc.GcStub(channel)

    async def get_status(self, ctx: CallContext) -> GcServiceStatus:
        return from_message(await self._unary(self._stub.GetStatus, common_pb2.Empty(), ctx), GcServiceStatus)
