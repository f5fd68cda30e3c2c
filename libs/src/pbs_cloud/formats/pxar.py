"""Items of a pxar archive: headers, stat, attributes, single entries (formats 5.3, 5.4).

:mod:`pbs_cloud.formats.pxar_reader` walks whole archives with what is here.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple, TypeAlias

from pbs_cloud.formats.errors import FormatError

ReadAt: TypeAlias = Callable[[int, int], bytes]
"""``read(offset, length)``: exactly that many bytes of an archive; never called beyond its size."""

HEADER_SIZE: Final = 16
MAX_NAME: Final = 4096
MAX_XATTR: Final = 65_791
MAX_ATTRIBUTES: Final = 16 * 1024 * 1024
"""Bound on the extended attributes and ACL items of one entry together."""


class ItemType(IntEnum):
    """Type field of an item header."""

    FORMAT_VERSION = 0x730F6C75DF16A40D
    PRELUDE = 0xE309D79D9F7B771B
    ENTRY = 0xD5956474E588ACEF
    ENTRY_V1 = 0x11DA850A1C1CCEFF
    FILENAME = 0x16701121063917B3
    SYMLINK = 0x27F971E7DBF5DC5F
    HARDLINK = 0x51269C8422BD7275
    DEVICE = 0x9FC9E906586D5CE9
    XATTR = 0x0DAB0229B57DCD03
    ACL_USER = 0x2CE8540A457D55B8
    ACL_GROUP = 0x136E3ECEB04C03AB
    ACL_GROUP_OBJ = 0x10868031E9582876
    ACL_DEFAULT = 0xBBBB13415A6896F5
    ACL_DEFAULT_USER = 0xC89357B40532CD1F
    ACL_DEFAULT_GROUP = 0xF90A8A5816038FFE
    FCAPS = 0x2DA9DD9DB5F7FB67
    QUOTA_PROJID = 0xE07540E82F7D1CBB
    PAYLOAD = 0x28147A1B0B7C1A25
    PAYLOAD_REF = 0x419D3D6BC4BA977E
    GOODBYE = 0x2FEC4FA642D5731D
    PAYLOAD_START_MARKER = 0x834C68C2194A4ED2
    PAYLOAD_TAIL_MARKER = 0x6C72B78B984C81B5


_ACL_SIZES = {
    ItemType.ACL_USER: 16,
    ItemType.ACL_GROUP: 16,
    ItemType.ACL_GROUP_OBJ: 8,
    ItemType.ACL_DEFAULT: 32,
    ItemType.ACL_DEFAULT_USER: 16,
    ItemType.ACL_DEFAULT_GROUP: 16,
}
_STAT = struct.Struct("<QQIIqI4x")
_STAT_V1 = struct.Struct("<QQIIQ")
_HEADER = struct.Struct("<QQ")
_TWO_U64 = struct.Struct("<QQ")


class EntryKind(StrEnum):
    """Kind of an entry; the value is the letter of the catalog and the listing API."""

    DIRECTORY = "d"
    FILE = "f"
    SYMLINK = "l"
    HARDLINK = "h"
    BLOCK_DEVICE = "b"
    CHAR_DEVICE = "c"
    FIFO = "p"
    SOCKET = "s"


_KINDS = {
    0o040000: EntryKind.DIRECTORY,
    0o100000: EntryKind.FILE,
    0o120000: EntryKind.SYMLINK,
    0o060000: EntryKind.BLOCK_DEVICE,
    0o020000: EntryKind.CHAR_DEVICE,
    0o010000: EntryKind.FIFO,
    0o140000: EntryKind.SOCKET,
}


class Stat(NamedTuple):
    """Owner, mode and time of an entry; ``mtime`` in seconds, nanoseconds counted forward."""

    mode: int
    flags: int
    uid: int
    gid: int
    mtime: int
    mtime_nanos: int

    @property
    def kind(self) -> EntryKind:
        """Kind by the type bits of the mode."""
        kind = _KINDS.get(self.mode & 0o170000)
        if kind is None:
            raise FormatError(f"pxar: unknown file type in mode {self.mode:o}")
        return kind


@dataclass(frozen=True, slots=True)
class Attributes:
    """Extended attributes (name, value), ACL items (type, raw content), file capability, project quota id."""

    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    acl: tuple[tuple[ItemType, bytes], ...] = ()
    fcaps: bytes | None = None
    quota_project: int | None = None


NO_ATTRIBUTES: Final = Attributes()


@dataclass(frozen=True, slots=True)
class Content:
    """Where the bytes of a file are: in this archive, or behind a PAYLOAD header of the payload archive."""

    offset: int
    size: int
    by_reference: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; ``offset`` is that of its FILENAME item (of the ENTRY item for the root).

    ``next_offset`` is where the next item starts: behind a leaf, at the first child of a directory.
    ``end`` is the end of a directory if the entry was found through a goodbye table.
    """

    name: bytes
    kind: EntryKind
    offset: int
    next_offset: int
    stat: Stat | None = None
    attributes: Attributes = NO_ATTRIBUTES
    target: bytes | None = None
    link_offset: int | None = None
    device: tuple[int, int] | None = None
    content: Content | None = None
    end: int | None = None
    entry_offset: int = 0

    @property
    def size(self) -> int | None:
        """Bytes of a regular file, else None."""
        return self.content.size if self.content is not None else None


class Header(NamedTuple):
    """An item header; ``end`` is the offset behind the item."""

    type: int
    offset: int
    end: int

    @property
    def content_size(self) -> int:
        """Bytes behind the header."""
        return self.end - self.offset - HEADER_SIZE


class ItemReader:
    """Reads items of one archive between 0 and ``size`` with a read-ahead of a few KiB."""

    WINDOW: Final = 16 * 1024

    def __init__(self, read: ReadAt, size: int) -> None:
        self._read = read
        self.size = size
        self._start = 0
        self._buffer = b""

    def bytes_at(self, offset: int, length: int, limit: int) -> bytes:
        """``length`` bytes that must end at or before ``limit``."""
        if offset < 0 or offset + length > min(limit, self.size):
            raise FormatError(f"pxar: item at {offset} passes its bounds")
        start = offset - self._start
        if start < 0 or start + length > len(self._buffer):
            wanted = min(max(length, self.WINDOW), self.size - offset)
            data = self._read(offset, wanted)
            if len(data) != wanted:
                raise FormatError(f"pxar: archive ends at {offset + len(data)}, expected {self.size}")
            self._start, self._buffer, start = offset, data, 0
        return self._buffer[start : start + length]

    def header(self, offset: int, limit: int) -> Header:
        """The header at ``offset``; the item must end at or before ``limit``."""
        kind, size = _HEADER.unpack(self.bytes_at(offset, HEADER_SIZE, limit))
        if size < HEADER_SIZE or offset + size > min(limit, self.size):
            raise FormatError(f"pxar: item at {offset} has bad size {size}")
        return Header(kind, offset, offset + size)

    def content(self, header: Header, maximum: int, minimum: int = 0) -> bytes:
        """Content of an item whose length must be within bounds."""
        size = header.content_size
        if not minimum <= size <= maximum:
            raise FormatError(f"pxar: item at {header.offset} has {size} bytes of content")
        return self.bytes_at(header.offset + HEADER_SIZE, size, header.end)

    def exact(self, header: Header, size: int) -> bytes:
        """Content of an item of fixed length."""
        return self.content(header, size, size)

    def text(self, header: Header, prefix: int = 0) -> bytes:
        """NUL-terminated text of 1 to 4096 bytes behind ``prefix`` other bytes."""
        data = self.content(header, prefix + MAX_NAME + 1, prefix + 2)[prefix:]
        if data.find(0) != len(data) - 1:
            raise FormatError(f"pxar: text of item at {header.offset} is not NUL-terminated")
        return data[:-1]


def read_child(items: ItemReader, offset: int, limit: int) -> Entry:
    """The child whose FILENAME is at ``offset``; all its items must end at or before ``limit``."""
    header = items.header(offset, limit)
    if header.type != ItemType.FILENAME:
        raise FormatError(f"pxar: no FILENAME at {offset}")
    name = items.text(header)
    if b"/" in name or name in (b".", b".."):
        raise FormatError(f"pxar: bad file name at {offset}")
    following = items.header(header.end, limit)
    if following.type == ItemType.HARDLINK:
        return _read_hardlink(items, name, offset, following)
    return read_entry(items, header.end, limit, name, offset)


def _read_hardlink(items: ItemReader, name: bytes, offset: int, header: Header) -> Entry:
    target = items.text(header, prefix=8)
    distance = int.from_bytes(items.bytes_at(header.offset + HEADER_SIZE, 8, header.end), "little")
    if not 0 < distance <= offset:
        raise FormatError(f"pxar: hard link at {offset} leads out of the archive")
    return Entry(
        name,
        EntryKind.HARDLINK,
        offset,
        header.end,
        target=target,
        link_offset=offset - distance,
        entry_offset=header.offset,
    )


def read_entry(items: ItemReader, offset: int, limit: int, name: bytes, name_offset: int) -> Entry:
    """The ENTRY at ``offset`` with its attributes and, for a leaf, its last item."""
    header = items.header(offset, limit)
    stat = _read_stat(items, header)
    attributes, position = _read_attributes(items, header.end, limit)
    kind = stat.kind
    entry = Entry(name, kind, name_offset, position, stat, attributes, entry_offset=offset)
    if kind in (EntryKind.DIRECTORY, EntryKind.FIFO, EntryKind.SOCKET):
        return entry
    last = items.header(position, limit)
    entry = replace(entry, next_offset=last.end)
    if kind is EntryKind.FILE:
        return replace(entry, content=_read_content(items, last))
    if kind is EntryKind.SYMLINK:
        _require(last, ItemType.SYMLINK)
        return replace(entry, target=items.text(last))
    _require(last, ItemType.DEVICE)
    return replace(entry, device=_TWO_U64.unpack(items.exact(last, 16)))


def _require(header: Header, wanted: ItemType) -> None:
    if header.type != wanted:
        raise FormatError(f"pxar: expected {wanted.name} at {header.offset}")


def _read_stat(items: ItemReader, header: Header) -> Stat:
    if header.type == ItemType.ENTRY:
        return Stat(*_STAT.unpack(items.exact(header, _STAT.size)))
    if header.type == ItemType.ENTRY_V1:
        mode, flags, uid, gid, nanos = _STAT_V1.unpack(items.exact(header, _STAT_V1.size))
        return Stat(mode, flags, uid, gid, *divmod(nanos, 1_000_000_000))
    raise FormatError(f"pxar: no ENTRY at {header.offset}")


def _read_content(items: ItemReader, header: Header) -> Content:
    if header.type == ItemType.PAYLOAD:
        return Content(header.offset + HEADER_SIZE, header.content_size)
    _require(header, ItemType.PAYLOAD_REF)
    offset, size = _TWO_U64.unpack(items.exact(header, 16))
    return Content(offset, size, by_reference=True)


def _read_attributes(items: ItemReader, position: int, limit: int) -> tuple[Attributes, int]:
    """Attribute items from ``position`` on, and the offset of the first other item."""
    start = position
    xattrs: list[tuple[bytes, bytes]] = []
    acl: list[tuple[ItemType, bytes]] = []
    fcaps: bytes | None = None
    quota: int | None = None
    while position < min(limit, items.size):
        header = items.header(position, limit)
        if header.type == ItemType.XATTR:
            name, separator, value = items.content(header, MAX_XATTR).partition(b"\0")
            if not separator or not name:
                raise FormatError(f"pxar: bad extended attribute at {position}")
            xattrs.append((name, value))
        elif header.type in _ACL_SIZES:
            kind = ItemType(header.type)
            acl.append((kind, items.exact(header, _ACL_SIZES[kind])))
        elif header.type == ItemType.FCAPS:
            fcaps = items.content(header, MAX_XATTR)
        elif header.type == ItemType.QUOTA_PROJID:
            quota = int.from_bytes(items.exact(header, 8), "little")
        else:
            break
        position = header.end
        if position - start > MAX_ATTRIBUTES:
            raise FormatError(f"pxar: more than {MAX_ATTRIBUTES} bytes of attributes at {start}")
    if position == start:
        return NO_ATTRIBUTES, position
    return Attributes(tuple(xattrs), tuple(acl), fcaps, quota), position
