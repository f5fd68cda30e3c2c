"""A peer that pulls from the product (wire-protocol 7.2)."""

import asyncio
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from pbs_cloud.formats.blob import check_crc
from pbs_cloud.formats.index import parse_index
from pbs_cloud.formats.manifest import BackupManifest, FileEntry
from pbs_cloud.formats.names import CLIENT_LOG_NAME, MANIFEST_NAME
from testkit.client import ReaderSession, Refused
from testkit.peer.replica import Place, Replica, SnapshotCopy
from testkit.world import Caller

PARALLEL_CHUNKS = 20


@dataclass(slots=True)
class Pull:
    """One sync job; `run` it as often as wanted. ``requests`` counts what was asked for, by kind."""

    remote: Caller
    store: str
    replica: Replica
    parent: str = ""
    verified_only: bool = False
    encrypted_only: bool = False
    resync_corrupt: bool = False
    worker_threads: int = 1
    requests: Counter[str] = field(default_factory=Counter)
    skipped: list[Place] = field(default_factory=list)

    async def run(self) -> None:
        """All namespaces below ``parent``, group by group, ``worker_threads`` groups at once."""
        base = f"/admin/datastore/{self.store}"
        self.requests["namespace"] += 1
        listed = await self.remote.rest.get(f"{base}/namespace", parent=self.parent or None)
        for namespace in [item["ns"] for item in listed]:
            self.requests["groups"] += 1
            groups = await self.remote.rest.get(f"{base}/groups", ns=namespace or None)
            turn = asyncio.Semaphore(self.worker_threads)
            async with asyncio.TaskGroup() as running:
                for group in groups:
                    running.create_task(self._group(turn, namespace, group["backup-type"], group["backup-id"]))

    async def _group(self, turn: asyncio.Semaphore, ns: str, backup_type: str, backup_id: str) -> None:
        async with turn:
            self.requests["snapshots"] += 1
            items = await self.remote.rest.get(
                f"/admin/datastore/{self.store}/snapshots",
                backup_id=backup_id, backup_type=backup_type, ns=ns or None,
            )  # fmt: skip
            have = self.replica.times(ns, backup_type, backup_id)
            newest, fetched = have[-1] if have else -1, set[bytes]()
            for item in sorted(items, key=lambda item: int(item["backup-time"])):
                place = Place(ns, backup_type, backup_id, item["backup-time"])
                if self._wanted(place, item, newest):
                    await self._snapshot(place, fetched)

    def _wanted(self, place: Place, item: dict[str, Any], newest: int) -> bool:
        copy = self.replica.snapshots.get(place)
        if copy is not None and copy.corrupt and self.resync_corrupt:
            return True
        running = "size" not in item
        unverified = self.verified_only and item.get("verification", {}).get("state") != "ok"
        modes = {file["crypt-mode"] for file in item["files"] if "crypt-mode" in file}
        plain = self.encrypted_only and "encrypt" not in modes
        if running or unverified or plain or place.backup_time < newest:
            self.skipped.append(place)
            return False
        return True

    async def _snapshot(self, place: Place, fetched: set[bytes]) -> None:
        copy = self.replica.snapshots.get(place, SnapshotCopy())
        again = copy.corrupt and self.resync_corrupt
        async with await ReaderSession.open(
            self.remote.endpoint, self.remote.credential, place.in_store(self.store)
        ) as session:
            self.requests["session"] += 1
            try:
                manifest = await session.download(MANIFEST_NAME)
            except Refused as refused:
                if refused.status != 404:
                    raise
                self.skipped.append(place)
                return
            if copy.files.get(MANIFEST_NAME) != manifest or again:
                for entry in BackupManifest.from_blob(manifest).files:
                    await self._file(session, copy, entry, fetched, again)
                copy.files[MANIFEST_NAME] = manifest
            if CLIENT_LOG_NAME not in copy.files:
                await self._client_log(session, copy)
        copy.corrupt = False
        self.replica.snapshots[place] = copy

    async def _client_log(self, session: ReaderSession, copy: SnapshotCopy) -> None:
        self.requests["log"] += 1
        try:
            copy.files[CLIENT_LOG_NAME] = await session.download(CLIENT_LOG_NAME)
        except Refused:
            return

    async def _file(
        self, session: ReaderSession, copy: SnapshotCopy, entry: FileEntry, fetched: set[bytes], again: bool
    ) -> None:
        present = copy.files.get(entry.filename)
        if present is not None and _matches(present, entry) and not again:
            return
        self.requests["file"] += 1
        raw = await session.download(entry.filename)
        if not _matches(raw, entry):
            raise AssertionError(f"{entry.filename}: not what the manifest says")
        if entry.filename.endswith("idx"):
            digests = dict.fromkeys(chunk.digest for chunk in parse_index(raw))
            await self._chunks(session, [digest for digest in digests if again or digest not in fetched])
            fetched.update(digests)
        copy.files[entry.filename] = raw

    async def _chunks(self, session: ReaderSession, digests: list[bytes]) -> None:
        turn = asyncio.Semaphore(PARALLEL_CHUNKS)

        async def fetch(digest: bytes) -> None:
            async with turn:
                self.requests["chunk"] += 1
                raw = await session.chunk(digest)
            check_crc(raw)
            self.replica.chunks[digest] = raw

        async with asyncio.TaskGroup() as running:
            for digest in digests:
                running.create_task(fetch(digest))


def _matches(raw: bytes, entry: FileEntry) -> bool:
    if entry.filename.endswith("idx"):
        index = parse_index(raw)
        return (index.size, index.compute_csum()) == (entry.size, entry.csum)
    return (len(raw), hashlib.sha256(raw).digest()) == (entry.size, entry.csum)
