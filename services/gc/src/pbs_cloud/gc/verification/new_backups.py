"""Backups are verified right after they were made, where the datastore says so (formats 11.4 `verify-new`).

The event of the backup leaves a row in the transaction that moves the position in the events; some replica takes the
row and starts the task. So each backup gets its task, whatever dies in between; a task that dies with its process is
not repeated: the next verify job comes by its backup.
"""

from __future__ import annotations

from pbs_cloud.contracts.chunkstore.catalogue import CatalogueClient
from pbs_cloud.contracts.chunkstore.types import GroupRef, SnapshotKey
from pbs_cloud.contracts.context import SystemContext
from pbs_cloud.contracts.errors import NotFound, PbsError
from pbs_cloud.contracts.events import Event
from pbs_cloud.formats.names import SnapshotRef
from pbs_cloud.gc.tasks import TaskRunner
from pbs_cloud.gc.verification.verify import Verify
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.database import Connection, Database
from pbs_cloud.runtime.lifecycle import BackgroundTask
from pbs_cloud.runtime.logging import get_logger

PAUSE_SECONDS = 2.0
AT_ONCE = 4
"""Verifications of new backups that run at the same time in one process."""
_TAKE = """
DELETE FROM new_backup WHERE id = (SELECT id FROM new_backup ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING tenant_id, store, ns, snapshot
"""
_log = get_logger(__name__)


async def remember_backup(connection: Connection, event: Event) -> None:
    """A backup was made; whether its datastore wants it verified is asked later."""
    found = event.metadata
    await connection.execute(
        "INSERT INTO new_backup (tenant_id, store, ns, snapshot) VALUES ($1, $2, $3, $4)",
        event.tenant_id,
        found["store"],
        found["ns"],
        found["snapshot"],
    )


async def forget_tenant(connection: Connection, tenant_id: str) -> None:
    """The tenant is gone."""
    await connection.execute("DELETE FROM new_backup WHERE tenant_id = $1", tenant_id)


class NewBackups(BackgroundTask):
    """Takes new backups one by one and starts their verification."""

    def __init__(
        self,
        database: Database,
        catalogue: CatalogueClient,
        tasks: TaskRunner,
        verify: Verify,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__("new backups", self._run_for_ever)
        self._database = database
        self._catalogue = catalogue
        self._tasks = tasks
        self._verify = verify
        self._clock = clock
        self._running: set[str] = set()

    async def run_once(self) -> bool:
        """Deal with one backup; False if none waits. Raises a ``PbsError``, then it waits on."""
        async with self._database.system() as connection:
            row = await connection.fetchrow(_TAKE)
            if row is None:
                return False
            ctx = SystemContext().for_tenant(row["tenant_id"])
            stores, _ = await self._catalogue.list_datastores(ctx)
            store = next((store for store in stores if store.name == row["store"]), None)
            if store is None or store.config.get("verify-new") != "true":
                return True
            ref = SnapshotRef.parse(row["snapshot"])
            group = GroupRef(store.name, row["ns"], ref.group.backup_type.value, ref.group.backup_id)
            try:
                self._running.add(await self._verify.start_after_backup(ctx, SnapshotKey(group, ref.backup_time)))
            except NotFound:
                return True
        return True

    def _is_free(self) -> bool:
        self._running = {upid for upid in self._running if self._tasks.is_running(upid)}
        return len(self._running) < AT_ONCE

    async def _run_for_ever(self) -> None:
        while True:
            try:
                while self._is_free() and await self.run_once():
                    pass
            except PbsError as error:
                _log.info("new backups wait", reason=error.message)
            await self._clock.sleep(PAUSE_SECONDS)
