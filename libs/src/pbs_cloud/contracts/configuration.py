"""Typed client of the configuration that is kept for clients: remotes, sync jobs, traffic rules (rest-api C.12)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import grpc

from pbs_cloud.contracts.client import ServiceClient
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.proto.gc.v1 import configuration_pb2 as pb
from pbs_cloud.proto.gc.v1 import configuration_pb2_grpc


class Section(StrEnum):
    """Kinds of entries, as they are named in paths."""

    REMOTE = "remote"
    SYNC = "sync"
    TRAFFIC = "traffic-control"


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """One entry; ``fields`` by their names on the wire, without id and secret."""

    id: str
    fields: Mapping[str, Any] = field(default_factory=dict)


class ConfigurationClient(ServiceClient):
    """Calls of ``pbs_cloud.proto.gc.v1.Configuration``."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self._stub = configuration_pb2_grpc.ConfigurationStub(channel)

    async def list_entries(self, ctx: CallContext, section: Section) -> tuple[tuple[ConfigEntry, ...], str]:
        """Entries that the caller may see, by id, and the digest of all of the tenant's."""
        answer = await self._unary(self._stub.ListEntries, pb.ListEntriesRequest(section=section), ctx)
        return tuple(_entry(entry) for entry in answer.entries), str(answer.digest)

    async def get_entry(self, ctx: CallContext, section: Section, entry_id: str) -> tuple[ConfigEntry, str]:
        """An entry and the digest. Raises NotFound, PermissionDenied (remote, traffic), Conflict (sync: rights)."""
        answer = await self._unary(self._stub.GetEntry, pb.EntryRequest(section=section, id=entry_id), ctx)
        return _entry(answer.entry), str(answer.digest)

    async def create_entry(
        self, ctx: CallContext, section: Section, entry: ConfigEntry, secret: str | None = None
    ) -> None:
        """Raises AlreadyExists, and for missing rights as :meth:`get_entry`."""
        request = pb.CreateEntryRequest(section=section, entry=_message(entry), secret=secret)
        await self._unary(self._stub.CreateEntry, request, ctx)

    async def update_entry(
        self,
        ctx: CallContext,
        section: Section,
        changes: ConfigEntry,
        delete: Sequence[str] = (),
        digest: str | None = None,
        secret: str | None = None,
    ) -> None:
        """``delete``: names of fields to unset. Raises as :meth:`get_entry`, and Conflict (digest)."""
        request = pb.UpdateEntryRequest(
            section=section, changes=_message(changes), delete=delete, digest=digest, secret=secret
        )
        await self._unary(self._stub.UpdateEntry, request, ctx)

    async def delete_entry(self, ctx: CallContext, section: Section, entry_id: str, digest: str | None = None) -> None:
        """Raises as :meth:`update_entry`."""
        request = pb.DeleteEntryRequest(section=section, id=entry_id, digest=digest)
        await self._unary(self._stub.DeleteEntry, request, ctx)


def _entry(message: pb.ConfigEntry) -> ConfigEntry:
    return ConfigEntry(message.id, json.loads(message.fields))


def _message(entry: ConfigEntry) -> pb.ConfigEntry:
    return pb.ConfigEntry(id=entry.id, fields=json.dumps(dict(entry.fields)))
