"""gRPC methods of ``pbs_cloud.proto.gc.v1.Gc``."""

from __future__ import annotations

from pbs_cloud.contracts.chunkstore.types import GroupRef
from pbs_cloud.contracts.codec import from_message, to_message
from pbs_cloud.contracts.errors import InvalidArgument
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.prune import KeepOptions
from pbs_cloud.gc.collection import Collection
from pbs_cloud.gc.collection_rpc import CollectionRpc
from pbs_cloud.gc.prune import Prune
from pbs_cloud.gc.schedules.rpc import JobRpc
from pbs_cloud.gc.schedules.service import ConfiguredJobs
from pbs_cloud.gc.service import GcService
from pbs_cloud.gc.verification.rpc import VerifyRpc
from pbs_cloud.gc.verification.verify import Verify
from pbs_cloud.proto.chunkstore.v1 import chunkstore_pb2
from pbs_cloud.proto.common.v1 import common_pb2
from pbs_cloud.proto.gc.v1 import gc_pb2 as pb
from pbs_cloud.runtime.grpc_server import RpcContext


class GcRpc(VerifyRpc, CollectionRpc, JobRpc):
    """Thin on purpose."""

    def __init__(
        self, service: GcService, prune: Prune, verify: Verify, collection: Collection, configured: ConfiguredJobs
    ) -> None:
        VerifyRpc.__init__(self, verify)
        CollectionRpc.__init__(self, collection)
        JobRpc.__init__(self, configured)
        self._service = service
        self._prune = prune

    async def GetStatus(self, request: common_pb2.Empty, context: RpcContext) -> pb.GcServiceStatus:
        return to_message(await self._service.status(context.call), pb.GcServiceStatus)

    async def PruneGroup(self, request: pb.PruneGroupRequest, context: RpcContext) -> pb.PruneGroupResponse:
        group = from_message(request.group, GroupRef)
        keep = _keep(request.keep)
        verdicts, upid = await self._prune.group(
            context.call, group, keep, dry_run=request.dry_run, use_task=request.use_task
        )
        snapshots = [to_message(verdict, chunkstore_pb2.PrunedSnapshot) for verdict in verdicts]
        return pb.PruneGroupResponse(snapshots=snapshots, upid=upid)

    async def PruneDatastore(
        self, request: pb.PruneDatastoreRequest, context: RpcContext
    ) -> chunkstore_pb2.UpidResponse:
        max_depth = request.max_depth if request.HasField("max_depth") else None
        upid = await self._prune.datastore(
            context.call, request.store, request.ns, max_depth, _keep(request.keep), dry_run=request.dry_run
        )
        return chunkstore_pb2.UpidResponse(upid=upid)


def _keep(message: chunkstore_pb2.KeepOptions) -> KeepOptions:
    """Raises InvalidArgument for a count below 1."""
    try:
        return from_message(message, KeepOptions)
    except FormatError as error:
        raise InvalidArgument(str(error), field="keep") from error
