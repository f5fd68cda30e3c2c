"""The servicer of ``Catalogue``."""

from __future__ import annotations

from pbs_cloud.chunkstore.catalogue.rpc_contents import ContentRpc, TaskRpc
from pbs_cloud.chunkstore.catalogue.rpc_sessions import SessionRpc
from pbs_cloud.chunkstore.catalogue.rpc_stores import StoreRpc
from pbs_cloud.chunkstore.catalogue.services import Services
from pbs_cloud.proto.chunkstore.v1.chunkstore_pb2_grpc import add_CatalogueServicer_to_server
from pbs_cloud.runtime.grpc_server import GrpcServer


class CatalogueRpc(SessionRpc, StoreRpc, ContentRpc, TaskRpc):
    """All calls of the service."""

    def __init__(self, services: Services) -> None:
        SessionRpc.__init__(self, services)
        TaskRpc.__init__(self, services)


def serve(server: GrpcServer, services: Services) -> None:
    """Let ``server`` answer the calls of ``Catalogue``."""
    server.add_service(
        add_CatalogueServicer_to_server,
        CatalogueRpc(services),
        raw_requests=("PutBlob", "CloseIndex", "UploadLog"),
        raw_responses=("ReadSessionFile",),
    )
