"""The peer's own datastore, in memory: stored files by snapshot, stored chunks by digest."""

from dataclasses import dataclass, field
from typing import NamedTuple

from pbs_cloud.formats.index import DynamicIndex, FixedIndex, parse_index
from pbs_cloud.formats.manifest import BackupManifest
from pbs_cloud.formats.names import MANIFEST_NAME
from testkit.client import Snapshot


class Place(NamedTuple):
    """Where a snapshot is on both sides."""

    ns: str
    backup_type: str
    backup_id: str
    backup_time: int

    def in_store(self, store: str) -> Snapshot:
        """The same place in a datastore of the product."""
        return Snapshot(store, self.backup_id, self.backup_time, self.backup_type, self.ns)


@dataclass(slots=True)
class SnapshotCopy:
    """Files of a snapshot as they are stored."""

    files: dict[str, bytes] = field(default_factory=dict)
    corrupt: bool = False
    """The last verification of this copy found damaged chunks (resync-corrupt)."""

    @property
    def manifest(self) -> BackupManifest:
        """The parsed manifest."""
        return BackupManifest.from_blob(self.files[MANIFEST_NAME])

    def index(self, name: str) -> FixedIndex | DynamicIndex:
        """The parsed index of an archive."""
        return parse_index(self.files[name])

    def digests(self) -> set[bytes]:
        """Digests of all archives."""
        return {chunk.digest for name in self.files if name.endswith("idx") for chunk in self.index(name)}


@dataclass(slots=True)
class Replica:
    """Everything that the peer holds."""

    snapshots: dict[Place, SnapshotCopy] = field(default_factory=dict)
    chunks: dict[bytes, bytes] = field(default_factory=dict)

    def times(self, ns: str, backup_type: str, backup_id: str) -> list[int]:
        """Backup times of a group, ascending."""
        group = (ns, backup_type, backup_id)
        return sorted(place.backup_time for place in self.snapshots if place[:3] == group)

    def namespaces(self) -> list[str]:
        """All namespaces with snapshots, parents first."""
        return sorted({place.ns for place in self.snapshots}, key=lambda ns: (ns.count("/"), ns))

    def groups(self, ns: str) -> list[tuple[str, str]]:
        """Groups of a namespace."""
        return sorted({(place.backup_type, place.backup_id) for place in self.snapshots if place.ns == ns})
