"""Datastore and namespace calls of ``Catalogue``."""

from __future__ import annotations

from pbs_cloud.chunkstore.catalogue.parts import to_the_end
from pbs_cloud.chunkstore.catalogue.rpc_sessions import EMPTY
from pbs_cloud.chunkstore.catalogue.services import Services
from pbs_cloud.contracts.codec import to_message
from pbs_cloud.proto.chunkstore.v1 import chunkstore_pb2 as pb
from pbs_cloud.proto.common.v1 import common_pb2
from pbs_cloud.runtime.grpc_server import RpcContext


class StoreRpc:
    """Rest-api C.4, C.6, C.12."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def EnsureDatastore(self, request: pb.EnsureDatastoreRequest, context: RpcContext) -> common_pb2.Empty:
        await to_the_end(self._services.datastores.ensure(request.tenant_id, request.name))
        return EMPTY

    async def CreateDatastore(self, request: pb.CreateDatastoreRequest, context: RpcContext) -> pb.UpidResponse:
        upid = await to_the_end(
            self._services.datastores.create(
                context.call, request.name, dict(request.config), reuse=request.reuse_datastore
            )
        )
        return pb.UpidResponse(upid=upid)

    async def UpdateDatastore(self, request: pb.UpdateDatastoreRequest, context: RpcContext) -> common_pb2.Empty:
        digest = request.digest if request.HasField("digest") else None
        await self._services.datastores.update(
            context.call, request.name, dict(request.set), list(request.delete), digest
        )
        return EMPTY

    async def DeleteDatastore(self, request: pb.DeleteDatastoreRequest, context: RpcContext) -> pb.UpidResponse:
        digest = request.digest if request.HasField("digest") else None
        upid = await to_the_end(
            self._services.datastores.delete(
                context.call, request.name, destroy_data=request.destroy_data, digest=digest
            )
        )
        return pb.UpidResponse(upid=upid)

    async def ListDatastores(self, request: common_pb2.Empty, context: RpcContext) -> pb.ListDatastoresResponse:
        stores, digest = await self._services.datastores.listed(context.call)
        return pb.ListDatastoresResponse(datastores=[to_message(s, pb.Datastore) for s in stores], digest=digest)

    async def GetDatastoreStatus(
        self, request: pb.GetDatastoreStatusRequest, context: RpcContext
    ) -> pb.DatastoreStatus:
        status = await self._services.status.status(
            context.call, request.store, verbose=request.verbose, any_mode=request.any_mode
        )
        return to_message(status, pb.DatastoreStatus)

    async def GetTenantUsage(self, request: common_pb2.Empty, context: RpcContext) -> pb.TenantUsage:
        return to_message(await self._services.status.tenant(context.call), pb.TenantUsage)

    async def ListNamespaces(self, request: pb.ListNamespacesRequest, context: RpcContext) -> pb.ListNamespacesResponse:
        depth = request.max_depth if request.HasField("max_depth") else None
        found = await self._services.namespaces.below(context.call, request.store, request.parent, depth)
        return pb.ListNamespacesResponse(namespaces=found)

    async def CreateNamespace(self, request: pb.CreateNamespaceRequest, context: RpcContext) -> common_pb2.Empty:
        await to_the_end(self._services.namespaces.create(context.call, request.store, request.ns))
        return EMPTY

    async def DeleteNamespace(self, request: pb.DeleteNamespaceRequest, context: RpcContext) -> pb.DeleteStatistics:
        done = await to_the_end(
            self._services.namespaces.delete(
                context.call,
                request.store,
                request.ns,
                delete_groups=request.delete_groups,
                error_on_protected=request.error_on_protected,
            )
        )
        return to_message(done, pb.DeleteStatistics)

    async def MoveNamespace(self, request: pb.MoveNamespaceRequest, context: RpcContext) -> pb.UpidResponse:
        work = self._services.namespace_moves.move_namespace(
            context.call,
            request.store,
            request.ns,
            request.target_ns,
            max_depth=request.max_depth if request.HasField("max_depth") else None,
            delete_source=request.delete_source,
            merge=request.merge_groups,
        )
        return pb.UpidResponse(upid=await to_the_end(work))
