"""Session calls of ``Catalogue``: message to service call to message."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pbs_cloud.chunkstore.catalogue.parts import to_the_end
from pbs_cloud.chunkstore.catalogue.services import Services
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.codec import from_message, to_message
from pbs_cloud.proto.chunkstore.v1 import chunkstore_pb2 as pb
from pbs_cloud.proto.common.v1 import common_pb2
from pbs_cloud.runtime.grpc_server import RpcContext

EMPTY = common_pb2.Empty()


def group_of(message: pb.GroupRef) -> t.GroupRef:
    return from_message(message, t.GroupRef)


class SessionRpc:
    """Wire-protocol 4 and 5. What changes something runs to its end, whatever becomes of the call."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def OpenBackup(self, request: pb.OpenBackupRequest, context: RpcContext) -> pb.OpenBackupResponse:
        opened = await to_the_end(
            self._services.opening.open(
                context.call,
                group_of(request.group),
                request.backup_time,
                benchmark=request.benchmark,
                process_id=request.process_id,
            )
        )
        return to_message(opened, pb.OpenBackupResponse)

    async def OpenReader(self, request: pb.OpenReaderRequest, context: RpcContext) -> pb.OpenReaderResponse:
        opened = await to_the_end(
            self._services.readers.open(
                context.call,
                t.SnapshotKey(group_of(request.group), request.backup_time),
                process_id=request.process_id,
                with_task=request.with_task,
            )
        )
        return to_message(opened, pb.OpenReaderResponse)

    async def RenewLeases(self, request: pb.RenewLeasesRequest, context: RpcContext) -> pb.RenewLeasesResponse:
        leases = await self._services.leases.renew(request.process_id, request.session_ids, request.upids)
        return to_message(leases, pb.RenewLeasesResponse)

    async def ExpireProcess(self, request: pb.ExpireProcessRequest, context: RpcContext) -> common_pb2.Empty:
        await to_the_end(self._services.closing.expire_process(request.process_id))
        return EMPTY

    async def ExpireDeadSessions(self, request: common_pb2.Empty, context: RpcContext) -> pb.ExpireDeadSessionsResponse:
        return pb.ExpireDeadSessionsResponse(expired=await to_the_end(self._services.closing.expire_dead()))

    async def PutBlob(self, request: bytes, context: RpcContext) -> common_pb2.Empty:
        parameters = context.parameters(pb.PutBlobRequest)
        files = self._services.files
        await to_the_end(files.put_blob(context.call, parameters.session_id, parameters.file_name, request))
        return EMPTY

    async def CloseIndex(self, request: AsyncIterator[bytes], context: RpcContext) -> common_pb2.Empty:
        parameters = context.parameters(pb.CloseIndexRequest)
        await to_the_end(
            self._services.files.close_index(
                context.call,
                parameters.session_id,
                parameters.archive_name,
                parameters.csum,
                parameters.size,
                request,
            )
        )
        return EMPTY

    async def ReadSessionFile(self, request: pb.ReadSessionFileRequest, context: RpcContext) -> AsyncIterator[bytes]:
        async for piece in self._services.files.read(context.call, request.session_id, request.file_name):
            yield piece

    async def Finish(self, request: pb.FinishRequest, context: RpcContext) -> common_pb2.Empty:
        statistics = from_message(request.statistics, t.UploadStatistics)
        await to_the_end(self._services.finish.finish(context.call, request.session_id, statistics))
        return EMPTY

    async def CloseSession(self, request: pb.CloseSessionRequest, context: RpcContext) -> common_pb2.Empty:
        error = request.error if request.HasField("error") else None
        await to_the_end(
            self._services.closing.close(context.call, request.session_id, error=error, bytes_sent=request.bytes_sent)
        )
        return EMPTY
