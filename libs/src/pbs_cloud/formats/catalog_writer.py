"""Writing a catalog as a stream (formats 5.1)."""

from dataclasses import dataclass, field

from pbs_cloud.formats.catalog import MAGIC, MAX_NAME, encode_signed, encode_unsigned
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.pxar import EntryKind


@dataclass(slots=True)
class _Table:
    """A directory that has not ended: encoded entries; those of directories with the offset of their table."""

    name: bytes
    entries: list[tuple[bytes, int | None]] = field(default_factory=list)

    def add(self, kind: EntryKind, name: bytes, extra: bytes = b"", table: int | None = None) -> None:
        self.entries.append((kind.value.encode() + encode_unsigned(len(name)) + name + extra, table))

    def encode(self, offset: int) -> bytes:
        payload = bytearray(encode_unsigned(len(self.entries)))
        for entry, table in self.entries:
            payload += entry if table is None else entry + encode_unsigned(offset - table)
        return encode_unsigned(len(payload)) + payload


class CatalogWriter:
    """Call in archive order and pass on the bytes that :meth:`begin` and the ends return."""

    def __init__(self) -> None:
        self._position = len(MAGIC)
        self._open = [_Table(b"")]

    def begin(self) -> bytes:
        """First bytes of the file."""
        return MAGIC

    def start_directory(self, name: bytes) -> None:
        """Enter a directory (an index name at the top)."""
        self._open.append(_Table(_checked(name)))

    def add_file(self, name: bytes, size: int, mtime: int) -> None:
        """A regular file; ``mtime`` in seconds."""
        self._open[-1].add(EntryKind.FILE, _checked(name), encode_unsigned(size) + encode_signed(mtime))

    def add(self, kind: EntryKind, name: bytes) -> None:
        """A link, device, FIFO or socket."""
        if kind in (EntryKind.FILE, EntryKind.DIRECTORY):
            raise FormatError("catalog: files and directories have calls of their own")
        self._open[-1].add(kind, _checked(name))

    def end_directory(self) -> bytes:
        """Leave a directory; returns its table."""
        if len(self._open) < 2:
            raise FormatError("catalog: no directory is open")
        table = self._open.pop()
        offset, encoded = self._position, table.encode(self._position)
        self._position += len(encoded)
        self._open[-1].add(EntryKind.DIRECTORY, table.name, table=offset)
        return encoded

    def finish(self) -> bytes:
        """Root table and trailer, when all directories have ended."""
        if len(self._open) != 1:
            raise FormatError("catalog: a directory is still open")
        return self._open[0].encode(self._position) + self._position.to_bytes(8, "little")


def _checked(name: bytes) -> bytes:
    if not 0 < len(name) <= MAX_NAME or b"/" in name or b"\0" in name:
        raise FormatError("catalog: bad name")
    return name
