"""Typed client of the gc service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from pbs_cloud.contracts.chunkstore.collection import CollectionState
from pbs_cloud.contracts.chunkstore.types import GroupRef, PrunedSnapshot
from pbs_cloud.contracts.client import DEADLINE_SECONDS, STREAM_DEADLINE_SECONDS, ServiceClient
from pbs_cloud.contracts.codec import from_message, to_message
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.jobs import Job, JobFields, JobKind, VerifyOptions, VerifyScope
from pbs_cloud.formats.prune import KeepOptions
from pbs_cloud.proto.chunkstore.v1 import chunkstore_pb2, collection_pb2
from pbs_cloud.proto.common.v1 import common_pb2
from pbs_cloud.proto.gc.v1 import gc_pb2 as pb
from pbs_cloud.proto.gc.v1 import gc_pb2_grpc


@dataclass(frozen=True, slots=True)
class GcServiceStatus:
    """Sweeps of dead leases since the start of the service; ``last_sweep`` in Unix seconds."""

    sweeps: int
    expired_sessions: int
    last_sweep: int | None = None


@dataclass(frozen=True, slots=True)
class CollectionStatistics:
    """What one garbage collection did (rest-api D.6)."""

    chunks_scanned: int
    chunks_referenced: int
    chunks_orphaned: int
    chunks_deleted: int
    bytes_freed: int
    errors: tuple[str, ...] = ()


class GcClient(ServiceClient):
    """Calls of ``pbs_cloud.proto.gc.v1.Gc``."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel)
        self._stub = gc_pb2_grpc.GcStub(channel)

    async def prune_group(
        self, ctx: CallContext, group: GroupRef, keep: KeepOptions, *, dry_run: bool = False, use_task: bool = False
    ) -> tuple[tuple[PrunedSnapshot, ...], str | None]:
        """Verdicts, oldest first, and the task's UPID; with ``use_task`` only the UPID (rest-api C.7)."""
        request = pb.PruneGroupRequest(
            group=to_message(group, chunkstore_pb2.GroupRef),
            keep=to_message(keep, chunkstore_pb2.KeepOptions),
            dry_run=dry_run,
            use_task=use_task,
        )
        answer = await self._unary(self._stub.PruneGroup, request, ctx, timeout=STREAM_DEADLINE_SECONDS)
        verdicts = tuple(from_message(snapshot, PrunedSnapshot) for snapshot in answer.snapshots)
        return verdicts, answer.upid if answer.HasField("upid") else None

    async def prune_datastore(
        self, ctx: CallContext, store: str, ns: str, max_depth: int | None, keep: KeepOptions, *, dry_run: bool = False
    ) -> str:
        """UPID of the task that prunes all groups of a namespace and below that the caller may prune."""
        request = pb.PruneDatastoreRequest(
            store=store, ns=ns, max_depth=max_depth, keep=to_message(keep, chunkstore_pb2.KeepOptions), dry_run=dry_run
        )
        return str((await self._unary(self._stub.PruneDatastore, request, ctx)).upid)

    async def start_collection(
        self,
        ctx: CallContext,
        store: str,
        *,
        dry_run: bool = False,
        max_delete: int | None = None,
        wait_seconds: float = 0.0,
    ) -> tuple[str, CollectionStatistics | None]:
        """UPID of the task; the statistics if it ended within ``wait_seconds``.

        Waits up to ten seconds for a run that is under way. Raises PermissionDenied, NotFound, Conflict, Locked.
        """
        request = pb.StartCollectionRequest(
            store=store, dry_run=dry_run, max_delete=max_delete, wait_seconds=wait_seconds
        )
        timeout = DEADLINE_SECONDS + wait_seconds
        answer = await self._unary(self._stub.StartCollection, request, ctx, timeout=timeout)
        done = from_message(answer.statistics, CollectionStatistics) if answer.HasField("statistics") else None
        return answer.upid, done

    async def collection_status(
        self, ctx: CallContext, store: str | None = None, *, with_chunks: bool = False
    ) -> tuple[CollectionState, ...]:
        """Garbage collection of all datastores of the tenant, or of one (NotFound)."""
        request = collection_pb2.ListCollectionsRequest(store=store, with_chunks=with_chunks)
        answer = await self._unary(self._stub.GetCollectionStatus, request, ctx)
        return tuple(from_message(state, CollectionState) for state in answer.collections)

    async def verify(self, ctx: CallContext, scope: VerifyScope, options: VerifyOptions) -> str:
        """UPID of the task (rest-api C.7). Raises PermissionDenied, NotOwner, NotFound (datastore), Conflict."""
        request = to_message(scope, pb.VerifyRequest)
        request.options.CopyFrom(to_message(options, pb.VerifyOptions))
        return str((await self._unary(self._stub.Verify, request, ctx)).upid)

    async def list_jobs(self, ctx: CallContext, kind: JobKind, store: str | None = None) -> tuple[tuple[Job, ...], str]:
        """Jobs that the caller may see, by id, and the digest of all of the tenant's."""
        answer = await self._unary(self._stub.ListJobs, pb.ListJobsRequest(kind=kind, store=store), ctx)
        return tuple(from_message(job, Job) for job in answer.jobs), str(answer.digest)

    async def get_job(self, ctx: CallContext, kind: JobKind, job_id: str) -> tuple[Job, str]:
        """A job and the digest. Raises NotFound, then Conflict without the rights."""
        answer = await self._unary(self._stub.GetJob, pb.JobRequest(kind=kind, id=job_id), ctx)
        return from_message(answer.job, Job), str(answer.digest)

    async def create_job(self, ctx: CallContext, kind: JobKind, job_id: str, fields: JobFields) -> None:
        """Raises Conflict (rights), AlreadyExists, InvalidArgument (schedule)."""
        request = pb.CreateJobRequest(kind=kind, id=job_id, fields=to_message(fields, pb.JobFields))
        await self._unary(self._stub.CreateJob, request, ctx)

    async def update_job(
        self,
        ctx: CallContext,
        kind: JobKind,
        job_id: str,
        changes: JobFields,
        delete: Sequence[str] = (),
        digest: str | None = None,
    ) -> None:
        """``delete``: names of fields to unset. Raises NotFound, Conflict (rights, digest)."""
        request = pb.UpdateJobRequest(
            kind=kind, id=job_id, changes=to_message(changes, pb.JobFields), delete=delete, digest=digest
        )
        await self._unary(self._stub.UpdateJob, request, ctx)

    async def delete_job(self, ctx: CallContext, kind: JobKind, job_id: str, digest: str | None = None) -> None:
        """Raises NotFound, Conflict (rights, digest)."""
        await self._unary(self._stub.DeleteJob, pb.DeleteJobRequest(kind=kind, id=job_id, digest=digest), ctx)

    async def run_job(self, ctx: CallContext, kind: JobKind, job_id: str) -> str:
        """UPID of the started task. Raises NotFound, Conflict (rights), Locked (it runs)."""
        return str((await self._unary(self._stub.RunJob, pb.JobRequest(kind=kind, id=job_id), ctx)).upid)

    async def create_default_prune_job(self, ctx: CallContext, store: str, fields: JobFields) -> None:
        """Retention that came with a new datastore becomes a job. Raises PermissionDenied."""
        request = pb.CreateDefaultPruneJobRequest(store=store, fields=to_message(fields, pb.JobFields))
        await self._unary(self._stub.CreateDefaultPruneJob, request, ctx)

    async def delete_jobs_of_datastore(self, ctx: CallContext, store: str) -> None:
        """Jobs go with their datastore. Raises PermissionDenied."""
        await self._unary(self._stub.DeleteJobsOfDatastore, pb.DeleteJobsOfDatastoreRequest(store=store), ctx)

    async def get_status(self, ctx: CallContext) -> GcServiceStatus:
        return from_message(await self._unary(self._stub.GetStatus, common_pb2.Empty(), ctx), GcServiceStatus)
