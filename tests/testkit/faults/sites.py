"""Where the services call Postgres, the storage of chunks and NATS: found in their sources: none is forgotten."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).parents[3]
_PACKAGE = "pbs_cloud"
_STATEMENTS = frozenset({
    "fetch", "fetchrow", "fetchval", "execute", "executemany", "cursor", "copy_records_to_table", "copy_from_query",
    "copy_to_table",
})  # fmt: skip
_TRANSACTIONS = frozenset({"tenant", "system"})
STORAGE = frozenset({
    "create", "complete", "check", "is_marked", "own", "space", "write_chunk", "read_chunk", "read_chunk_into",
    "chunk_size", "sync", "set_aside_chunk", "delete_chunks", "put_file", "read_file", "file_size", "copy_file",
    "delete_file", "delete_tree", "list_files", "make_namespace", "remove_namespace", "destroy", "release",
})  # fmt: skip
# Names that other objects have methods of, too: only a receiver that says so is a backend.
_COMMON = frozenset({"create", "complete", "check", "own", "space", "sync", "release", "destroy"})
_BUCKET = frozenset({
    "put_async", "get_async", "head_async", "copy_async", "delete_async", "list", "list_with_delimiter_async",
})  # fmt: skip
_NATS = frozenset({
    "publish", "request", "subscribe", "stream_info", "add_stream", "pull_subscribe", "fetch", "ack", "nak", "term",
    "respond", "connect",
})  # fmt: skip


class Kind(StrEnum):
    """What a site calls; `BUCKET`: one request to object storage, of which a call of the storage sends some."""

    STATEMENT = "statement"
    TRANSACTION = "transaction"
    STORAGE = "storage"
    BUCKET = "bucket"
    NATS = "nats"


@dataclass(frozen=True, slots=True)
class Site:
    """One call in a source file below `pbs_cloud`, on lines ``line`` to ``last``; ``guard``: the `if` around it."""

    path: str
    function: str
    line: int
    last: int
    kind: Kind
    method: str
    guard: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.function}:{self.line}"


def all_sites() -> list[Site]:
    """All of the four services and of the runtime library that they stand on."""
    roots = [*sorted(ROOT.glob("services/*/src")), ROOT / "libs/src"]
    files = [file for root in roots for file in sorted((root / _PACKAGE).rglob("*.py"))]
    return [site for file in files if "versions" not in file.parts for site in _sites_of(file)]


def relative(file: str) -> str | None:
    """Path below `pbs_cloud` of one of our source files."""
    _, found, path = file.rpartition(f"/src/{_PACKAGE}/")
    return path if found else None


def _sites_of(file: Path) -> Iterator[Site]:
    path = relative(str(file)) or file.name
    tree = ast.parse(file.read_text())
    functions: dict[ast.AST, tuple[str, str]] = {}
    headers: dict[ast.AST, tuple[int, int]] = {}
    _survey(tree, ("module", ""), functions, headers)
    seen: set[tuple[int, Kind]] = set()
    for node, (function, guard) in functions.items():
        kind = _kind_of(node, path)
        if kind is None or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        line, last = headers.get(node, (node.lineno, node.end_lineno or node.lineno))
        if (line, kind) not in seen:
            seen.add((line, kind))
            yield Site(path, function, line, last, kind, node.func.attr, guard)


def _survey(
    node: ast.AST,
    place: tuple[str, str],
    functions: dict[ast.AST, tuple[str, str]],
    headers: dict[ast.AST, tuple[int, int]],
) -> None:
    """Function and `if` around each call; a call that opens a block is all of the block's header."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        place = node.name, ""
    if isinstance(node, ast.If):
        place = place[0], ast.unparse(node.test)
    if isinstance(node, ast.AsyncWith):
        for item in node.items:
            headers[item.context_expr] = (node.lineno, max(node.lineno, node.body[0].lineno - 1))
    if isinstance(node, ast.Call):
        functions[node] = place
    for child in ast.iter_child_nodes(node):
        _survey(child, place, functions, headers)


def _kind_of(node: ast.AST, path: str) -> Kind | None:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return None
    method, receiver = node.func.attr, ast.unparse(node.func.value)
    if path == "runtime/bus.py":
        return Kind.NATS if method in _NATS and not receiver.endswith("_bus") else None
    if method in _STATEMENTS:
        return Kind.STATEMENT
    if method in _TRANSACTIONS and (receiver.endswith("database") or path == "runtime/database.py"):
        return Kind.TRANSACTION
    if path.startswith("chunkstore/") and ((receiver == "obstore" and method in _BUCKET) or method == "delete_objects"):
        return Kind.BUCKET
    if path.startswith("chunkstore/") and not path.startswith("chunkstore/backends/") and method in STORAGE:
        owner = receiver.rpartition(".")[2]
        if method not in _COMMON or owner in ("backend", "_backend") or receiver.endswith("backends.of(store)"):
            return Kind.STORAGE
    return None
