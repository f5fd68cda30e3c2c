"""From the strings of a call to checked names, and from names to keys of the backend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.errors import InvalidArgument
from pbs_cloud.formats import layout
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.names import BackupGroup, BackupNamespace, BackupType, SnapshotRef, parse_backup_id
from pbs_cloud.formats.names import parse_backup_time as checked_time

UPLOADED_MANIFEST = "index.json.tmp_upload"
"""Where a client's manifest lies until finish: a name that no reader of the layout takes for a snapshot file."""

BENCHMARK = BackupGroup(BackupType.HOST, "benchmark")


@contextmanager
def refusing_bad_names() -> Iterator[None]:
    """Turns a ``FormatError`` into ``InvalidArgument`` with the field that its message begins with."""
    try:
        yield
    except FormatError as error:
        field, colon, _ = str(error).partition(":")
        raise InvalidArgument(str(error), field=field if colon else None) from error


def parse_time(value: int) -> int:
    """A backup time within its limits. Raises InvalidArgument."""
    with refusing_bad_names():
        return checked_time(value)


def parse_namespace(text: str, field: str = "ns") -> BackupNamespace:
    """Raises InvalidArgument."""
    with refusing_bad_names():
        return BackupNamespace.parse(text, field)


def refuse_nul(value: str, field: str) -> str:
    """``value`` itself; Postgres cannot hold a NUL character."""
    if "\x00" in value:
        raise InvalidArgument(f"{field}: contains a NUL character", field=field)
    return value


@dataclass(frozen=True, slots=True)
class Place:
    """Where a group lies inside its datastore."""

    ns: BackupNamespace
    group: BackupGroup

    @classmethod
    def parse(cls, ref: t.GroupRef) -> Place:
        """Checked names of a group. Raises InvalidArgument."""
        return cls.of(ref.ns, ref.backup_type, ref.backup_id)

    @classmethod
    def of(cls, ns: str, backup_type: str, backup_id: str) -> Place:
        """From the three strings. Raises InvalidArgument."""
        with refusing_bad_names():
            return cls(
                BackupNamespace.parse(ns), BackupGroup(BackupType.parse(backup_type), parse_backup_id(backup_id))
            )

    @property
    def prefix(self) -> str:
        """Key prefix of everything in the group, with a slash at the end."""
        return f"{layout.group_path(self.ns, self.group)}/"

    @property
    def owner_key(self) -> str:
        return layout.owner_path(self.ns, self.group)

    @property
    def notes_key(self) -> str:
        return layout.notes_path(self.ns, self.group)

    def snapshot(self, backup_time: int) -> SnapshotPlace:
        return SnapshotPlace(self, backup_time)


@dataclass(frozen=True, slots=True)
class SnapshotPlace:
    """Where a snapshot lies inside its datastore."""

    place: Place
    backup_time: int

    @property
    def ref(self) -> SnapshotRef:
        return SnapshotRef(self.place.group, self.backup_time)

    @property
    def path(self) -> str:
        """Relative path as error texts and task logs show it."""
        return layout.snapshot_path(self.place.ns, self.ref)

    @property
    def prefix(self) -> str:
        return f"{self.path}/"

    @property
    def protected_key(self) -> str:
        return layout.protected_path(self.place.ns, self.ref)

    def file_key(self, name: str) -> str:
        """Key of a file of this snapshot. Raises InvalidArgument."""
        with refusing_bad_names():
            return layout.snapshot_file_path(self.place.ns, self.ref, name)
