"""Files of a datastore as its listing shows them, sorted into groups and snapshots (formats 7.2)."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, field

from pbs_cloud.chunkstore.backends.port import ChunkBackend
from pbs_cloud.chunkstore.catalogue.index_stream import IndexCheck
from pbs_cloud.chunkstore.catalogue.session_files import StoredFile
from pbs_cloud.chunkstore.maintenance.staging import DigestSet
from pbs_cloud.contracts.errors import DataCorrupt, InvalidArgument
from pbs_cloud.formats import layout
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.names import MANIFEST_NAME, ArchiveName, ArchiveType, BackupGroup, BackupNamespace, SnapshotRef


@dataclass(frozen=True, slots=True)
class GroupPlace:
    """A group in its namespace."""

    ns: BackupNamespace
    group: BackupGroup

    def __str__(self) -> str:
        return layout.group_path(self.ns, self.group)


@dataclass(slots=True)
class SnapshotFiles:
    """What lies in a snapshot's folder: sizes by name, the protected marker apart."""

    place: GroupPlace
    ref: SnapshotRef
    sizes: dict[str, int] = field(default_factory=dict)
    protected: bool = False

    @property
    def path(self) -> str:
        return layout.snapshot_path(self.place.ns, self.ref)

    @property
    def finished(self) -> bool:
        """Whether it has a manifest."""
        return MANIFEST_NAME in self.sizes


@dataclass(slots=True)
class GroupFiles:
    """Which of its own files a group has."""

    owner: bool = False
    notes: bool = False


@dataclass(slots=True)
class Contents:
    """The groups of a datastore, and what is not under a name that could be imported."""

    groups: dict[GroupPlace, GroupFiles] = field(default_factory=dict)
    unusable: list[str] = field(default_factory=list)


async def find_groups(backend: ChunkBackend) -> Contents:
    """First walk: all groups. Memory grows with their number."""
    found = Contents()
    strange: dict[str, str] = {}
    async for key, _size in backend.list_files():
        try:
            path = layout.parse_content_path(key)
        except FormatError as error:
            if layout.is_snapshot_file(key.rpartition("/")[2]):
                strange.setdefault(key.rpartition("/")[0], str(error))
            continue
        if path.group is None:
            continue
        files = found.groups.setdefault(GroupPlace(path.ns, path.group), GroupFiles())
        files.owner |= path.filename == layout.OWNER_NAME and path.snapshot is None
        files.notes |= path.filename == layout.NOTES_NAME and path.snapshot is None
    found.unusable = [f"'{folder}': {reason}" for folder, reason in sorted(strange.items())]
    return found


async def find_snapshots(backend: ChunkBackend) -> AsyncIterator[SnapshotFiles]:
    """Second walk: one snapshot after the other; a folder's files follow each other in every listing."""
    current: SnapshotFiles | None = None
    async for key, size in backend.list_files():
        try:
            path = layout.parse_content_path(key)
        except FormatError:
            continue
        if path.group is None or path.snapshot is None or path.filename is None:
            continue
        place = GroupPlace(path.ns, path.group)
        if current is None or (current.place, current.ref) != (place, path.snapshot):
            if current is not None:
                yield current
            current = SnapshotFiles(place, path.snapshot)
        if path.filename == layout.PROTECTED_NAME:
            current.protected = True
        else:
            current.sizes[path.filename] = size
    if current is not None:
        yield current


async def examine_index(pieces: AsyncIterable[bytes], name: str, digests: DigestSet) -> StoredFile:
    """Row of an index from its bytes; its digests are gathered. Raises DataCorrupt: it cannot be used."""
    archive = ArchiveName.parse_server(name)
    check = IndexCheck(archive.archive_type)
    try:
        async for piece in pieces:
            digests.add(check.feed(piece))
        csum, size = check.finish()
    except InvalidArgument as error:
        raise DataCorrupt(error.message.removeprefix("archive-name: ")) from error
    return StoredFile(name, index_kind(archive), size, check.stored_size, csum, check.count)


def index_kind(name: ArchiveName) -> str:
    """Value of the column `kind`."""
    kinds = {ArchiveType.FIXED: "fixed", ArchiveType.DYNAMIC: "dynamic", ArchiveType.BLOB: "blob"}
    return kinds[name.archive_type]
