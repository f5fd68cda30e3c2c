"""Rounds of mixed load on the running product while its processes are killed at random (kill -9)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import quote

from testkit.client import Backup, Lost, Refused, Rest, Restore, Snapshot, StreamReset
from testkit.product import ProductServer
from testkit.world import Tenant

FAILURES = (Lost, Refused, StreamReset, OSError, TimeoutError, asyncio.IncompleteReadError)
GROUPS = ("one", "two", "three")
KEEP = 3
_CHUNK = 48 << 10
_CHUNKS = 8
_CALL_SECONDS = 45.0
_RECOVERY_SECONDS = 150.0
_PATIENCE_SECONDS = 5.0
_MOST_PAUSES = 10
_ARCHIVE = "a.pxar.didx"
_BLOB = "a.conf.blob"
_FIRST_TIME = 1_600_000_000


@dataclass(slots=True)
class Content:
    """What was put into a snapshot; ``certain`` once `finish` was answered, ``doomed`` once a prune may remove it."""

    digest: bytes
    certain: bool = False
    doomed: bool = False
    removed: bool = False


@dataclass
class Rounds:
    """The load, the killer and what has been promised; `run` is one round.

    Raises AssertionError for whatever was lost, shown wrongly or handed out wrongly.
    """

    product: ProductServer
    tenant: Tenant
    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    kept: dict[tuple[str, int], Content] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._times = itertools.count(_FIRST_TIME)
        self._contents: dict[str, list[bytes]] = {}
        self._prunes_end: dict[str, float] = {}

    async def run(self, seconds: float) -> None:
        """Load and kills for that long, then all that must hold."""
        async with asyncio.timeout(seconds + 2 * _RECOVERY_SECONDS):
            over = asyncio.Event()
            work = [asyncio.create_task(self._backups(over, name)) for name in GROUPS]
            work += [asyncio.create_task(self._repeat(over, one)) for one in (self._restore, self._list, self._keep)]
            killer = asyncio.create_task(self._kill(over))
            await asyncio.wait({killer, *work}, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
            over.set()
            _, late = await asyncio.wait({killer, *work}, timeout=_PATIENCE_SECONDS)
            for task in late:
                task.cancel()
            for result in await asyncio.gather(killer, *work, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result
            await asyncio.to_thread(self.product.wait_ready, 60)
            await self.check()

    # ------------------------------------------------------------------------------------------------ load

    async def _repeat(self, over: asyncio.Event, work: Callable[[Rest], Awaitable[None]]) -> None:
        rest = Rest(self.tenant.endpoint, self.tenant.admin.credential)
        while not over.is_set():
            await self._tried(work.__name__, work(rest))
            await rest.close()
            await asyncio.sleep(0.05)

    async def _tried(self, name: str, work: Awaitable[object]) -> bool:
        """Whether it worked; an error is an honest answer."""
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await _plainly(work)
        except FAILURES:
            self.counts[f"{name} failed"] += 1
            return False
        self.counts[name] += 1
        return True

    async def _backups(self, over: asyncio.Event, name: str) -> None:
        """Full and incremental backups of one group, pruned now and then."""
        rest = Rest(self.tenant.endpoint, self.tenant.admin.credential)
        while not over.is_set():
            await self._tried("backup", self._back_up(name))
            if self._random.random() < 0.3:
                await self._tried("prune", self._prune(rest, name))
                await rest.close()
            await asyncio.sleep(0.02)

    def _next_content(self, name: str) -> list[bytes]:
        """Chunks of the next backup: some of the last ones changed; all of them new for a full one."""
        last = self._contents.get(name)
        if last is None or self._random.random() < 0.2:
            chunks = [self._random.randbytes(_CHUNK) for _ in range(_CHUNKS)]
        else:
            chunks = list(last)
            for _ in range(2):
                chunks[self._random.randrange(_CHUNKS)] = self._random.randbytes(_CHUNK)
        self._contents[name] = chunks
        return chunks

    async def _back_up(self, name: str) -> None:
        snapshot = self._snapshot(name, next(self._times))
        chunks = self._next_content(name)
        content = Content(hashlib.sha256(b"".join(chunks)).digest())
        backup = await Backup.open(self.tenant.endpoint, self.tenant.admin.credential, snapshot)
        try:
            await backup.archive(_ARCHIVE, iter(chunks))
            await backup.blob(_BLOB, content.digest)
            await backup.upload_manifest()
            self.kept[name, snapshot.backup_time] = content
            await backup.session.finish()
            content.certain = True
        finally:
            with contextlib.suppress(*FAILURES):
                await backup.session.close(abort=not content.certain)

    def _snapshot(self, name: str, backup_time: int) -> Snapshot:
        return Snapshot(self.tenant.store, name, backup_time, ns=self.tenant.ns)

    async def _prune(self, rest: Rest, name: str) -> None:
        """From the question on everything but the newest may be gone; from the answer on it must be."""
        self._doom(name)
        parameters = {**self._snapshot(name, 0).group(), "keep-last": KEEP}
        lost_end, self._prunes_end[name] = self._prunes_end.get(name, 0.0), math.inf
        try:
            verdicts = await rest.call("POST", f"{self.tenant.base}/prune", parameters)
        except BaseException:
            # It may still be on its way, and sees the backups that are there when it arrives.
            self._prunes_end[name] = time.monotonic() + _RECOVERY_SECONDS
            raise
        self._prunes_end[name] = lost_end
        for verdict in verdicts:
            if not verdict["keep"] and (name, verdict["backup-time"]) in self.kept:
                content = self.kept[name, verdict["backup-time"]]
                assert content.doomed, f"{name} at {verdict['backup-time']} was not to be pruned"

    def _doom_beside_prunes(self) -> None:
        """A prune that is asked, or whose answer was lost, may see the newest backups too."""
        for name, end in self._prunes_end.items():
            if end > time.monotonic():
                self._doom(name)

    def _doom(self, name: str) -> None:
        known = sorted((at for group, at in self.kept if group == name), reverse=True)
        for at in known[KEEP:]:
            self.kept[name, at].doomed = True

    async def _restore(self, _rest: Rest) -> None:
        self._doom_beside_prunes()
        certain = [key for key, content in self.kept.items() if content.certain and not content.doomed]
        if certain:
            await self._restored(*self._random.choice(certain))

    async def _restored(self, name: str, backup_time: int) -> None:
        content = self.kept[name, backup_time]
        snapshot = self._snapshot(name, backup_time)
        async with await Restore.open(self.tenant.endpoint, self.tenant.admin.credential, snapshot) as restore:
            found = hashlib.sha256(await restore.archive(_ARCHIVE)).digest()
            assert found == content.digest, f"{name} at {backup_time} is not what was put in"
            assert await restore.blob(_BLOB) == content.digest

    async def _list(self, rest: Rest) -> None:
        """A list that is answered is complete."""
        before = {key for key, content in self.kept.items() if content.certain}
        listed = await self._listed(rest)
        self._doom_beside_prunes()
        missing = {key for key in before - listed if not self.kept[key].doomed}
        assert not missing, f"a list lacks {sorted(missing)}"

    async def _listed(self, rest: Rest) -> set[tuple[str, int]]:
        answer = await rest.get(f"{self.tenant.base}/snapshots", ns=self.tenant.ns)
        return {(item["backup-id"], item["backup-time"]) for item in answer if "size" in item}

    async def _keep(self, rest: Rest) -> None:
        """Garbage collection and verification, in turn."""
        which = self._random.choice(("gc", "verify", "verify"))
        parameters = {} if which == "gc" else {"ignore-verified": False}
        upid = await rest.call("POST", f"{self.tenant.base}/{which}", parameters)
        self.counts[f"{which} started"] += 1
        path = f"/nodes/localhost/tasks/{quote(upid, safe='')}/status"
        while (await rest.get(path))["status"] != "stopped":
            await asyncio.sleep(0.1)

    async def _kill(self, over: asyncio.Event) -> None:
        """At random times, but not so fast that nothing at all is ever done: backups are, or some seconds pass."""
        while not over.is_set():
            before = self.counts["backup"]
            for pause in (self._random.uniform(0.5, 2.5), *[0.5] * _MOST_PAUSES):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), pause)
                if self.counts["backup"] > before or over.is_set():
                    break
            name, pid = self._random.choice(sorted(self.product.pids().items()))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.counts[f"killed {name.rstrip('-0123456789')}"] += 1

    # ------------------------------------------------------------------------------------------------ what must hold

    async def check(self) -> None:
        """Nothing acknowledged is lost, what is listed restores byte-identical, groups are free, fsck is clean."""
        rest = Rest(self.tenant.endpoint, self.tenant.admin.credential)
        listed = await self._answered(lambda: self._listed(rest))
        self._doom_beside_prunes()
        await rest.close()
        lost = {key for key, content in self.kept.items() if content.certain and not content.doomed} - listed
        assert not lost, f"acknowledged and lost: {sorted(lost)}"
        assert listed <= set(self.kept), f"nobody made {sorted(listed - set(self.kept))}"
        for key in set(self.kept) - listed:
            del self.kept[key]
        for key in sorted(listed):
            self.kept[key].certain = True
            await self._answered(lambda key=key: self._restored_unless_pruned(rest, key))
            self.counts["checked"] += 1
        await rest.close()
        for name in GROUPS:
            await self._answered(lambda name=name: self._back_up(name))
        await self._answered(self._sound)

    async def _restored_unless_pruned(self, rest: Rest, key: tuple[str, int]) -> None:
        """A prune whose client has gone may still be at work."""
        try:
            await self._restored(*key)
        except Refused:
            if not self.kept[key].doomed or key in await self._listed(rest):
                raise
            del self.kept[key]

    async def _answered(self, work: Callable[[], Awaitable[object]]) -> object:
        """The product was made ready again: by and by it must answer."""
        deadline = asyncio.get_running_loop().time() + _RECOVERY_SECONDS
        while True:
            try:
                return await _plainly(work())
            except FAILURES as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise AssertionError(f"does not recover: {type(error).__name__}: {error}") from error
            await asyncio.sleep(0.5)

    async def _sound(self) -> None:
        """`pbs-cloud fsck` beside the product; sessions of the dead may have to run out first."""
        report = await asyncio.to_thread(fsck, self.product)
        if report:
            raise TimeoutError("\n".join(report))


async def _plainly(work: Awaitable[object]) -> object:
    """What `work` answers; of the errors of several requests at once the first."""
    try:
        return await work
    except BaseExceptionGroup as group:
        wrong, _ = group.split(lambda error: not isinstance(error, (*FAILURES, BaseExceptionGroup)))
        raise (wrong or group).exceptions[0] from group


def fsck(product: ProductServer) -> list[str]:
    """Findings in all datastores of a running product."""
    done = subprocess.run(
        [sys.executable, "-m", "pbs_cloud.server", "fsck", "--output-format", "json"],
        env={**os.environ, "PBS_DATA_DIR": str(product.data_dir / "data")}, capture_output=True, check=False,
    )  # fmt: skip
    try:
        reports = json.loads(done.stdout)
    except ValueError:
        return [done.stderr.decode()[-2000:] or f"fsck ended with {done.returncode}"]
    return [str(item) for report in reports for item in report["findings"]]
