"""Comparable summaries of trees: what an archive holds against what was written."""

import hashlib
from typing import TypeAlias

from pbs_cloud.formats.pxar import Entry, EntryKind
from pbs_cloud.formats.pxar_reader import PxarReader
from testkit.pxar_writer import Node

Summary: TypeAlias = dict[bytes, tuple[object, ...]]


def summarise_archive(reader: PxarReader) -> Summary:
    """Path to kind, owner, mode, time, content digest, target, device and extended attributes."""
    return {path: _of_entry(reader, entry) for path, entry in reader.walk(reader.root())}


def summarise_tree(root: Node) -> Summary:
    """The same for a tree of nodes."""
    found: Summary = {}
    pending = [(b"", root)]
    while pending:
        path, node = pending.pop()
        found[path] = _of_node(node)
        pending += [(path + b"/" + name if path else name, child) for name, child in node.children.items()]
    return found


def _of_entry(reader: PxarReader, entry: Entry) -> tuple[object, ...]:
    if entry.kind is EntryKind.HARDLINK:
        return entry.kind, entry.target
    stat = entry.stat
    assert stat is not None
    digest = None
    if entry.kind is EntryKind.FILE:
        content = hashlib.sha256()
        for piece in reader.content(entry):
            content.update(piece)
        digest = content.hexdigest()
    owner = (stat.mode, stat.uid, stat.gid, stat.mtime, stat.mtime_nanos)
    attributes = entry.attributes
    extra = (attributes.xattrs, attributes.acl, attributes.fcaps)
    return entry.kind, owner, digest, entry.target, entry.device, extra


def _of_node(node: Node) -> tuple[object, ...]:
    if node.link_to is not None:
        return node.kind, node.link_to
    digest = None
    if node.kind is EntryKind.FILE:
        content = hashlib.sha256()
        for piece in node.pieces():
            content.update(piece)
        digest = content.hexdigest()
    owner = (node.mode, node.uid, node.gid, node.mtime, node.mtime_nanos)
    target = node.target if node.kind is EntryKind.SYMLINK else None
    device = node.device if node.kind in (EntryKind.BLOCK_DEVICE, EntryKind.CHAR_DEVICE) else None
    return node.kind, owner, digest, target, device, (tuple(node.xattrs), tuple(node.acl), node.fcaps)
