"""All SQL of the services that the simulator runs, found in their source: module constants, and texts in functions."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import pbs_cloud.chunkstore
import pbs_cloud.gc
from pbs_cloud.runtime import inbox, outbox

_SQL = re.compile(r"\s*(SELECT|INSERT INTO|UPDATE \w+ SET|UPDATE \w+ \w+ SET|DELETE FROM|WITH)\s")
_PIECES = re.compile(r"FOR$|^SELECT version_num|\b(FROM|FOR)\s*$")
_CHOICES = {
    "lock": ("FOR UPDATE", "FOR KEY SHARE"),
    "suffix": ("", " FOR SHARE"),
    "condition": ("process_id = $1", "lease_until <= clock_timestamp()"),
}


@dataclass(frozen=True, slots=True)
class Found:
    """A statement and where it stands."""

    schema: str
    place: str
    text: str


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if "migrations" not in info.name:
            yield importlib.import_module(info.name)


def _texts(module: ModuleType) -> Iterator[tuple[int, str]]:
    tree = ast.parse(Path(str(module.__file__)).read_text())
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)} - {
        id(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
    }
    for node in ast.walk(tree):
        if id(node) in inside:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            for text in _formatted(node, module):
                yield node.lineno, text


def _formatted(node: ast.JoinedStr, module: ModuleType) -> Iterator[str]:
    """An f-string with the module's constants, and every choice for what a caller gives."""
    names = [part.value.id for part in node.values if isinstance(part, ast.FormattedValue)
             and isinstance(part.value, ast.Name)]  # fmt: skip
    open_names = [name for name in names if name in _CHOICES]
    code = compile(ast.Expression(node), "f-string", "eval")
    for choice in range(2):
        given = {name: _CHOICES[name][choice] for name in open_names}
        try:
            yield eval(code, dict(vars(module)), given).replace(" FOR FOR ", " FOR ")
        except (NameError, AttributeError, TypeError):
            return
        if not open_names:
            return


@cache
def all_statements() -> tuple[Found, ...]:
    """Each text once."""
    found: dict[tuple[str, str], Found] = {}
    sources: list[tuple[str, ModuleType]] = [("chunkstore", outbox), ("gc", inbox)]
    sources += [("chunkstore", module) for module in _modules(pbs_cloud.chunkstore)]
    sources += [("gc", module) for module in _modules(pbs_cloud.gc)]
    for schema, module in sources:
        for line, text in _texts(module):
            if _SQL.match(text) and not _PIECES.search(text.strip()) and "@" not in text:
                place = f"{module.__name__.removeprefix('pbs_cloud.')}:{line}"
                found.setdefault((schema, text), Found(schema, place, text))
    return tuple(found.values())
