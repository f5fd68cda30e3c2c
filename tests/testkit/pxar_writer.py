"""Writes pxar archives, version 1 and split version 2, and catalogs, from a tree of nodes (formats 5).

Sizes in goodbye tables of split archives are the ones that stock clients write (formats 5.5, the trap).
"""

import os
import stat
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from pbs_cloud.formats.catalog_writer import CatalogWriter
from pbs_cloud.formats.pxar import EntryKind, ItemType, Stat
from pbs_cloud.formats.pxar_reader import TAIL_MARKER
from pbs_cloud.formats.siphash import siphash24

Sink: TypeAlias = Callable[[bytes], object]
_PIECE = 1024 * 1024


@dataclass
class Node:
    """One entry of a tree; ``link_to`` is the path of a hard link's target inside the archive."""

    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    mtime_nanos: int = 0
    flags: int = 0
    content: bytes | Path = b""
    children: dict[bytes, "Node"] = field(default_factory=dict)
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    link_to: bytes | None = None
    xattrs: list[tuple[bytes, bytes]] = field(default_factory=list)
    acl: list[tuple[ItemType, bytes]] = field(default_factory=list)
    fcaps: bytes | None = None

    @property
    def kind(self) -> EntryKind:
        """Kind of the entry."""
        return EntryKind.HARDLINK if self.link_to is not None else Stat(self.mode, 0, 0, 0, 0, 0).kind

    @property
    def size(self) -> int:
        """Bytes of content."""
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.content)

    def pieces(self) -> Iterator[bytes]:
        """Content in pieces."""
        if isinstance(self.content, bytes):
            yield self.content
            return
        with self.content.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece


TreeSpec: TypeAlias = "Mapping[str | bytes, bytes | Node | TreeSpec]"


def tree_from_dict(spec: TreeSpec, mtime: int = 1_700_000_000) -> Node:
    """A directory node of ``{name: bytes (file), Node, or dict (directory)}``."""
    children = {}
    for name, value in spec.items():
        if isinstance(value, bytes):
            value = Node(stat.S_IFREG | 0o644, mtime=mtime, content=value)
        elif isinstance(value, Mapping):
            value = tree_from_dict(value, mtime)
        children[os.fsencode(name)] = value
    return Node(stat.S_IFDIR | 0o755, mtime=mtime, children=children)


def tree_from_directory(root: str | Path) -> Node:
    """A real directory; second names of one inode become hard links, ACLs are left out."""
    return _scan(os.fsencode(root), b"", {})


def _scan(path: bytes, inside: bytes, inodes: dict[tuple[int, int], bytes]) -> Node:
    found = os.lstat(path)
    seconds, nanos = divmod(found.st_mtime_ns, 1_000_000_000)
    node = Node(found.st_mode, found.st_uid, found.st_gid, seconds, nanos)
    if stat.S_ISDIR(found.st_mode):
        for name in sorted(os.listdir(path)):
            node.children[name] = _scan(path + b"/" + name, inside + b"/" + name if inside else name, inodes)
    elif stat.S_ISREG(found.st_mode):
        if found.st_nlink > 1:
            first = inodes.setdefault((found.st_dev, found.st_ino), inside)
            node.link_to = first if first != inside else None
        node.content = Path(os.fsdecode(path))
    elif stat.S_ISLNK(found.st_mode):
        node.target = os.readlink(path)
        return node
    elif stat.S_ISBLK(found.st_mode) or stat.S_ISCHR(found.st_mode):
        node.device = os.major(found.st_rdev), os.minor(found.st_rdev)
    for name in sorted(map(os.fsencode, os.listxattr(path))):
        if name.startswith(b"user."):
            node.xattrs.append((name, os.getxattr(path, name)))
        elif name == b"security.capability":
            node.fcaps = os.getxattr(path, name)
    return node


def bst_order(count: int) -> list[int]:
    """Sorted positions in the order of a complete binary search tree stored as an array."""
    order = [0] * count
    position = 0
    slots = [(0, False)] if count else []
    while slots:
        slot, visited = slots.pop()
        if visited:
            order[slot] = position
            position += 1
            if 2 * slot + 2 < count:
                slots.append((2 * slot + 2, False))
        else:
            slots.append((slot, True))
            if 2 * slot + 1 < count:
                slots.append((2 * slot + 1, False))
    return order


def item(kind: int, content: bytes = b"") -> bytes:
    """An item with its header."""
    return struct.pack("<QQ", kind, 16 + len(content)) + content


class PxarWriter:
    """Writes one archive; with ``payload`` it is the metadata half of a split pair."""

    def __init__(self, sink: Sink, payload: Sink | None = None, prelude: bytes | None = None) -> None:
        self._sink = sink
        self._payload = payload
        self._prelude = prelude
        self._position = 0
        self._payload_position = 0
        self._offsets: dict[bytes, int] = {}

    def write(self, root: Node) -> None:
        """Write the whole tree."""
        if self._payload is not None:
            self._emit(item(ItemType.FORMAT_VERSION, (2).to_bytes(8, "little")))
            if self._prelude is not None:
                self._emit(item(ItemType.PRELUDE, self._prelude))
            self._emit_payload(item(ItemType.PAYLOAD_START_MARKER))
        self._directory(root, b"", 0)
        if self._payload is not None:
            self._emit_payload(item(ItemType.PAYLOAD_TAIL_MARKER))

    def _emit(self, data: bytes) -> None:
        self._sink(data)
        self._position += len(data)

    def _emit_payload(self, data: bytes) -> None:
        assert self._payload is not None
        self._payload(data)
        self._payload_position += len(data)

    def _directory(self, node: Node, path: bytes, start: int) -> None:
        self._entry(node)
        found = []
        for name, child in node.children.items():
            offset, excess = self._position, 0
            inside = path + b"/" + name if path else name
            self._emit(item(ItemType.FILENAME, name + b"\0"))
            if child.link_to is not None:
                distance = offset - self._offsets[child.link_to]
                self._emit(item(ItemType.HARDLINK, distance.to_bytes(8, "little") + child.link_to + b"\0"))
            elif child.kind is EntryKind.DIRECTORY:
                self._directory(child, inside, self._position)
            else:
                self._offsets[inside] = offset
                excess = self._leaf(child)
            found.append((siphash24(name), offset, self._position - offset + excess))
        self._goodbye(found, start)

    def _goodbye(self, found: list[tuple[int, int, int]], start: int) -> None:
        ordered = sorted(found)
        goodbye = self._position
        table = [ordered[at] for at in bst_order(len(ordered))]
        content = b"".join(struct.pack("<QQQ", name, goodbye - offset, size) for name, offset, size in table)
        content += struct.pack("<QQQ", TAIL_MARKER, goodbye - start, 16 + len(content) + 24)
        self._emit(item(ItemType.GOODBYE, content))

    def _entry(self, node: Node) -> None:
        fields = (node.mode, node.flags, node.uid, node.gid, node.mtime, node.mtime_nanos)
        self._emit(item(ItemType.ENTRY, struct.pack("<QQIIqI4x", *fields)))
        for name, value in node.xattrs:
            self._emit(item(ItemType.XATTR, name + b"\0" + value))
        for kind, content in node.acl:
            self._emit(item(kind, content))
        if node.fcaps is not None:
            self._emit(item(ItemType.FCAPS, node.fcaps))

    def _leaf(self, node: Node) -> int:
        """Write a leaf; returns the bytes by which its goodbye size is too large."""
        self._entry(node)
        if node.kind is EntryKind.FILE:
            return self._file(node)
        if node.kind is EntryKind.SYMLINK:
            self._emit(item(ItemType.SYMLINK, node.target + b"\0"))
        elif node.kind in (EntryKind.BLOCK_DEVICE, EntryKind.CHAR_DEVICE):
            self._emit(item(ItemType.DEVICE, struct.pack("<QQ", *node.device)))
        return 0

    def _file(self, node: Node) -> int:
        size = node.size
        header = struct.pack("<QQ", ItemType.PAYLOAD, 16 + size)
        emit = self._emit
        if self._payload is not None:
            self._emit(item(ItemType.PAYLOAD_REF, struct.pack("<QQ", self._payload_position, size)))
            emit = self._emit_payload
        emit(header)
        written = 0
        for piece in node.pieces():
            emit(piece)
            written += len(piece)
        if written != size:
            raise ValueError(f"{node.content!r} changed while it was read")
        return size if self._payload is not None else 0


def encode_v1(root: Node) -> bytes:
    """A version 1 archive (``.pxar``)."""
    archive = bytearray()
    PxarWriter(archive.extend).write(root)
    return bytes(archive)


def encode_split(root: Node, prelude: bytes | None = None) -> tuple[bytes, bytes]:
    """A split pair: content of ``.mpxar`` and ``.ppxar``."""
    metadata, payload = bytearray(), bytearray()
    PxarWriter(metadata.extend, payload.extend, prelude).write(root)
    return bytes(metadata), bytes(payload)


def encode_catalog(archives: Mapping[str, Node]) -> bytes:
    """The catalog of archives by their index names (``root.pxar.didx``)."""
    writer = CatalogWriter()
    encoded = bytearray(writer.begin())
    for name, root in archives.items():
        _catalog_directory(writer, name.encode(), root, encoded)
    return bytes(encoded + writer.finish())


def _catalog_directory(writer: CatalogWriter, name: bytes, node: Node, encoded: bytearray) -> None:
    writer.start_directory(name)
    for child_name, child in node.children.items():
        kind = child.kind
        if kind is EntryKind.DIRECTORY:
            _catalog_directory(writer, child_name, child, encoded)
        elif kind is EntryKind.FILE:
            writer.add_file(child_name, child.size, child.mtime)
        else:
            writer.add(kind, child_name)
    encoded += writer.end_directory()
