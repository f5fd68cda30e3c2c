"""The catalog file, content of ``catalog.pcat1.didx`` (formats 5.1)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.pxar import EntryKind, ReadAt

MAGIC: Final = bytes.fromhex("91fd60f9c46758d5")
MAX_NAME: Final = 4095
MAX_DEPTH: Final = 4096
MAX_TABLE: Final = 256 * 1024 * 1024
"""Most bytes of one directory: some ten million entries."""
_KINDS = {ord(kind.value): kind for kind in EntryKind}
_MAX_U64 = (1 << 64) - 1
_MIN_I64, _MAX_I64 = -(1 << 63), (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One entry; ``size`` and ``mtime`` (seconds) of files only, ``table`` (offset) of directories only."""

    kind: EntryKind
    name: bytes
    size: int | None = None
    mtime: int | None = None
    table: int | None = None


def encode_unsigned(value: int) -> bytes:
    """Unsigned varint: 7-bit groups, least significant first."""
    if not 0 <= value <= _MAX_U64:
        raise FormatError("catalog: number out of range")
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encode_signed(value: int) -> bytes:
    """Signed varint: negative numbers have bit 7 on every byte of the magnitude and end with a zero byte."""
    if value >= 0:
        return encode_unsigned(value)
    if value < _MIN_I64:
        raise FormatError("catalog: number out of range")
    magnitude, encoded = -value, bytearray()
    while magnitude:
        encoded.append(magnitude & 0x7F | 0x80)
        magnitude >>= 7
    encoded.append(0)
    return bytes(encoded)


def decode_unsigned(data: bytes, position: int) -> tuple[int, int]:
    """Unsigned varint at ``position`` and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value > _MAX_U64:
                break
            return value, position
    raise FormatError("catalog: bad unsigned number")


def decode_signed(data: bytes, position: int) -> tuple[int, int]:
    """Signed varint at ``position`` and the position behind it."""
    value = 0
    for shift in range(0, 77, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        if byte == 0:
            value = -value
        elif byte < 0x80:
            value |= byte << shift
        else:
            value |= (byte & 0x7F) << shift
            continue
        if not _MIN_I64 <= value <= _MAX_I64:
            break
        return value, position
    raise FormatError("catalog: bad signed number")


class CatalogReader:
    """A catalog behind a ``read(offset, length)`` callable; tables are read one at a time."""

    def __init__(self, read: ReadAt, size: int) -> None:
        self._read_at = read
        self.size = size
        if size < len(MAGIC) + 2 + 8:
            raise FormatError("catalog: too small")
        if self._read(0, len(MAGIC)) != MAGIC:
            raise FormatError("catalog: unknown magic number")
        self.root_table = int.from_bytes(self._read(size - 8, 8), "little")
        self._payload_range(self.root_table)

    def _read(self, offset: int, length: int) -> bytes:
        data = self._read_at(offset, length)
        if len(data) != length:
            raise FormatError(f"catalog: ends at {offset + len(data)}, expected {self.size}")
        return data

    def _payload_range(self, table: int) -> tuple[int, int]:
        end = self.size - 8
        if not len(MAGIC) <= table < end:
            raise FormatError(f"catalog: table at {table} is outside of the file")
        length, consumed = decode_unsigned(self._read(table, min(10, end - table)), 0)
        start = table + consumed
        if not 1 <= length <= MAX_TABLE or start + length > end:
            raise FormatError(f"catalog: table at {table} has bad length {length}")
        return start, length

    def entries(self, table: int) -> Iterator[CatalogEntry]:
        """Entries of a table in catalog order (sorted by name)."""
        start, length = self._payload_range(table)
        payload = self._read(start, length)
        count, position = decode_unsigned(payload, 0)
        for _ in range(count):
            entry, position = _decode_entry(payload, position, table)
            yield entry
        if position != length:
            raise FormatError(f"catalog: table at {table} has {length - position} bytes too much")

    def lookup(self, table: int, name: bytes) -> CatalogEntry | None:
        """Entry of that name in a table."""
        return next((entry for entry in self.entries(table) if entry.name == name), None)

    def find_table(self, path: bytes) -> int | None:
        """Table of the directory at a path of ``/``-separated names; the first is an index name."""
        table = self.root_table
        for name in filter(None, path.split(b"/")):
            entry = self.lookup(table, name)
            if entry is None or entry.table is None:
                return None
            table = entry.table
        return table

    def walk(self) -> Iterator[tuple[bytes, CatalogEntry]]:
        """All entries, parents first, with their full path; tables used twice are refused."""
        seen = {self.root_table}
        opened = [(b"", self.entries(self.root_table))]
        while opened:
            prefix, entries = opened[-1]
            entry = next(entries, None)
            if entry is None:
                opened.pop()
                continue
            path = prefix + b"/" + entry.name if prefix else entry.name
            yield path, entry
            if entry.table is not None:
                if entry.table in seen or len(opened) >= MAX_DEPTH:
                    raise FormatError(f"catalog: table at {entry.table} is used twice or too deep")
                seen.add(entry.table)
                opened.append((path, self.entries(entry.table)))


def _decode_entry(payload: bytes, position: int, table: int) -> tuple[CatalogEntry, int]:
    kind = _KINDS.get(payload[position]) if position < len(payload) else None
    if kind is None:
        raise FormatError(f"catalog: bad entry type in table at {table}")
    length, position = decode_unsigned(payload, position + 1)
    name = payload[position : position + length]
    if not 0 < length <= MAX_NAME or len(name) != length or b"/" in name or b"\0" in name:
        raise FormatError(f"catalog: bad name in table at {table}")
    position += length
    if kind is EntryKind.DIRECTORY:
        distance, position = decode_unsigned(payload, position)
        if not 0 < distance <= table - len(MAGIC):
            raise FormatError(f"catalog: bad distance {distance} in table at {table}")
        return CatalogEntry(kind, name, table=table - distance), position
    if kind is EntryKind.FILE:
        size, position = decode_unsigned(payload, position)
        mtime, position = decode_signed(payload, position)
        return CatalogEntry(kind, name, size=size, mtime=mtime), position
    return CatalogEntry(kind, name), position
