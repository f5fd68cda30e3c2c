"""Retention of one group: the rules decide over its rows, removal goes the way of every deletion (formats 10.3)."""

from __future__ import annotations

from datetime import UTC, tzinfo

from pbs_cloud.chunkstore.catalogue.parts import Parts
from pbs_cloud.chunkstore.catalogue.rows import ENOENT
from pbs_cloud.chunkstore.catalogue.snapshots import Access, Snapshots
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Conflict, NotFound
from pbs_cloud.contracts.rights import Privilege
from pbs_cloud.formats.prune import KeepOptions, PruneCandidate, PruneDecision, decide

_PRUNE = ((Privilege.DATASTORE_MODIFY,), (Privilege.DATASTORE_PRUNE,))


class Pruning:
    """Decides and removes. Period labels are in UTC."""

    def __init__(self, parts: Parts, snapshots: Snapshots) -> None:
        self._parts = parts
        self._snapshots = snapshots

    async def prune_group(
        self, ctx: CallContext, ref: t.GroupRef, keep: KeepOptions, *, dry_run: bool, zone: tzinfo = UTC
    ) -> tuple[t.PrunedSnapshot, ...]:
        """Verdicts, oldest first; periods count in ``zone``.

        A snapshot that cannot go (read, base of a backup) stays, with the reason.

        Raises NotFound (datastore, group), NotOwner, Conflict (maintenance, also for a dry run).
        """
        access = Access.check(ctx, ref, _PRUNE)
        decisions = decide(await self._candidates(access), keep, zone)
        if dry_run:
            return tuple(_verdict(decision) for decision in reversed(decisions))
        return tuple([await self._carry_out(ctx, ref, decision) for decision in reversed(decisions)])

    async def _candidates(self, access: Access) -> list[PruneCandidate]:
        async with self._parts.database.tenant(access.ctx.tenant_id) as connection:
            store = await access.store(connection, writing=True)
            group = await access.group(connection, store)
            if group is None:
                raise NotFound(ENOENT)
            rows = await connection.fetch(
                "SELECT backup_time, state = 'committed', protected FROM snapshot"
                " WHERE group_id = $1 AND state <> 'removing'",
                group.id,
            )
        return [PruneCandidate(*row) for row in rows]

    async def _carry_out(self, ctx: CallContext, ref: t.GroupRef, decision: PruneDecision) -> t.PrunedSnapshot:
        if decision.keep:
            return _verdict(decision)
        try:
            await self._snapshots.delete(ctx, t.SnapshotKey(ref, decision.candidate.backup_time))
        except NotFound:
            return _verdict(decision)
        except Conflict as error:
            return _verdict(decision, error.message)
        return _verdict(decision)


def _verdict(decision: PruneDecision, error: str | None = None) -> t.PrunedSnapshot:
    return t.PrunedSnapshot(decision.candidate.backup_time, decision.mark.value, decision.keep, error)
