"""Channels to services. The typed clients of `pbs_cloud.contracts` take one and turn failures into contracts errors."""

import asyncio

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pbs_cloud.runtime.addresses import is_unix
from pbs_cloud.runtime.grpc_options import channel_credentials, channel_options
from pbs_cloud.runtime.lifecycle import Component
from pbs_cloud.runtime.settings import Settings


def open_channel(target: str, settings: Settings, *, retry: bool = True) -> grpc.aio.Channel:
    """A channel to `target` (`settings.services.auth` etc.): plain on a unix socket, mTLS everywhere else.

    Calls wait for a service that is away until their own deadline: give each call a `timeout`. With `retry` a call that
    was cut off is repeated (four attempts, with jitter, within its deadline) if it is idempotent and below 256 KiB.

    Raises:
        ConfigError: a TCP target without the mTLS files.
    """
    if is_unix(target):
        return grpc.aio.insecure_channel(target, options=channel_options(mtls=False, retry=retry))
    name = target if target.startswith("dns:") else f"dns:///{target}"
    return grpc.aio.secure_channel(name, channel_credentials(settings), options=channel_options(mtls=True, retry=retry))


class ChannelComponent(Component):
    """A channel as a part of a process: open from the construction on, closed at the stop."""

    name = "channel"

    def __init__(self, target: str, settings: Settings, *, retry: bool = True) -> None:
        self.channel = open_channel(target, settings, retry=retry)

    async def stop(self) -> None:
        await self.channel.close()


async def is_serving(channel: grpc.aio.Channel, *, timeout: float = 1.0) -> bool:
    """Whether the service at the other end says that it can work (its components are ready)."""
    stub = health_pb2_grpc.HealthStub(channel)
    try:
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout)
    except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and (task := asyncio.current_task()) and task.cancelling():
            raise
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
