"""Random access into pxar archives: version 1, and version 2 as a split pair (formats 5.5, 5.6).

Nothing here does IO: the archive is a ``read(offset, length)`` callable. A lookup touches the goodbye tables
and entries along its path only. Every structural field is checked before it is used.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np

from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.pxar import (
    HEADER_SIZE,
    Content,
    Entry,
    EntryKind,
    ItemReader,
    ItemType,
    ReadAt,
    read_child,
    read_entry,
)
from pbs_cloud.formats.siphash import siphash24

TAIL_MARKER: Final = 0xEF5EED5B753E1555
ITEM_SIZE: Final = 24
MAX_PRELUDE: Final = 16 * 1024 * 1024
MAX_DEPTH: Final = 4096
MAX_CHILDREN: Final = 10_000_000
PIECE_SIZE: Final = 1024 * 1024

_ITEM = struct.Struct("<QQQ")
_TABLE_PIECE = 24 * 4096


class GoodbyeItem(NamedTuple):
    """One record of a goodbye table; offsets are distances backwards from the GOODBYE header."""

    hash: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Directory:
    """An opened directory: its range ``[start, end)``, its GOODBYE header and number of children."""

    entry: Entry
    start: int
    goodbye: int
    end: int
    count: int


class PxarReader:
    """An archive; give ``payload`` and its size for the second half of a split pair."""

    def __init__(self, read: ReadAt, size: int, payload: ReadAt | None = None, payload_size: int = 0) -> None:
        self._items = ItemReader(read, size)
        self._tables = ItemReader(read, size)
        self._read = read
        self._payload = payload
        self._payload_size = payload_size
        self.size = size
        self.version, self.prelude, self._root_entry = self._read_start()

    def _read_start(self) -> tuple[int, bytes | None, int]:
        header = self._items.header(0, self.size)
        if header.type != ItemType.FORMAT_VERSION:
            return 1, None, 0
        version = int.from_bytes(self._items.exact(header, 8), "little")
        if version != 2:
            raise FormatError(f"pxar: unknown format version {version}")
        following = self._items.header(header.end, self.size)
        if following.type != ItemType.PRELUDE:
            return version, None, header.end
        return version, self._items.content(following, MAX_PRELUDE), following.end

    def root(self) -> Directory:
        """The root directory."""
        start, goodbye, count = self._read_tail(self.size, 0)
        if start != 0:
            raise FormatError("pxar: root directory does not start the archive")
        entry = replace(self._entry_of(self._root_entry, goodbye, b"", self._root_entry), end=self.size)
        return Directory(entry, self._root_entry, goodbye, self.size, count)

    def open(self, entry: Entry) -> Directory:
        """The directory behind an entry that a lookup or listing gave."""
        if entry.kind is not EntryKind.DIRECTORY or entry.end is None:
            raise FormatError(f"pxar: entry at {entry.offset} cannot be opened as a directory")
        start, goodbye, count = self._read_tail(entry.end, entry.entry_offset)
        if start != entry.entry_offset:
            raise FormatError(f"pxar: goodbye table at {goodbye} belongs to another directory")
        return Directory(entry, start, goodbye, entry.end, count)

    def _entry_of(self, offset: int, limit: int, name: bytes, name_offset: int) -> Entry:
        entry = read_entry(self._items, offset, limit, name, name_offset)
        if entry.kind is not EntryKind.DIRECTORY:
            raise FormatError(f"pxar: entry at {offset} is no directory")
        return entry

    def _read_tail(self, end: int, lowest: int) -> tuple[int, int, int]:
        """Start, GOODBYE offset and number of children of the directory that ends at ``end``."""
        tail = GoodbyeItem(*_ITEM.unpack(self._tables.bytes_at(end - ITEM_SIZE, ITEM_SIZE, end)))
        goodbye = end - tail.size
        records, rest = divmod(tail.size - HEADER_SIZE, ITEM_SIZE)
        if tail.hash != TAIL_MARKER or rest or not 1 <= records <= MAX_CHILDREN + 1 or goodbye - tail.offset < lowest:
            raise FormatError(f"pxar: bad goodbye table before {end}")
        header = self._tables.header(goodbye, end)
        if header.type != ItemType.GOODBYE or header.end != end:
            raise FormatError(f"pxar: no GOODBYE at {goodbye}")
        return goodbye - tail.offset, goodbye, records - 1

    def lookup(self, directory: Directory, name: bytes) -> Entry | None:
        """The child of that name, found by a binary search of the goodbye table."""
        wanted = siphash24(name)
        slots = [0]
        while slots:
            slot = slots.pop()
            if slot >= directory.count:
                continue
            offset = directory.goodbye + HEADER_SIZE + ITEM_SIZE * slot
            item = GoodbyeItem(*_ITEM.unpack(self._tables.bytes_at(offset, ITEM_SIZE, directory.end)))
            if item.hash == wanted:
                entry = self._child(directory, item.offset, item.size)
                if entry.name == name:
                    return entry
            if wanted <= item.hash:
                slots.append(2 * slot + 1)
            if wanted >= item.hash:
                slots.append(2 * slot + 2)
        return None

    def children(self, directory: Directory) -> Iterator[Entry]:
        """All children in archive order (the clients sort by name)."""
        pieces = []
        start, end = directory.goodbye + HEADER_SIZE, directory.end - ITEM_SIZE
        for offset in range(start, end, _TABLE_PIECE):
            pieces.append(self._tables.bytes_at(offset, min(_TABLE_PIECE, end - offset), end))
        table = np.frombuffer(b"".join(pieces), dtype=np.dtype("<u8")).reshape(-1, 3)
        for row in np.argsort(table[:, 1])[::-1]:
            yield self._child(directory, int(table[row, 1]), int(table[row, 2]))

    def _child(self, directory: Directory, distance: int, size: int) -> Entry:
        offset = directory.goodbye - distance
        if offset < directory.entry.next_offset or offset >= directory.goodbye:
            raise FormatError(f"pxar: goodbye item leads to {offset}, out of its directory")
        entry = read_child(self._items, offset, directory.goodbye)
        if entry.kind is not EntryKind.DIRECTORY:
            return entry
        end = offset + size
        if end > directory.goodbye or end < entry.next_offset + HEADER_SIZE + ITEM_SIZE:
            raise FormatError(f"pxar: directory at {offset} passes its parent")
        return replace(entry, end=end)

    def find(self, path: bytes) -> Entry | None:
        """Entry at a path of ``/``-separated names from the root; None if there is none."""
        directory = self.root()
        names = [name for name in path.split(b"/") if name]
        if not names:
            return directory.entry
        for name in names[:-1]:
            entry = self.lookup(directory, name)
            if entry is None or entry.kind is not EntryKind.DIRECTORY:
                return None
            directory = self.open(entry)
        return self.lookup(directory, names[-1])

    def resolve(self, entry: Entry) -> Entry:
        """The regular file that a hard link names; any other entry itself."""
        if entry.kind is not EntryKind.HARDLINK or entry.link_offset is None:
            return entry
        target = read_child(self._items, entry.link_offset, entry.offset)
        if target.kind is not EntryKind.FILE:
            raise FormatError(f"pxar: hard link at {entry.offset} leads to no regular file")
        return target

    def content(self, entry: Entry, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Bytes of a file or hard link (or a range of them) in pieces of at most 1 MiB."""
        found = self.resolve(entry).content
        if found is None:
            raise FormatError(f"pxar: entry at {entry.offset} has no content")
        read = self._read
        if found.by_reference:
            found, read = self._follow(found)
        end = found.size if length is None else offset + length
        if not 0 <= offset <= end <= found.size:
            raise FormatError(f"pxar: range {offset} to {end} of a file of {found.size} bytes")
        for start in range(found.offset + offset, found.offset + end, PIECE_SIZE):
            wanted = min(PIECE_SIZE, found.offset + end - start)
            data = read(start, wanted)
            if len(data) != wanted:
                raise FormatError(f"pxar: content at {start} is cut off")
            yield data

    def _follow(self, reference: Content) -> tuple[Content, ReadAt]:
        """Check the PAYLOAD header a reference points at (formats 5.3)."""
        if self._payload is None:
            raise FormatError("pxar: the payload archive is missing")
        header = ItemReader(self._payload, self._payload_size).header(reference.offset, self._payload_size)
        if header.type != ItemType.PAYLOAD or header.content_size != reference.size:
            raise FormatError(f"pxar: payload at {reference.offset} does not match its reference")
        return Content(reference.offset + HEADER_SIZE, reference.size), self._payload

    def walk(self, directory: Directory) -> Iterator[tuple[bytes, Entry]]:
        """All entries of a directory tree in archive order, parents first, with their path below it.

        Reads the range of the directory once from start to end (skipping file contents); the directory itself
        comes first with an empty path.
        """
        yield b"", directory.entry
        position = directory.entry.next_offset
        opened = [(b"", directory.start if directory.entry.name else 0)]
        while opened:
            header = self._items.header(position, directory.end)
            if header.type == ItemType.GOODBYE:
                self._leave(opened.pop()[1], position, header.end)
                position = header.end
                continue
            entry = read_child(self._items, position, directory.end)
            path = opened[-1][0] + b"/" + entry.name if opened[-1][0] else entry.name
            yield path, entry
            position = entry.next_offset
            if entry.kind is EntryKind.DIRECTORY:
                if len(opened) >= MAX_DEPTH:
                    raise FormatError(f"pxar: more than {MAX_DEPTH} levels")
                opened.append((path, entry.entry_offset))
        if position != directory.end:
            raise FormatError(f"pxar: directory ends at {position}, expected {directory.end}")

    def _leave(self, start: int, goodbye: int, end: int) -> None:
        found_start, found_goodbye, _ = self._read_tail(end, start)
        if (found_start, found_goodbye) != (start, goodbye):
            raise FormatError(f"pxar: goodbye table at {goodbye} does not match its directory")
