"""Client of ``Catalogue``: sessions, datastores, namespaces, groups, snapshots and tasks."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from typing import Any

import grpc

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.client import STREAM_DEADLINE_SECONDS, ServiceClient
from pbs_cloud.contracts.codec import from_message, to_message
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.formats.prune import KeepOptions
from pbs_cloud.proto.chunkstore.v1 import chunkstore_pb2 as pb
from pbs_cloud.proto.chunkstore.v1 import chunkstore_pb2_grpc
from pbs_cloud.proto.common.v1 import common_pb2

SERVICE = "/pbs_cloud.proto.chunkstore.v1.Catalogue"


def _group(group: t.GroupRef) -> pb.GroupRef:
    return to_message(group, pb.GroupRef)


def _snapshot(key: t.SnapshotKey) -> pb.SnapshotRequest:
    return to_message(key, pb.SnapshotRequest)


class SessionCalls(ServiceClient):
    """Backup and reader sessions (wire-protocol 4, 5; formats 9.9)."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self._stub = chunkstore_pb2_grpc.CatalogueStub(channel)
        empty = common_pb2.Empty.FromString
        self._put_blob: Any = channel.unary_unary(
            f"{SERVICE}/PutBlob", request_serializer=None, response_deserializer=empty
        )
        self._close_index: Any = channel.stream_unary(
            f"{SERVICE}/CloseIndex", request_serializer=None, response_deserializer=empty
        )
        self._upload_log: Any = channel.stream_unary(
            f"{SERVICE}/UploadLog", request_serializer=None, response_deserializer=empty
        )
        self._read_file: Any = channel.unary_stream(
            f"{SERVICE}/ReadSessionFile",
            request_serializer=pb.ReadSessionFileRequest.SerializeToString,
            response_deserializer=None,
        )

    async def open_backup(
        self, ctx: CallContext, group: t.GroupRef, backup_time: int, *, benchmark: bool, process_id: str
    ) -> t.BackupSession:
        """All checks of wire-protocol 4.1 from the privilege on; locks the group and pins the base.

        Raises PermissionDenied, NotFound (datastore), NamespaceNotFound, Conflict (maintenance, time, exists), Locked,
        NotOwner, InvalidArgument (benchmark rule), DataCorrupt (manifest of the base), QuotaExceeded, Unavailable.
        """
        request = pb.OpenBackupRequest(
            group=_group(group), backup_time=backup_time, benchmark=benchmark, process_id=process_id
        )
        return from_message(await self._unary(self._stub.OpenBackup, request, ctx), t.BackupSession)

    async def open_reader(
        self, ctx: CallContext, snapshot: t.SnapshotKey, *, process_id: str, with_task: bool = True
    ) -> t.ReaderSession:
        """All checks of wire-protocol 5.1; pins the snapshot. ``with_task=False`` for REST downloads."""
        request = pb.OpenReaderRequest(
            group=_group(snapshot.group), backup_time=snapshot.backup_time, process_id=process_id, with_task=with_task
        )
        return from_message(await self._unary(self._stub.OpenReader, request, ctx), t.ReaderSession)

    async def renew_leases(self, process_id: str, session_ids: Sequence[str], upids: Sequence[str] = ()) -> t.Leases:
        """One call for all sessions and tasks of a process."""
        request = pb.RenewLeasesRequest(process_id=process_id, session_ids=session_ids, upids=upids)
        return from_message(await self._unary(self._stub.RenewLeases, request, None), t.Leases)

    async def expire_process(self, process_id: str) -> None:
        """End all sessions and tasks of an earlier process with this id."""
        await self._unary(self._stub.ExpireProcess, pb.ExpireProcessRequest(process_id=process_id), None)

    async def expire_dead_sessions(self) -> int:
        """Clean up sessions and tasks of all tenants whose lease ran out; answers how many."""
        return int((await self._unary(self._stub.ExpireDeadSessions, common_pb2.Empty(), None)).expired)

    async def put_blob(self, ctx: CallContext, session_id: str, file_name: str, blob: bytes | memoryview) -> None:
        """Store a blob byte for byte (wire-protocol 4.10); durable when this returns."""
        parameters = pb.PutBlobRequest(session_id=session_id, file_name=file_name)
        await self._raw_unary(self._put_blob, parameters, bytes(blob), ctx)

    async def close_index(
        self, ctx: CallContext, session_id: str, archive_name: str, csum: bytes, size: int, pieces: AsyncIterable[bytes]
    ) -> None:
        """Store a complete index file; all its chunks must be live (``ChunksClient.flush`` first) and not corrupt."""
        parameters = pb.CloseIndexRequest(session_id=session_id, archive_name=archive_name, csum=csum, size=size)
        await self._raw_stream_in(self._close_index, parameters, pieces, ctx)

    async def read_session_file(self, ctx: CallContext, session_id: str, file_name: str) -> AsyncIterator[bytes]:
        """Bytes of a file of the base or of the reader's snapshot. Raises NotFound before the first piece."""
        async for piece in self._stream_out(
            self._read_file, pb.ReadSessionFileRequest(session_id=session_id, file_name=file_name), ctx
        ):
            yield piece

    async def finish(self, ctx: CallContext, session_id: str, statistics: t.UploadStatistics) -> None:
        """Commit the snapshot (wire-protocol 4.12). All locks are free when this returns. Repeatable."""
        request = pb.FinishRequest(session_id=session_id, statistics=to_message(statistics, pb.UploadStatistics))
        await self._unary(self._stub.Finish, request, ctx)

    async def close_session(
        self, ctx: CallContext, session_id: str, *, error: str | None = None, bytes_sent: int = 0
    ) -> None:
        """End a session: removes what was not committed, frees locks and pins, ends the task. Repeatable."""
        request = pb.CloseSessionRequest(session_id=session_id, error=error, bytes_sent=bytes_sent)
        await self._unary(self._stub.CloseSession, request, ctx)


class DatastoreCalls(SessionCalls):
    """Datastores, namespaces and groups (rest-api C.4-C.6, C.12)."""

    async def ensure_datastore(self, tenant_id: str, name: str) -> None:
        """Create a datastore at first start; nothing happens if it exists."""
        await self._unary(self._stub.EnsureDatastore, pb.EnsureDatastoreRequest(tenant_id=tenant_id, name=name), None)

    async def create_datastore(
        self, ctx: CallContext, name: str, config: Mapping[str, str], *, reuse: bool = False
    ) -> str:
        """UPID of the finished task."""
        request = pb.CreateDatastoreRequest(name=name, config=dict(config), reuse_datastore=reuse)
        return str((await self._unary(self._stub.CreateDatastore, request, ctx)).upid)

    async def update_datastore(
        self,
        ctx: CallContext,
        name: str,
        changes: Mapping[str, str],
        delete: Sequence[str] = (),
        digest: str | None = None,
    ) -> None:
        request = pb.UpdateDatastoreRequest(name=name, set=dict(changes), delete=delete, digest=digest)
        await self._unary(self._stub.UpdateDatastore, request, ctx)

    async def delete_datastore(
        self, ctx: CallContext, name: str, *, destroy_data: bool = False, digest: str | None = None
    ) -> str:
        """UPID of the task."""
        request = pb.DeleteDatastoreRequest(name=name, destroy_data=destroy_data, digest=digest)
        return str((await self._unary(self._stub.DeleteDatastore, request, ctx, timeout=STREAM_DEADLINE_SECONDS)).upid)

    async def list_datastores(self, ctx: CallContext) -> tuple[tuple[t.Datastore, ...], str]:
        """All datastores of the tenant (the gateway filters by rights) and the configuration digest."""
        answer = await self._unary(self._stub.ListDatastores, common_pb2.Empty(), ctx)
        return tuple(from_message(store, t.Datastore) for store in answer.datastores), answer.digest

    async def datastore_status(
        self, ctx: CallContext, store: str, verbose: bool = False, *, any_mode: bool = False
    ) -> t.DatastoreStatus:
        """Raises Conflict in a maintenance mode that forbids reading, unless ``any_mode``."""
        request = pb.GetDatastoreStatusRequest(store=store, verbose=verbose, any_mode=any_mode)
        return from_message(await self._unary(self._stub.GetDatastoreStatus, request, ctx), t.DatastoreStatus)

    async def tenant_usage(self, ctx: CallContext) -> t.TenantUsage:
        return from_message(await self._unary(self._stub.GetTenantUsage, common_pb2.Empty(), ctx), t.TenantUsage)

    async def list_namespaces(
        self, ctx: CallContext, store: str, parent: str, max_depth: int | None
    ) -> tuple[str, ...]:
        """Visible namespaces, the anchor first, parents before children."""
        request = pb.ListNamespacesRequest(store=store, parent=parent, max_depth=max_depth)
        return tuple((await self._unary(self._stub.ListNamespaces, request, ctx)).namespaces)

    async def create_namespace(self, ctx: CallContext, store: str, ns: str) -> None:
        await self._unary(self._stub.CreateNamespace, pb.CreateNamespaceRequest(store=store, ns=ns), ctx)

    async def delete_namespace(
        self, ctx: CallContext, store: str, ns: str, *, delete_groups: bool, error_on_protected: bool
    ) -> t.DeleteStatistics:
        request = pb.DeleteNamespaceRequest(
            store=store, ns=ns, delete_groups=delete_groups, error_on_protected=error_on_protected
        )
        answer = await self._unary(self._stub.DeleteNamespace, request, ctx, timeout=STREAM_DEADLINE_SECONDS)
        return from_message(answer, t.DeleteStatistics)

    async def list_groups(self, ctx: CallContext, store: str, ns: str) -> AsyncIterator[t.Group]:
        async for page in self._stream_out(self._stub.ListGroups, pb.ListGroupsRequest(store=store, ns=ns), ctx):
            for group in page.items:
                yield from_message(group, t.Group)

    async def delete_group(
        self, ctx: CallContext, group: t.GroupRef, *, error_on_protected: bool
    ) -> t.DeleteStatistics:
        request = pb.DeleteGroupRequest(group=_group(group), error_on_protected=error_on_protected)
        answer = await self._unary(self._stub.DeleteGroup, request, ctx, timeout=STREAM_DEADLINE_SECONDS)
        return from_message(answer, t.DeleteStatistics)

    async def group_notes(self, ctx: CallContext, group: t.GroupRef) -> str:
        return str((await self._unary(self._stub.GetGroupNotes, pb.GroupRequest(group=_group(group)), ctx)).notes)

    async def set_group_notes(self, ctx: CallContext, group: t.GroupRef, notes: str) -> None:
        await self._unary(self._stub.SetGroupNotes, pb.SetGroupNotesRequest(group=_group(group), notes=notes), ctx)

    async def change_owner(self, ctx: CallContext, group: t.GroupRef, new_owner: str) -> None:
        """``new_owner`` was checked to be active. Raises Unauthenticated for a move that the caller may not make."""
        await self._unary(self._stub.ChangeOwner, pb.ChangeOwnerRequest(group=_group(group), new_owner=new_owner), ctx)

    async def move_group(self, ctx: CallContext, group: t.GroupRef, target_ns: str, *, merge: bool) -> str:
        """UPID of the task (rest-api C.6)."""
        request = pb.MoveGroupRequest(group=_group(group), target_ns=target_ns, merge_group=merge)
        return str((await self._unary(self._stub.MoveGroup, request, ctx)).upid)

    async def move_namespace(
        self,
        ctx: CallContext,
        store: str,
        ns: str,
        target_ns: str,
        *,
        max_depth: int | None,
        delete_source: bool,
        merge: bool,
    ) -> str:
        """UPID of the task (rest-api C.6)."""
        request = pb.MoveNamespaceRequest(
            store=store,
            ns=ns,
            target_ns=target_ns,
            max_depth=max_depth,
            delete_source=delete_source,
            merge_groups=merge,
        )
        return str((await self._unary(self._stub.MoveNamespace, request, ctx)).upid)


class SnapshotCalls(DatastoreCalls):
    """Snapshots (rest-api C.5, C.8)."""

    async def list_snapshots(
        self, ctx: CallContext, store: str, ns: str, *, backup_type: str | None = None, backup_id: str | None = None
    ) -> AsyncIterator[t.Snapshot]:
        request = pb.ListSnapshotsRequest(store=store, ns=ns, backup_type=backup_type, backup_id=backup_id)
        async for page in self._stream_out(self._stub.ListSnapshots, request, ctx):
            for snapshot in page.items:
                yield from_message(snapshot, t.Snapshot)

    async def delete_snapshot(self, ctx: CallContext, snapshot: t.SnapshotKey) -> None:
        await self._unary(self._stub.DeleteSnapshot, _snapshot(snapshot), ctx)

    async def list_files(self, ctx: CallContext, snapshot: t.SnapshotKey) -> tuple[t.File, ...]:
        answer = await self._unary(self._stub.ListFiles, _snapshot(snapshot), ctx)
        return tuple(from_message(file, t.File) for file in answer.files)

    async def notes(self, ctx: CallContext, snapshot: t.SnapshotKey) -> str:
        return str((await self._unary(self._stub.GetNotes, _snapshot(snapshot), ctx)).notes)

    async def set_notes(self, ctx: CallContext, snapshot: t.SnapshotKey, notes: str) -> None:
        await self._unary(self._stub.SetNotes, pb.SetNotesRequest(snapshot=_snapshot(snapshot), notes=notes), ctx)

    async def protected(self, ctx: CallContext, snapshot: t.SnapshotKey) -> bool:
        return bool((await self._unary(self._stub.GetProtected, _snapshot(snapshot), ctx)).protected)

    async def set_protected(self, ctx: CallContext, snapshot: t.SnapshotKey, protected: bool) -> None:
        request = pb.SetProtectedRequest(snapshot=_snapshot(snapshot), protected=protected)
        await self._unary(self._stub.SetProtected, request, ctx)

    async def prune_group(
        self, ctx: CallContext, group: t.GroupRef, keep: KeepOptions, *, dry_run: bool, zone: str | None = None
    ) -> tuple[t.PrunedSnapshot, ...]:
        """Decide by the rules of formats 10 and remove; oldest first. Raises NotFound for a missing group.

        ``zone``: time zone of the periods as it stands behind a schedule; None is UTC.
        """
        request = pb.PruneGroupRequest(
            group=_group(group), keep=to_message(keep, pb.KeepOptions), dry_run=dry_run, zone=zone
        )
        answer = await self._unary(self._stub.PruneGroup, request, ctx, timeout=STREAM_DEADLINE_SECONDS)
        return tuple(from_message(snapshot, t.PrunedSnapshot) for snapshot in answer.snapshots)

    async def set_verify_state(self, ctx: CallContext, snapshot: t.SnapshotKey, verification: t.Verification) -> None:
        """Store the result of a verification (formats 11.1); allowed in a read-only datastore."""
        request = pb.SetVerifyStateRequest(
            snapshot=_snapshot(snapshot), verification=to_message(verification, pb.Verification)
        )
        await self._unary(self._stub.SetVerifyState, request, ctx)

    async def upload_log(self, ctx: CallContext, snapshot: t.SnapshotKey, pieces: AsyncIterable[bytes]) -> None:
        """Store ``client.log.blob`` (rest-api C.8)."""
        await self._raw_stream_in(self._upload_log, _snapshot(snapshot), pieces, ctx)


class CatalogueClient(SnapshotCalls):
    """Calls of ``pbs_cloud.proto.chunkstore.v1.Catalogue``; here the tasks (rest-api A.11, C.14)."""

    async def create_task(
        self, ctx: CallContext, worker_type: str, worker_id: str | None, *, process_id: str, auth_id: str | None = None
    ) -> str:
        """UPID of a new running task; its process keeps it alive with ``renew_leases``."""
        request = pb.CreateTaskRequest(
            worker_type=worker_type, worker_id=worker_id, process_id=process_id, auth_id=auth_id
        )
        return str((await self._unary(self._stub.CreateTask, request, ctx)).upid)

    async def append_task_log(self, ctx: CallContext, upid: str, lines: Sequence[str]) -> None:
        """Lines without time stamp; the server adds it."""
        await self._unary(self._stub.AppendTaskLog, pb.AppendTaskLogRequest(upid=upid, lines=lines), ctx)

    async def finish_task(self, ctx: CallContext, upid: str, status: str) -> None:
        """``OK``, ``WARNINGS: n`` or an error text; writes the closing log line."""
        await self._unary(self._stub.FinishTask, pb.FinishTaskRequest(upid=upid, status=status), ctx)

    async def list_tasks(self, ctx: CallContext, task_filter: t.TaskFilter) -> tuple[tuple[t.Task, ...], int]:
        """Visible tasks and ``total`` as rest-api C.14 defines it."""
        answer = await self._unary(self._stub.ListTasks, to_message(task_filter, pb.ListTasksRequest), ctx)
        return tuple(from_message(task, t.Task) for task in answer.tasks), answer.total

    async def get_task(self, ctx: CallContext, upid: str) -> t.Task:
        """Raises Conflict ``task access not allowed`` for unknown and foreign tasks alike."""
        return from_message(await self._unary(self._stub.GetTask, pb.TaskRequest(upid=upid), ctx), t.Task)

    async def read_task_log(self, ctx: CallContext, upid: str, start: int, limit: int) -> t.TaskLog:
        """Lines from number ``start`` (1-based; 0 like 1), at most ``limit`` (0 = all), in one consistent read."""
        request = pb.ReadTaskLogRequest(upid=upid, start=start, limit=limit)
        return from_message(await self._unary(self._stub.ReadTaskLog, request, ctx), t.TaskLog)

    async def stop_task(self, ctx: CallContext, upid: str) -> None:
        """Ask the task to stop; no error for finished and unknown tasks (rest-api E.4)."""
        await self._unary(self._stub.StopTask, pb.TaskRequest(upid=upid), ctx)
