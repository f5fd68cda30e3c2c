"""A peer that pushes to the product (wire-protocol 7.3)."""

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from pbs_cloud.formats.blob import decode
from pbs_cloud.formats.index import FixedIndex, parse_index
from pbs_cloud.formats.names import CLIENT_LOG_NAME, MANIFEST_NAME
from testkit.client import BackupSession, Refused
from testkit.client.connection import data_of
from testkit.peer.replica import Place, Replica, SnapshotCopy
from testkit.world import Caller


@dataclass(slots=True)
class Push:
    """One sync job from the replica into ``parent`` of a datastore."""

    remote: Caller
    store: str
    replica: Replica
    parent: str = ""
    remove_vanished: bool = False
    requests: Counter[str] = field(default_factory=Counter)
    not_owned: list[str] = field(default_factory=list)
    removed: list[dict[str, int]] = field(default_factory=list)

    @property
    def _base(self) -> str:
        return f"/admin/datastore/{self.store}"

    def _target(self, ns: str) -> str:
        return "/".join(part for part in (self.parent, ns) if part)

    async def run(self) -> None:
        """Version, namespaces, groups, snapshots; then what vanished."""
        await self._require_version()
        known = {item["ns"] for item in await self.remote.rest.get(f"{self._base}/namespace")}
        for ns in self.replica.namespaces():
            await self._create(self._target(ns), known)
            owners = await self._owners(self._target(ns))
            for backup_type, backup_id in self.replica.groups(ns):
                if owners.get((backup_type, backup_id), self.remote.auth_id) != self.remote.auth_id:
                    self.not_owned.append(f"{backup_type}/{backup_id}")
                    continue
                await self._group(ns, backup_type, backup_id, empty=(backup_type, backup_id) not in owners)
            if self.remove_vanished:
                await self._remove_groups(ns, owners)
        if self.remove_vanished:
            await self._remove_namespaces(known)

    async def _require_version(self) -> None:
        version = await self.remote.rest.get("/version")
        major, minor = (int(part) for part in version["version"].split("."))
        if (major, minor, int(version["release"])) < (3, 2, 11) or not isinstance(version["repoid"], str):
            raise AssertionError(f"unusable version {version}")

    async def _create(self, ns: str, known: set[str]) -> None:
        """Missing levels, one call each; the root level has no `parent`."""
        levels = ns.split("/") if ns else []
        for depth in range(1, len(levels) + 1):
            path, parent = "/".join(levels[:depth]), "/".join(levels[: depth - 1])
            if path not in known:
                await self.remote.rest.post(f"{self._base}/namespace", name=levels[depth - 1], parent=parent or None)
                self.requests["namespace"] += 1
                known.add(path)

    async def _owners(self, ns: str) -> dict[tuple[str, str], str]:
        """The root namespace is literally `ns=`."""
        listed = await self.remote.rest.call("GET", f"{self._base}/groups", {"ns": ns})
        return {(item["backup-type"], item["backup-id"]): item["owner"] for item in listed}

    async def _group(self, ns: str, backup_type: str, backup_id: str, empty: bool) -> None:
        target = self._target(ns)
        listed = await self.remote.rest.get(
            f"{self._base}/snapshots", backup_id=backup_id, backup_type=backup_type, ns=target or None
        )
        there = {item["backup-time"]: item for item in listed}
        newest = max(there, default=-1)
        times = self.replica.times(ns, backup_type, backup_id)
        for time in times:
            if time > newest:
                place = Place(ns, backup_type, backup_id, time)
                await self._snapshot(place, self.replica.snapshots[place], empty and time == times[0])
        if self.remove_vanished:
            for time in sorted(set(there) - set(times)):
                if not there[time]["protected"]:
                    where = Place(target, backup_type, backup_id, time).in_store(self.store)
                    await self.remote.rest.call("DELETE", f"{self._base}/snapshots", where.parameters())
                    self.requests["removed snapshot"] += 1

    async def _snapshot(self, place: Place, copy: SnapshotCopy, first: bool) -> None:
        where = place._replace(ns=self._target(place.ns)).in_store(self.store)
        async with await BackupSession.open(self.remote.endpoint, self.remote.credential, where) as session:
            self.requests["session"] += 1
            known: set[bytes] = set()
            previous = False
            if not first:
                with contextlib.suppress(Refused):
                    await session.previous(MANIFEST_NAME)
                    previous = True
            for entry in copy.manifest.files:
                name, raw = entry.filename, copy.files[entry.filename]
                if previous and name.endswith("idx"):
                    with contextlib.suppress(Refused):
                        known.update(chunk.digest for chunk in parse_index(await session.previous(name)))
                await (
                    self._archive(session, name, raw, known) if name.endswith("idx") else session.upload_blob(name, raw)
                )
            if CLIENT_LOG_NAME in copy.files:
                await session.upload_blob(CLIENT_LOG_NAME, copy.files[CLIENT_LOG_NAME])
            await session.upload_blob(MANIFEST_NAME, copy.files[MANIFEST_NAME])
            await session.finish()

    async def _archive(self, session: BackupSession, name: str, raw: bytes, known: set[bytes]) -> None:
        """Stored chunks go unchanged, each digest once for all archives of the snapshot."""
        index = parse_index(raw)
        kind: Literal["fixed", "dynamic"] = "fixed" if isinstance(index, FixedIndex) else "dynamic"
        wid = await session.create(kind, name, index.size if kind == "fixed" else None)
        for chunk in index:
            if chunk.digest not in known:
                self.requests["chunk"] += 1
                sent = session.send_chunk(
                    kind, wid, chunk.digest, chunk.end - chunk.start, self.replica.chunks[chunk.digest]
                )
                data_of(await sent, f"{kind}_chunk")
                known.add(chunk.digest)
        entries = list(index)
        if entries:
            await session.append(kind, wid, [chunk.digest for chunk in entries], [chunk.start for chunk in entries])
        await session.close_index(kind, wid, len(entries), index.size, index.compute_csum())

    async def _remove_groups(self, ns: str, owners: dict[tuple[str, str], str]) -> None:
        for backup_type, backup_id in sorted(set(owners) - set(self.replica.groups(ns))):
            if owners[backup_type, backup_id] == self.remote.auth_id:
                group = {"backup-id": backup_id, "backup-type": backup_type, "ns": self._target(ns)}
                await self._removed("groups", {**group, "error-on-protected": False})

    async def _remove_namespaces(self, known: set[str]) -> None:
        """Target namespaces below `parent` that the source lacks, the deepest first."""
        wanted = {self._target(ns) for ns in self.replica.namespaces()}
        inside = f"{self.parent}/" if self.parent else ""
        for ns in sorted(known, key=lambda ns: -ns.count("/")):
            if ns and ns.startswith(inside) and not any(w == ns or w.startswith(f"{ns}/") for w in wanted):
                await self._removed("namespace", {"delete-groups": True, "ns": ns, "error-on-protected": False})

    async def _removed(self, what: str, parameters: dict[str, object]) -> None:
        counts = await self.remote.rest.call("DELETE", f"{self._base}/{what}", parameters)
        self.removed.append(
            {name: int(counts[name]) for name in ("removed-groups", "protected-snapshots", "removed-snapshots")}
        )
        self.requests[f"removed {what}"] += 1


def plain_archive(replica: Replica, copy: SnapshotCopy, name: str) -> bytes:
    """Content of an archive that is not encrypted."""
    return b"".join(decode(replica.chunks[chunk.digest]) for chunk in copy.index(name))
