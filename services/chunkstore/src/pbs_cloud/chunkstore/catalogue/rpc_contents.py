"""Group, snapshot and task calls of ``Catalogue``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC
from typing import TypeVar

from google.protobuf.message import Message

from pbs_cloud.chunkstore.catalogue.parts import to_the_end
from pbs_cloud.chunkstore.catalogue.rpc_sessions import EMPTY, group_of
from pbs_cloud.chunkstore.catalogue.services import Services
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.codec import from_message, to_message
from pbs_cloud.contracts.errors import InvalidArgument
from pbs_cloud.formats.calendar import parse_zone
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.prune import KeepOptions
from pbs_cloud.proto.chunkstore.v1 import chunkstore_pb2 as pb
from pbs_cloud.proto.common.v1 import common_pb2
from pbs_cloud.runtime.grpc_server import RpcContext

M = TypeVar("M", bound=Message)


def _key(message: pb.SnapshotRequest) -> t.SnapshotKey:
    return t.SnapshotKey(group_of(message.group), message.backup_time)


_PAGE_ITEMS = 200
_PAGE_BYTES = 1024 * 1024


async def _pages(items: AsyncIterator[object], kind: type[M]) -> AsyncIterator[list[M]]:
    """The items as messages, gathered until a page is full."""
    page: list[M] = []
    weight = 0
    async for item in items:
        page.append(to_message(item, kind))
        weight += page[-1].ByteSize()
        if len(page) >= _PAGE_ITEMS or weight > _PAGE_BYTES:
            yield page
            page, weight = [], 0
    if page:
        yield page


class ContentRpc:
    """Groups and snapshots (rest-api C.5, C.8)."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def ListGroups(self, request: pb.ListGroupsRequest, context: RpcContext) -> AsyncIterator[pb.GroupPage]:
        listed = self._services.listings.groups(context.call, request.store, request.ns)
        async for groups in _pages(listed, pb.Group):
            yield pb.GroupPage(items=groups)

    async def DeleteGroup(self, request: pb.DeleteGroupRequest, context: RpcContext) -> pb.DeleteStatistics:
        done = await to_the_end(
            self._services.groups.delete(
                context.call, group_of(request.group), error_on_protected=request.error_on_protected
            )
        )
        return to_message(done, pb.DeleteStatistics)

    async def GetGroupNotes(self, request: pb.GroupRequest, context: RpcContext) -> pb.Notes:
        return pb.Notes(notes=await self._services.groups.notes(context.call, group_of(request.group)))

    async def SetGroupNotes(self, request: pb.SetGroupNotesRequest, context: RpcContext) -> common_pb2.Empty:
        await to_the_end(self._services.groups.set_notes(context.call, group_of(request.group), request.notes))
        return EMPTY

    async def ChangeOwner(self, request: pb.ChangeOwnerRequest, context: RpcContext) -> common_pb2.Empty:
        await to_the_end(self._services.groups.change_owner(context.call, group_of(request.group), request.new_owner))
        return EMPTY

    async def MoveGroup(self, request: pb.MoveGroupRequest, context: RpcContext) -> pb.UpidResponse:
        work = self._services.moves.move_group(
            context.call, group_of(request.group), request.target_ns, merge=request.merge_group
        )
        return pb.UpidResponse(upid=await to_the_end(work))

    async def ListSnapshots(
        self, request: pb.ListSnapshotsRequest, context: RpcContext
    ) -> AsyncIterator[pb.SnapshotPage]:
        backup_type = request.backup_type if request.HasField("backup_type") else None
        backup_id = request.backup_id if request.HasField("backup_id") else None
        listed = self._services.listings.snapshots(context.call, request.store, request.ns, backup_type, backup_id)
        async for snapshots in _pages(listed, pb.Snapshot):
            yield pb.SnapshotPage(items=snapshots)

    async def DeleteSnapshot(self, request: pb.SnapshotRequest, context: RpcContext) -> common_pb2.Empty:
        await to_the_end(self._services.snapshots.delete(context.call, _key(request)))
        return EMPTY

    async def ListFiles(self, request: pb.SnapshotRequest, context: RpcContext) -> pb.ListFilesResponse:
        files = await self._services.snapshots.files(context.call, _key(request))
        return pb.ListFilesResponse(files=[to_message(file, pb.File) for file in files])

    async def GetNotes(self, request: pb.SnapshotRequest, context: RpcContext) -> pb.Notes:
        return pb.Notes(notes=await self._services.snapshots.notes(context.call, _key(request)))

    async def SetNotes(self, request: pb.SetNotesRequest, context: RpcContext) -> common_pb2.Empty:
        await to_the_end(self._services.snapshots.set_notes(context.call, _key(request.snapshot), request.notes))
        return EMPTY

    async def GetProtected(self, request: pb.SnapshotRequest, context: RpcContext) -> pb.Protected:
        return pb.Protected(protected=await self._services.snapshots.protected(context.call, _key(request)))

    async def SetProtected(self, request: pb.SetProtectedRequest, context: RpcContext) -> common_pb2.Empty:
        work = self._services.snapshots.set_protected(context.call, _key(request.snapshot), request.protected)
        await to_the_end(work)
        return EMPTY

    async def PruneGroup(self, request: pb.PruneGroupRequest, context: RpcContext) -> pb.PruneGroupResponse:
        try:
            keep = from_message(request.keep, KeepOptions)
            zone = parse_zone(request.zone) if request.HasField("zone") else UTC
        except FormatError as error:
            raise InvalidArgument(str(error), field="keep") from error
        group = group_of(request.group)
        work = self._services.pruning.prune_group(context.call, group, keep, dry_run=request.dry_run, zone=zone)
        verdicts = await to_the_end(work)
        return pb.PruneGroupResponse(snapshots=[to_message(verdict, pb.PrunedSnapshot) for verdict in verdicts])

    async def SetVerifyState(self, request: pb.SetVerifyStateRequest, context: RpcContext) -> common_pb2.Empty:
        verification = from_message(request.verification, t.Verification)
        await to_the_end(self._services.snapshots.set_verify_state(context.call, _key(request.snapshot), verification))
        return EMPTY

    async def UploadLog(self, request: AsyncIterator[bytes], context: RpcContext) -> common_pb2.Empty:
        key = _key(context.parameters(pb.SnapshotRequest))
        await to_the_end(self._services.logs.upload(context.call, key, request))
        return EMPTY


class TaskRpc:
    """Tasks (rest-api A.11, C.14)."""

    def __init__(self, services: Services) -> None:
        self._tasks = services.tasks

    async def CreateTask(self, request: pb.CreateTaskRequest, context: RpcContext) -> pb.UpidResponse:
        upid = await self._tasks.create(
            context.call,
            request.worker_type,
            request.worker_id if request.HasField("worker_id") else None,
            request.process_id,
            request.auth_id if request.HasField("auth_id") else None,
        )
        return pb.UpidResponse(upid=upid)

    async def AppendTaskLog(self, request: pb.AppendTaskLogRequest, context: RpcContext) -> common_pb2.Empty:
        await self._tasks.append(context.call, request.upid, request.lines)
        return EMPTY

    async def FinishTask(self, request: pb.FinishTaskRequest, context: RpcContext) -> common_pb2.Empty:
        await self._tasks.finish(context.call, request.upid, request.status)
        return EMPTY

    async def ListTasks(self, request: pb.ListTasksRequest, context: RpcContext) -> pb.ListTasksResponse:
        tasks, total = await self._tasks.page(context.call, from_message(request, t.TaskFilter))
        return pb.ListTasksResponse(tasks=[to_message(task, pb.Task) for task in tasks], total=total)

    async def GetTask(self, request: pb.TaskRequest, context: RpcContext) -> pb.Task:
        return to_message(await self._tasks.get(context.call, request.upid), pb.Task)

    async def ReadTaskLog(self, request: pb.ReadTaskLogRequest, context: RpcContext) -> pb.TaskLog:
        log = await self._tasks.read_log(context.call, request.upid, request.start, request.limit)
        return to_message(log, pb.TaskLog)

    async def StopTask(self, request: pb.TaskRequest, context: RpcContext) -> common_pb2.Empty:
        await self._tasks.stop(context.call, request.upid)
        return EMPTY
