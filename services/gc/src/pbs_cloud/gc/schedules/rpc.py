"""The gRPC face of configured jobs."""

from __future__ import annotations

from pbs_cloud.contracts.codec import from_message, to_message
from pbs_cloud.contracts.errors import InvalidArgument
from pbs_cloud.contracts.jobs import JobFields, JobKind
from pbs_cloud.gc.schedules.service import ConfiguredJobs
from pbs_cloud.proto.chunkstore.v1 import chunkstore_pb2
from pbs_cloud.proto.common.v1 import common_pb2
from pbs_cloud.proto.gc.v1 import gc_pb2 as pb
from pbs_cloud.runtime.grpc_server import RpcContext

_EMPTY = common_pb2.Empty()


class JobRpc:
    """Part of the servicer of ``Gc``."""

    def __init__(self, configured: ConfiguredJobs) -> None:
        self._configured = configured

    async def ListJobs(self, request: pb.ListJobsRequest, context: RpcContext) -> pb.ListJobsResponse:
        store = request.store if request.HasField("store") else None
        jobs, digest = await self._configured.list(context.call, _kind(request.kind), store)
        return pb.ListJobsResponse(jobs=[to_message(job, pb.Job) for job in jobs], digest=digest)

    async def GetJob(self, request: pb.JobRequest, context: RpcContext) -> pb.GetJobResponse:
        job, digest = await self._configured.get(context.call, _kind(request.kind), request.id)
        return pb.GetJobResponse(job=to_message(job, pb.Job), digest=digest)

    async def CreateJob(self, request: pb.CreateJobRequest, context: RpcContext) -> common_pb2.Empty:
        fields = from_message(request.fields, JobFields)
        await self._configured.create(context.call, _kind(request.kind), request.id, fields)
        return _EMPTY

    async def UpdateJob(self, request: pb.UpdateJobRequest, context: RpcContext) -> common_pb2.Empty:
        changes = from_message(request.changes, JobFields)
        digest = request.digest if request.HasField("digest") else None
        kind = _kind(request.kind)
        await self._configured.update(context.call, kind, request.id, changes, list(request.delete), digest)
        return _EMPTY

    async def DeleteJob(self, request: pb.DeleteJobRequest, context: RpcContext) -> common_pb2.Empty:
        digest = request.digest if request.HasField("digest") else None
        await self._configured.delete(context.call, _kind(request.kind), request.id, digest)
        return _EMPTY

    async def RunJob(self, request: pb.JobRequest, context: RpcContext) -> chunkstore_pb2.UpidResponse:
        upid = await self._configured.run(context.call, _kind(request.kind), request.id)
        return chunkstore_pb2.UpidResponse(upid=upid)

    async def CreateDefaultPruneJob(
        self, request: pb.CreateDefaultPruneJobRequest, context: RpcContext
    ) -> common_pb2.Empty:
        fields = from_message(request.fields, JobFields)
        await self._configured.create_default_prune(context.call, request.store, fields)
        return _EMPTY

    async def DeleteJobsOfDatastore(
        self, request: pb.DeleteJobsOfDatastoreRequest, context: RpcContext
    ) -> common_pb2.Empty:
        await self._configured.delete_of_store(context.call, request.store)
        return _EMPTY


def _kind(text: str) -> JobKind:
    try:
        return JobKind(text)
    except ValueError as error:
        raise InvalidArgument("kind: must be prune or verify", field="kind") from error
