"""The gRPC shell and channels: errors keep their class, raw bytes pass unchanged, sockets are private."""

import asyncio
import importlib
import shutil
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from testkit.servers import temporary_folder

from pbs_cloud import proto
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.chunkstore.catalogue import CatalogueClient
from pbs_cloud.contracts.client import call_metadata
from pbs_cloud.contracts.context import CallContext, Caller
from pbs_cloud.contracts.errors import (
    Internal,
    InvalidArgument,
    NamespaceNotFound,
    PbsError,
    QuotaExceeded,
    Unauthenticated,
    Unavailable,
    from_rpc_error,
)
from pbs_cloud.proto.chunkstore.v1 import chunkstore_pb2 as pb
from pbs_cloud.proto.chunkstore.v1 import chunkstore_pb2_grpc
from pbs_cloud.proto.common.v1 import common_pb2
from pbs_cloud.runtime.errors import ConfigError
from pbs_cloud.runtime.grpc_channel import is_serving, open_channel
from pbs_cloud.runtime.grpc_options import repeatable_methods
from pbs_cloud.runtime.grpc_server import GrpcServer, RpcContext
from pbs_cloud.runtime.settings import Settings, load_settings

CONTEXT = CallContext(Caller("one", "root@pam"), request_id="r1")
SERVICE = "/pbs_cloud.proto.chunkstore.v1.Chunks"


class Chunks:
    """A servicer whose answers the test chooses."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    async def PutChunk(self, request: bytes, context: RpcContext) -> pb.PutChunkResponse:
        parameters = context.parameters(pb.PutChunkRequest)
        assert type(request) is bytes
        return pb.PutChunkResponse(duplicate=parameters.session_id == "s", stored_size=len(request))

    async def GetChunk(self, request: pb.GetChunkRequest, context: RpcContext) -> bytes:
        return request.digest * 1000

    async def PutSharedChunk(self, request: Any, context: RpcContext) -> Any:
        raise AssertionError

    async def GetSharedChunk(self, request: Any, context: RpcContext) -> Any:
        raise AssertionError

    async def Flush(self, request: pb.FlushRequest, context: RpcContext) -> common_pb2.Empty:
        if self.error is not None:
            raise self.error
        if context.call.tenant_id != "one":
            raise InvalidArgument("wrong tenant", field="tenant")
        return common_pb2.Empty()


@pytest.fixture
def folder() -> Iterator[Path]:
    made = temporary_folder("grpc")
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def settings(folder: Path) -> Settings:
    return load_settings(data_dir=folder)


@pytest.fixture
def chunks() -> Chunks:
    return Chunks()


@pytest.fixture
async def server(settings: Settings, chunks: Chunks) -> AsyncIterator[GrpcServer]:
    made = GrpcServer("chunks", settings.services.chunks, settings, grace=0.2)
    made.add_service(
        chunkstore_pb2_grpc.add_ChunksServicer_to_server, chunks, raw_requests={"PutChunk"}, raw_responses={"GetChunk"}
    )
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def channel(settings: Settings) -> AsyncIterator[grpc.aio.Channel]:
    async with open_channel(settings.services.chunks, settings) as made:
        yield made


async def flush(channel: grpc.aio.Channel, ctx: CallContext | None = CONTEXT, timeout: float = 5) -> None:
    try:
        stub = chunkstore_pb2_grpc.ChunksStub(channel)
        await stub.Flush(pb.FlushRequest(session_id="s"), metadata=call_metadata(ctx), timeout=timeout)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error


@pytest.mark.usefixtures("server")
async def test_raw_bytes_pass_in_both_directions(channel: grpc.aio.Channel) -> None:
    body = bytes(range(256)) * 65_536
    put = channel.unary_unary(f"{SERVICE}/PutChunk", response_deserializer=pb.PutChunkResponse.FromString)
    answer = await put(body, metadata=call_metadata(CONTEXT, pb.PutChunkRequest(session_id="s")))
    assert (answer.duplicate, answer.stored_size) == (True, 16 * 1024 * 1024)
    get = channel.unary_unary(f"{SERVICE}/GetChunk", request_serializer=pb.GetChunkRequest.SerializeToString)
    assert await get(pb.GetChunkRequest(digest=b"\xff" * 32), metadata=call_metadata(CONTEXT)) == b"\xff" * 32_000


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    "error",
    [NamespaceNotFound("no namespace"), QuotaExceeded("Quota exceeded: ü"), InvalidArgument("bad", field="store")],
)
async def test_errors_keep_class_text_and_field(channel: grpc.aio.Channel, chunks: Chunks, error: PbsError) -> None:
    chunks.error = error
    with pytest.raises(type(error)) as caught:
        await flush(channel)
    assert type(caught.value) is type(error)
    assert (caught.value.message, caught.value.field) == (error.message, error.field)


@pytest.mark.usefixtures("server")
async def test_an_unexpected_error_tells_nothing(channel: grpc.aio.Channel, chunks: Chunks) -> None:
    chunks.error = KeyError("the secret of another tenant")
    with pytest.raises(Internal) as caught:
        await flush(channel)
    assert caught.value.message == "internal error"


async def test_an_error_waits_until_its_caller_has_sent_all(settings: Settings) -> None:
    class Catalogue:
        async def UploadLog(self, _request: Any, _context: RpcContext) -> Any:
            raise NamespaceNotFound("no namespace")

        def __getattr__(self, _name: str) -> Any:
            return self.UploadLog

    server = GrpcServer("catalogue", settings.services.catalogue, settings, grace=0.2)
    server.add_service(chunkstore_pb2_grpc.add_CatalogueServicer_to_server, Catalogue(), raw_requests={"UploadLog"})
    await server.start()

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(65_536)
            await asyncio.sleep(0.0002)

    snapshot = t.SnapshotKey(t.GroupRef("default", "", "host", "one"), 1)
    try:
        async with open_channel(settings.services.catalogue, settings) as channel:
            for _ in range(30):
                with pytest.raises(NamespaceNotFound):
                    await CatalogueClient(channel).upload_log(CONTEXT, snapshot, pieces())
    finally:
        await server.stop()


@pytest.mark.usefixtures("server")
async def test_the_context_arrives_or_is_missed(channel: grpc.aio.Channel) -> None:
    await flush(channel)
    with pytest.raises(InvalidArgument):
        await flush(channel, CallContext(Caller("two", "root@pam")))
    with pytest.raises(Unauthenticated):
        await flush(channel, None)


async def test_the_socket_belongs_to_its_owner_alone(server: GrpcServer, settings: Settings) -> None:
    path = Path(settings.services.chunks.removeprefix("unix:"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_calls_wait_for_a_service_that_is_not_there_yet(
    settings: Settings, chunks: Chunks, channel: grpc.aio.Channel
) -> None:
    with pytest.raises(Unavailable):
        await flush(channel, timeout=0.3)
    waiting = asyncio.create_task(flush(channel, timeout=10))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    server = GrpcServer("chunks", settings.services.chunks, settings, grace=0.2)
    server.add_service(chunkstore_pb2_grpc.add_ChunksServicer_to_server, chunks)
    await server.start()
    await waiting
    await server.stop()


async def test_health_follows_the_components(settings: Settings, channel: grpc.aio.Channel) -> None:
    assert not await is_serving(channel, timeout=0.2)
    ready = False
    server = GrpcServer("chunks", settings.services.chunks, settings, ready=lambda: ready, grace=0.2)
    await server.start()
    assert not await is_serving(channel)
    ready = True
    assert await is_serving(channel)
    await server.stop()


def test_tcp_needs_certificates(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="PBS_MTLS_CERT"):
        open_channel("127.0.0.1:1", settings)


def test_repeatable_methods_exist() -> None:
    from google.protobuf.descriptor_pool import Default

    for folder in map(Path, proto.__path__):
        for path in folder.rglob("*_pb2.py"):
            importlib.import_module(".".join([proto.__name__, *path.relative_to(folder).with_suffix("").parts]))
    for entry in repeatable_methods():
        methods = Default().FindServiceByName(entry["service"]).methods_by_name  # type: ignore[no-untyped-call]
        assert entry["method"] in methods


async def test_an_answered_error_is_not_repeated(server: GrpcServer, channel: grpc.aio.Channel, chunks: Chunks) -> None:
    calls = 0

    async def count(_request: Any, _context: RpcContext) -> common_pb2.Empty:
        nonlocal calls
        calls += 1
        raise Unavailable("the database is not available")

    chunks.Flush = count  # type: ignore[method-assign]
    other = GrpcServer("other", f"{server._address}2", server._settings, grace=0.1)
    other.add_service(chunkstore_pb2_grpc.add_ChunksServicer_to_server, chunks)
    await other.start()
    async with open_channel(f"{server._address}2", server._settings) as own:
        with pytest.raises(Unavailable, match="database"):
            await flush(own)
    assert calls == 1
    await other.stop()


async def test_a_cut_off_call_is_repeated(settings: Settings, channel: grpc.aio.Channel) -> None:
    """A process that dies in the middle of a repeatable call and comes back."""
    path = settings.services.chunks.removeprefix("unix:")
    Path(path).parent.mkdir(exist_ok=True)
    cut: list[int] = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        cut.append(1)
        writer.close()

    broken = await asyncio.start_unix_server(hang_up, path)
    call = asyncio.create_task(flush(channel, timeout=10))
    async with asyncio.timeout(5):
        while not cut:
            await asyncio.sleep(0.01)
    broken.close()
    server = GrpcServer("chunks", settings.services.chunks, settings, grace=0.2)
    server.add_service(chunkstore_pb2_grpc.add_ChunksServicer_to_server, Chunks())
    await server.start()
    await call
    await server.stop()
