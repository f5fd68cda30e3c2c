"""What the log of a garbage collection says, in the words of PBS where it has some."""

from __future__ import annotations

from typing import Any

from pbs_cloud.contracts.chunkstore.collection import CollectionRun, CondemnResult, MarkSummary, OrphanResult
from pbs_cloud.gc.tasks import TaskLog

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


class CollectionLog:
    """Lines of one run; progress in steps that do not flood the log."""

    def __init__(self, log: TaskLog) -> None:
        self._log = log
        self._percent = 0
        self._swept = 0

    async def started(self, run: CollectionRun) -> None:
        await self._log.line(f"starting garbage collection on store {run.store}")
        if run.resumed:
            await self._log.line("resuming a run that was cut off")
        if run.phase != "delete":
            await self._log.line("Start GC phase1 (mark used chunks)")
        await self._log.flush()

    async def indexes(self, done: int, total: int) -> None:
        """``total`` is what is known so far."""
        if done and done % 1000 == 0:
            await self._log.line(f"marked {done} index files")

    async def marked(self, summary: MarkSummary) -> None:
        await self._log.line(
            f"marked 100% ({summary.index_file_count} of {summary.index_file_count} index files,"
            f" {summary.digests_read} digests)"
        )
        await self._log.line("Start GC phase2 (sweep unused chunks)")
        await self._log.flush()

    async def condemned(self, found: CondemnResult) -> None:
        await self._log.line(
            f"processed 100% ({found.rows} chunks, {found.referenced} in use, {found.condemned} newly unused)"
        )
        for digest in found.missing:
            await self._log.warn(f"missing chunk {digest.hex()}: an index needs it")
        more = found.missing_count - len(found.missing)
        if more > 0:
            await self._log.warn(f"{more} more chunks are missing")

    async def orphans(self, found: OrphanResult) -> None:
        if found.refused is not None:
            await self._log.warn(f"objects without a row were not looked for: {found.refused}")
            return
        await self._log.line(f"found {found.found} objects without a row, {found.still_bad} set-aside copies are kept")
        if found.lost:
            await self._log.warn(f"{found.lost} chunks are missing in the storage: verify tells which snapshots suffer")
        if found.removed_bad:
            await self._log.line(f"removed {found.removed_bad} set-aside copies of damaged chunks")

    async def swept(self, removed: int) -> None:
        if removed - self._swept >= 10_000:
            self._swept = removed
            await self._log.line(f"deleted {removed} chunks")

    async def warn(self, text: str) -> None:
        await self._log.warn(text)

    async def closing(self, status: dict[str, Any]) -> None:
        """The counters of formats 9.8."""
        disk, chunks, original = status["disk-bytes"], status["disk-chunks"], status["index-data-bytes"]
        await self._log.line(f"Removed garbage: {human(status['removed-bytes'])}")
        await self._log.line(f"Removed chunks: {status['removed-chunks']}")
        if status["pending-chunks"]:
            pending = human(status["pending-bytes"])
            await self._log.line(f"Pending removals: {pending} (in {status['pending-chunks']} chunks)")
        if status["removed-bad"]:
            await self._log.line(f"Removed bad chunks: {status['removed-bad']}")
        if status["still-bad"]:
            await self._log.line(f"Leftover bad chunks: {status['still-bad']}")
        await self._log.line(f"Original data usage: {human(original)}")
        share = f" ({disk * 100 / original:.2f}%)" if original else ""
        await self._log.line(f"On-Disk usage: {human(disk)}{share}")
        await self._log.line(f"On-Disk chunks: {chunks}")
        await self._log.line(f"Deduplication factor: {original / disk if disk else 1.0:.2f}")
        if chunks:
            await self._log.line(f"Average chunk size: {human(disk // chunks)}")


def human(size: int) -> str:
    """`108.257 KiB`."""
    value, unit = float(size), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{size} B" if unit == 0 else f"{value:.3f} {_UNITS[unit]}"
