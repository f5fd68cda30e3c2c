"""A stream of marks that is cut off looks to gRPC's server as if it had ended: nothing may be condemned then."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
from testkit.collection_world import CollectionWorld, some_chunks

from pbs_cloud.chunkstore.states import ChunkState
from pbs_cloud.contracts.chunkstore.collection import SERVICE, CollectionClient
from pbs_cloud.contracts.client import call_metadata
from pbs_cloud.contracts.errors import Unavailable, from_rpc_error
from pbs_cloud.proto.chunkstore.v1 import collection_pb2 as pb
from pbs_cloud.runtime.grpc_channel import ChannelComponent


async def test_marks_that_end_too_early_condemn_nothing(world: CollectionWorld) -> None:
    used, unused = sorted(some_chunks(2), key=lambda chunk: chunk.digest, reverse=True)
    await world.backup([used])
    gone = await world.backup([unused], "two")
    await world.forget(gone)
    run = await world.begin()
    digests, _, _ = await world.mark(run)
    assert digests == {used.digest}
    servers = await world.serve()
    channel = ChannelComponent(world.settings.services.catalogue, world.settings)
    await channel.start()
    try:

        async def nothing() -> AsyncIterator[bytes]:
            for piece in ():
                yield piece

        async def everything() -> AsyncIterator[bytes]:
            yield used.digest

        call = channel.channel.stream_unary(
            f"{SERVICE}/CondemnRun", request_serializer=None, response_deserializer=pb.CondemnResult.FromString
        )
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call(nothing(), metadata=call_metadata(world.ctx, pb.RunRequest(token=run.token)), timeout=10)
        assert isinstance(from_rpc_error(failure.value), Unavailable)
        assert [await world.state(chunk) for chunk in (used, unused)] == [ChunkState.LIVE, ChunkState.LIVE]
        result = await CollectionClient(channel.channel).condemn(world.ctx, run.token, everything())
        assert result.condemned == 1
        assert [await world.state(chunk) for chunk in (used, unused)] == [ChunkState.LIVE, ChunkState.CONDEMNED]
    finally:
        await channel.stop()
        for server in servers:
            await server.stop()
