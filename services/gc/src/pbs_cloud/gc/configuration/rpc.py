"""gRPC methods of ``pbs_cloud.proto.gc.v1.Configuration``."""

from __future__ import annotations

import json

from pbs_cloud.contracts.configuration import ConfigEntry, Section
from pbs_cloud.contracts.errors import InvalidArgument
from pbs_cloud.gc.configuration.service import KeptConfiguration
from pbs_cloud.proto.common.v1 import common_pb2
from pbs_cloud.proto.gc.v1 import configuration_pb2 as pb
from pbs_cloud.runtime.grpc_server import RpcContext

_EMPTY = common_pb2.Empty()


class ConfigurationRpc:
    """Thin on purpose."""

    def __init__(self, kept: KeptConfiguration) -> None:
        self._kept = kept

    async def ListEntries(self, request: pb.ListEntriesRequest, context: RpcContext) -> pb.ListEntriesResponse:
        entries, digest = await self._kept.list(context.call, _section(request.section))
        return pb.ListEntriesResponse(entries=[_message(entry) for entry in entries], digest=digest)

    async def GetEntry(self, request: pb.EntryRequest, context: RpcContext) -> pb.GetEntryResponse:
        entry, digest = await self._kept.get(context.call, _section(request.section), request.id)
        return pb.GetEntryResponse(entry=_message(entry), digest=digest)

    async def CreateEntry(self, request: pb.CreateEntryRequest, context: RpcContext) -> common_pb2.Empty:
        secret = request.secret if request.HasField("secret") else None
        await self._kept.create(context.call, _section(request.section), _entry(request.entry), secret)
        return _EMPTY

    async def UpdateEntry(self, request: pb.UpdateEntryRequest, context: RpcContext) -> common_pb2.Empty:
        digest = request.digest if request.HasField("digest") else None
        secret = request.secret if request.HasField("secret") else None
        changes = _entry(request.changes)
        await self._kept.update(context.call, _section(request.section), changes, list(request.delete), digest, secret)
        return _EMPTY

    async def DeleteEntry(self, request: pb.DeleteEntryRequest, context: RpcContext) -> common_pb2.Empty:
        digest = request.digest if request.HasField("digest") else None
        await self._kept.delete(context.call, _section(request.section), request.id, digest)
        return _EMPTY


def _section(text: str) -> Section:
    try:
        return Section(text)
    except ValueError as error:
        raise InvalidArgument("section: is unknown", field="section") from error


def _entry(message: pb.ConfigEntry) -> ConfigEntry:
    try:
        fields = json.loads(message.fields or "{}")
    except ValueError as error:
        raise InvalidArgument("fields: is no JSON", field="fields") from error
    if not isinstance(fields, dict):
        raise InvalidArgument("fields: is no object", field="fields")
    return ConfigEntry(message.id, fields)


def _message(entry: ConfigEntry) -> pb.ConfigEntry:
    return pb.ConfigEntry(id=entry.id, fields=json.dumps(dict(entry.fields)))
