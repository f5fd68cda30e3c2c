"""One world: the product, its storage, its people and what befalls them, from a script to a verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from testkit.simulator import actors, faults, foreign, invariants
from testkit.simulator.bucket import Bucket
from testkit.simulator.comparison import check_fsck
from testkit.simulator.directory import Directory
from testkit.simulator.loop import Process, SimLoop
from testkit.simulator.network import Network
from testkit.simulator.patching import wait_until
from testkit.simulator.postgres import SimPostgres
from testkit.simulator.processes import TENANT, Product, settings_for
from testkit.simulator.script import NAMESPACES, Op, Script
from testkit.simulator.storage_hooks import DatabaseHooks
from testkit.simulator.truth import Truth

from pbs_cloud.formats import layout

PREFIX = "store"
BOOT_SECONDS = 200.0
OP_SECONDS = 7200.0
LATE_SECONDS = 2100.0
FSCK_EVERY = 4
"""One of so many worlds is compared at its end as `pbs-cloud fsck` does it."""
_STORE = """
INSERT INTO datastore (tenant_id, name, backend_type, location) VALUES ($1, $2, $3, $4) RETURNING id
"""


class Violation(Exception):
    """An invariant does not hold. `loss`: of data."""

    def __init__(self, text: str, *, loss: bool) -> None:
        super().__init__(text)
        self.loss = loss


@dataclass(eq=False)
class World:
    """Built and run once."""

    loop: SimLoop
    script: Script
    truth: Truth = field(default_factory=Truth)
    places: dict[int, str] = field(default_factory=dict)
    datastore: int = 0
    verdict: Violation | None = None

    def __post_init__(self) -> None:
        config, loop = self.script.config, self.loop
        self.bucket = Bucket(loop)
        self.directory = Directory(loop)
        self.network = Network(loop)
        self.hooks = DatabaseHooks(loop)
        self.postgres = SimPostgres(self.hooks, seed=self.script.seed)
        self.observer = self.postgres.database("chunkstore")
        self.product = Product(
            loop=loop,
            network=self.network,
            settings=settings_for(config["backend"], config["grace"]),
            bucket=self.bucket,
            directory=self.directory,
            database_of=lambda: self.postgres.database("chunkstore"),
            pace=config["pace"],
            skews=config["skews"],
        )

    # ------------------------------------------------------------------------------------------------ verdicts

    def lost(self, text: str) -> None:
        """Data is lost. Raises Violation."""
        self._violated(Violation(text, loss=True))

    def fail(self, text: str) -> None:
        """Another invariant is broken. Raises Violation."""
        self._violated(Violation(text, loss=False))

    def _violated(self, violation: Violation) -> None:
        self.verdict = self.verdict or violation
        raise violation

    # ------------------------------------------------------------------------------------------------ storage

    @property
    def on_s3(self) -> bool:
        return bool(self.script.config["backend"] == "s3")

    def file(self, key: str) -> bytes | None:
        """A file of a snapshot as it is stored now."""
        if self.on_s3:
            found = self.bucket.objects.get(layout.content_key(PREFIX, key))
            return None if found is None else found.data
        return self.directory.files.get(key)

    def chunk_object(self, digest: bytes) -> bytes | None:
        """The object of a chunk as it is stored now."""
        if self.on_s3:
            found = self.bucket.objects.get(layout.chunk_key(PREFIX, digest))
            return None if found is None else found.data
        return self.directory.files.get(layout.chunk_path(digest))

    def put_file(self, key: str, data: bytes) -> None:
        """Another server writes a file of a snapshot."""
        if self.on_s3:
            self.bucket.put(layout.content_key(PREFIX, key), data, only_new=False)
        else:
            self.directory.write(key, data, synced=True)

    def delete_file(self, key: str) -> None:
        """People delete a file by hand."""
        if self.on_s3:
            self.bucket.delete([layout.content_key(PREFIX, key)])
        else:
            self.directory.unlink(key, synced=True)

    def put_chunk_object(self, digest: bytes, data: bytes) -> None:
        """Another server writes a chunk."""
        if self.on_s3:
            self.bucket.put(layout.chunk_key(PREFIX, digest), data, only_new=False)
        else:
            self.directory.write(layout.chunk_path(digest), data, synced=True)

    def stored_chunks(self) -> set[bytes]:
        """Digests of all chunk objects, set-aside copies left out."""
        keys = [*self.bucket.objects, *self.directory.files]
        names = [layout.parse_chunk_name(key.rpartition("/")[2]) for key in keys]
        return {name.digest for name in names if name is not None and name.bad_number is None}

    # ------------------------------------------------------------------------------------------------ the story

    async def run(self) -> None:
        """The whole story. Raises Violation."""
        config = self.script.config
        await self._make_datastore()
        for name in self.names():
            self.product.start(name)
        if not await wait_until(lambda: len(self.product.parts) == 4, every=0.5, at_most=BOOT_SECONDS):
            self.fail("the product does not start")
        self._trouble(config)
        running = [asyncio.ensure_future(self._perform(op)) for op in self.script.ops]
        await asyncio.gather(*running)
        await self._calm_down()
        await self._finale()

    def names(self) -> list[str]:
        config = self.script.config
        counts = {"chunks": config["chunks"], "catalogue": config["catalogue"], "gc": 2, "gateway": 2}
        return [f"{kind}-{number}" for kind, count in counts.items() for number in range(count)]

    async def _make_datastore(self) -> None:
        async with self.observer.tenant(TENANT) as connection:
            backend = self.script.config["backend"]
            self.datastore = await connection.fetchval(_STORE, TENANT, actors.STORE, backend, PREFIX)
            for path in NAMESPACES:
                await connection.execute(
                    "INSERT INTO namespace (tenant_id, datastore_id, path) VALUES ($1, $2, $3)",
                    TENANT, self.datastore, path,
                )  # fmt: skip

    def _trouble(self, config: dict[str, Any]) -> None:
        self.bucket.trouble = config["trouble"]
        self.network.trouble = config["network"]
        self.hooks.trouble = config["database"]
        self.network.slow = config.get("slow", 0.0)
        self.loop.blocking_wait = config.get("disk", 0.002)

    async def _perform(self, op: Op) -> None:
        await asyncio.sleep(op.at)
        fault = faults.FAULTS.get(op.kind)
        if fault is not None:
            await fault(self, op.args)
            return
        operate = foreign.OPERATOR_OPS.get(op.kind)
        if operate is not None:
            await operate(self, op.args)
            await invariants.check_safety(self)
            self._require_no_surprise()
            return
        kind = "gateway" if op.kind in actors.GATEWAY_OPS else "worker"
        name = f"gateway-{op.args['gateway']}" if kind == "gateway" else f"gc-{op.args['worker']}"
        if not await wait_until(lambda: name in self.product.parts, every=0.5, at_most=BOOT_SECONDS):
            return
        part = self.product.parts[name]
        work = (actors.GATEWAY_OPS if kind == "gateway" else actors.WORKER_OPS)[op.kind](self, part, op.args)
        if not await self.until_it_ends(part.process, work):
            self.fail(f"{op.kind} {op.args} does not come to an end")
        await invariants.check_safety(self)
        self._require_no_surprise()

    async def until_it_ends(self, process: Process, work: Coroutine[Any, Any, None]) -> bool:
        """Whether the work ended, or its process did, in time."""
        task = self.loop.spawn(process, work)
        over = asyncio.Event()
        process.at_death.append(over.set)
        task.add_done_callback(lambda _: over.set())
        try:
            async with asyncio.timeout(OP_SECONDS):
                await over.wait()
        except TimeoutError:
            return process.dead
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error
        return True

    async def find_places(self) -> None:
        """Where each group's newest backup is."""
        async with self.observer.system() as connection:
            rows = await connection.fetch(
                "SELECT g.backup_id, n.path, s.backup_time FROM snapshot s JOIN backup_group g ON g.id = s.group_id"
                " JOIN namespace n ON n.id = g.namespace_id WHERE s.state = 'committed' ORDER BY s.backup_time"
            )
        for row in rows:
            self.places[int(row["backup_id"][1:])] = row["path"]

    # ------------------------------------------------------------------------------------------------ the end

    async def _calm_down(self) -> None:
        """All faults are over, everything runs again, every lease that will run out has."""
        self._trouble({"trouble": 0.0, "network": 0.0, "database": 0.0})
        self.network.cut.clear()
        self.bucket.away = self.directory.full = False
        now = self.loop.now
        longest = max((process.paused_until for process in self.product.running.values()), default=now)
        await asyncio.sleep(max(longest - now, 0.0))
        for name in self.names():
            if name not in self.product.running:
                self.product.start(name)
        await asyncio.sleep(65.0)
        await self._tidy_up()
        await foreign.take_in(self)
        await invariants.check_safety(self)

    def _require_no_surprise(self) -> None:
        """Services raise errors of the contract, and nothing else; the model of Postgres had to refuse nothing."""
        if self.network.surprises:
            self.fail(f"unexpected error: {self.network.surprises[0]}")
        if refused := self.postgres.storage("chunkstore").refused:
            self.fail(f"the model of Postgres does not understand: {refused[0]}")

    async def _finale(self) -> None:
        async with self.observer.system() as connection:
            if await connection.fetchval("SELECT count(*) FROM gc_run WHERE ended_at IS NULL"):
                await self._collect()  # ends what somebody has begun: the two runs come after it
        await self._collect()
        await self._sleep_long(max(self.script.config["grace"], LATE_SECONDS if self.on_s3 else 0.0))
        await self._collect()
        orphans = self.script.config["orphans"]
        if orphans:
            await self._sleep_long(8 * 86400.0)
            await self._collect()
        await self._tidy_up()
        needed = await invariants.check_safety(self)
        await invariants.check_garbage(self, needed, orphans=orphans)
        await invariants.check_usage(self)
        await invariants.check_leftovers(self)
        if self.script.seed % FSCK_EVERY == 0:
            with ThreadPoolExecutor(1) as executor:
                await check_fsck(self, executor, needed, orphans=orphans)
        for found in self.loop.errors:
            error = found.get("exception")
            self.fail(f"nobody looked at: {found.get('message')}: {type(error).__name__}: {error}")

    async def _sleep_long(self, seconds: float) -> None:
        """A time in which nobody runs; they wake one after the other."""
        for number, process in enumerate(self.product.running.values()):
            self.loop.pause(process, seconds + 10.0 * number)
        await asyncio.sleep(seconds + 10.0 * len(self.product.running) + 5.0)
        await self._tidy_up()

    async def _tidy_up(self) -> None:
        """What a process does at its start: finish what others have left; two at once would get in each other's way."""
        for name in self.names():
            if name.startswith("catalogue"):
                self.product.restart(name)
                await asyncio.sleep(20.0)

    async def _collect(self) -> None:
        """A whole run of garbage collection without any trouble."""
        worker = self.product.parts["gc-0"]
        done: list[str] = []

        async def work() -> None:
            upid, _ = await worker.collection.start(actors.context(), actors.STORE)
            await worker.tasks.wait(upid)
            done.append((await worker.catalogue.get_task(actors.context(), upid)).status or "")

        if not await self.until_it_ends(worker.process, work()):
            self.fail("the last collection does not end")
        self._require_no_surprise()
        await invariants.check_safety(self)
        if done and not done[0].startswith(("OK", "WARN")):
            self.fail(f"the last collection failed: {done[0]}")
