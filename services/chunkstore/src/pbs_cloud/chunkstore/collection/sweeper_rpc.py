"""gRPC methods of ``pbs_cloud.proto.chunkstore.v1.Sweeper``, in the process of the chunks."""

from __future__ import annotations

from pbs_cloud.chunkstore.chunks.stores import StoreRegistry
from pbs_cloud.chunkstore.collection.orphans import Orphans
from pbs_cloud.chunkstore.collection.rpc import parse_token
from pbs_cloud.chunkstore.collection.sweeping import Sweeping
from pbs_cloud.contracts.codec import to_message
from pbs_cloud.proto.chunkstore.v1 import collection_pb2 as pb
from pbs_cloud.proto.chunkstore.v1 import collection_pb2_grpc
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.grpc_server import GrpcServer, RpcContext
from pbs_cloud.runtime.settings import Settings


class SweeperRpc:
    """Thin on purpose."""

    def __init__(self, sweeping: Sweeping, orphans: Orphans) -> None:
        self._sweeping = sweeping
        self._orphans = orphans

    async def SweepSome(self, request: pb.SweepRequest, context: RpcContext) -> pb.SweepResult:
        done = await self._sweeping.sweep(context.call, parse_token(request.token), request.limit)
        return to_message(done, pb.SweepResult)

    async def FindOrphans(self, request: pb.RunRequest, context: RpcContext) -> pb.OrphanResult:
        return to_message(await self._orphans.find(context.call, parse_token(request.token)), pb.OrphanResult)


def serve(server: GrpcServer, database: Database, stores: StoreRegistry, settings: Settings) -> None:
    """Let ``server`` answer the calls of ``Sweeper``."""
    sweeping = Sweeping(database, stores, settings)
    rpc = SweeperRpc(sweeping, Orphans(database, sweeping, settings, stores))
    server.add_service(collection_pb2_grpc.add_SweeperServicer_to_server, rpc)
