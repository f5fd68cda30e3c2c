"""One snapshot: manifest, files, chunks; the result goes into the manifest (formats 11.1, 11.3)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from pbs_cloud.contracts.chunkstore.catalogue import CatalogueClient
from pbs_cloud.contracts.chunkstore.types import SnapshotKey, Verification
from pbs_cloud.contracts.chunkstore.verifier import CheckedChunks, VerifierClient
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import DataCorrupt, InvalidArgument, Locked, NotFound, PbsError
from pbs_cloud.contracts.jobs import VerifyOptions
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.manifest import BackupManifest, FileEntry, VerifyResult, VerifyState
from pbs_cloud.formats.names import MANIFEST_NAME, ArchiveName, ArchiveType, SnapshotRef
from pbs_cloud.gc.tasks import TaskLog, TaskRunner
from pbs_cloud.gc.verification import files
from pbs_cloud.gc.verification.seen import KeyArray, SeenChunks

DAY_SECONDS = 86_400
BATCH_CHUNKS = 256
BATCH_BYTES = 256 * 1024 * 1024
BATCHES_AT_ONCE = 2
DEFAULT_READERS = 1
DEFAULT_WORKERS = 4


@dataclass(slots=True)
class Run:
    """One job's memory: what was found sound, archives of encrypted and of plain chunks apart."""

    ctx: CallContext
    options: VerifyOptions
    log: TaskLog
    plain: SeenChunks = field(default_factory=SeenChunks)
    encrypted: SeenChunks = field(default_factory=SeenChunks)

    @property
    def workers(self) -> int:
        """Chunks that are looked at together."""
        return max(self.options.read_threads or DEFAULT_READERS, self.options.verify_threads or DEFAULT_WORKERS)


class SnapshotCheck:
    """Verifies snapshots one by one."""

    def __init__(self, catalogue: CatalogueClient, verifier: VerifierClient, tasks: TaskRunner) -> None:
        self._catalogue = catalogue
        self._verifier = verifier
        self._tasks = tasks

    async def check(self, run: Run, key: SnapshotKey) -> bool:
        """Whether the snapshot is sound, was skipped or is gone; False also when it could not be judged."""
        name = path_of(key)
        try:
            async with self._tasks.reading(run.ctx, key) as session_id:
                return await self._pinned(run, key, session_id)
        except Locked as error:
            await run.log.line(f"SKIPPED: {name} - {error.message}")
            return True
        except NotFound:
            await run.log.line(f"SKIPPED: {name} does not exist any more")
            return True
        except PbsError as error:
            await run.log.line(f"verification of {name} broke off: {error.message}")
            return False

    async def _pinned(self, run: Run, key: SnapshotKey, session_id: str) -> bool:
        name = path_of(key)
        try:
            manifest = await self._manifest(run.ctx, session_id)
        except (FormatError, NotFound, DataCorrupt) as error:
            await run.log.line(f"verify {name} failed: unable to load the manifest: {error}")
            return False
        if may_skip(manifest.verify_state, run.options, time.time()):
            await run.log.line(f"SKIPPED: {name} (recently verified)")
            return True
        await run.log.line(f"verify {name}")
        errors = 0
        for entry in manifest.files:
            errors += await self._file(run, session_id, entry)
        state = VerifyResult.FAILED if errors else VerifyResult.OK
        await self._catalogue.set_verify_state(run.ctx, key, Verification(run.log.upid, state.value))
        await run.log.line(f"verify {name}: {state}" + (f" ({errors} errors)" if errors else ""))
        return not errors

    async def _manifest(self, ctx: CallContext, session_id: str) -> BackupManifest:
        raw = bytearray()
        async for piece in self._catalogue.read_session_file(ctx, session_id, MANIFEST_NAME):
            raw += piece
            if len(raw) > files.MOST_BLOB:
                raise FormatError("the manifest is too large")
        return await asyncio.to_thread(BackupManifest.from_blob, raw)

    async def _file(self, run: Run, session_id: str, entry: FileEntry) -> int:
        """Number of errors. Raises a ``PbsError`` when nothing can be said about the file."""
        await run.log.line(f"  check {entry.filename}")
        try:
            kind = ArchiveName.parse_server(entry.filename, "file").archive_type
            pieces = self._catalogue.read_session_file(run.ctx, session_id, entry.filename)
            if kind is ArchiveType.BLOB:
                await files.check_blob(entry, pieces)
                return 0
            async with files.fetched(pieces) as data:
                index = await asyncio.to_thread(files.open_index, entry, data)
                return await self._index(run, session_id, entry, index)
        except (FormatError, NotFound, DataCorrupt, InvalidArgument) as error:
            await run.log.line(f"  verify {entry.filename} failed: {error}")
            return 1

    async def _index(self, run: Run, session_id: str, entry: FileEntry, index: files.Index) -> int:
        """Every check is done when this answers, in every case."""
        encrypted = files.is_encrypted(entry)
        seen = run.encrypted if encrypted else run.plain
        began, errors, read, count = time.monotonic(), 0, 0, 0
        for keys in files.windows(index):
            unseen = await asyncio.to_thread(seen.unseen, keys)
            count += len(unseen)
            for group in _groups(list(batches(unseen)), BATCHES_AT_ONCE):
                for batch, checked in await self._together(run, session_id, group, encrypted):
                    read += checked.bytes
                    errors += await self._report(run.log, entry, checked)
                    seen.add(_sound(batch, checked))
        seconds = max(time.monotonic() - began, 0.001)
        await run.log.line(
            f"  verified {count} of {len(index)} chunks, {read} bytes in {seconds:.2f} seconds,"
            f" {read / seconds / 1048576:.2f} MiB/s, {errors} errors"
        )
        return errors

    async def _together(
        self, run: Run, session_id: str, group: list[KeyArray], encrypted: bool
    ) -> list[tuple[KeyArray, CheckedChunks]]:
        checked = await asyncio.gather(*(self._batch(run, session_id, batch, encrypted) for batch in group))
        return list(zip(group, checked, strict=True))

    async def _batch(self, run: Run, session_id: str, batch: KeyArray, encrypted: bool) -> CheckedChunks:
        digests, sizes = split_keys(batch)
        return await self._verifier.check_chunks(
            run.ctx, session_id, digests, sizes, encrypted=encrypted, workers=run.workers
        )

    async def _report(self, log: TaskLog, entry: FileEntry, checked: CheckedChunks) -> int:
        for bad in checked.bad:
            what = "corrupt chunk" if bad.corrupt else "chunk"
            await log.line(f"  {entry.filename}: {what} {bad.digest.hex()}: {bad.reason}")
        return len(checked.bad)


def path_of(key: SnapshotKey) -> str:
    """``[ns:]<type>/<id>/<time>``."""
    name = str(SnapshotRef.of(key.group.backup_type, key.group.backup_id, key.backup_time))
    return f"{key.group.ns}:{name}" if key.group.ns else name


def may_skip(state: VerifyState | None, options: VerifyOptions, now: float) -> bool:
    """The table of formats 11.3; a failed result counts like a good one."""
    if not options.ignore_verified or state is None:
        return False
    if options.outdated_after is None:
        return True
    return int((now - state.upid.start_time) // DAY_SECONDS) <= options.outdated_after


def split_keys(keys: KeyArray) -> tuple[bytes, list[int]]:
    """Concatenated digests, and the size of each."""
    rows = keys.view(np.uint8).reshape(-1, keys.dtype.itemsize)
    sizes = np.ascontiguousarray(rows[:, 32:]).view(">u4").reshape(-1)
    return rows[:, :32].tobytes(), [int(size) for size in sizes]


def batches(keys: KeyArray) -> Iterator[KeyArray]:
    """So many chunks that a call stays short, whatever their sizes."""
    start, total = 0, 0
    for position, size in enumerate(split_keys(keys)[1]):
        if position > start and (position - start >= BATCH_CHUNKS or total + size > BATCH_BYTES):
            yield keys[start:position]
            start, total = position, 0
        total += size
    if start < len(keys):
        yield keys[start:]


def _groups(items: list[KeyArray], size: int) -> Iterator[list[KeyArray]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _sound(batch: KeyArray, checked: CheckedChunks) -> KeyArray:
    """The keys of a batch that were not bad: what is bad is looked at again by the next snapshot that uses it."""
    if not checked.bad:
        return batch
    bad = {found.digest for found in checked.bad}
    digests, sizes = split_keys(batch)
    keep = np.array([digests[32 * at : 32 * at + 32] not in bad for at in range(len(sizes))], dtype=bool)
    return np.asarray(batch[keep])
