"""Arguments for any statement: small sets of values by the column that an argument is compared with or stored in."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import Any

from simulation.postgres.both import NOW
from sqlglot import exp
from testkit.simulator.postgres.parsing import parse_statement

DIGESTS = [bytes([number]) * 32 for number in range(1, 5)]
SESSIONS = [uuid.UUID(int=number, version=4) for number in range(1, 5)]
WRITERS = [uuid.UUID(int=number, version=4) for number in range(101, 103)]
TIMES = [NOW - timedelta(days=100), NOW - timedelta(hours=1), NOW + timedelta(hours=1)]
TENANTS = ["t1", "t2"]
KNOWN = frozenset((*SESSIONS, *WRITERS, *TIMES))

_BY_COLUMN: dict[str, list[Any]] = {
    "tenant_id": ["t1", "t1", "t2"],
    "digest": DIGESTS,
    "writer": [*WRITERS, 0, 1],
    "owner_session": SESSIONS[:2],
    "session_id": SESSIONS,
    "token": WRITERS,
    "path": ["", "a", "a/b"],
    "backup_type": ["vm", "ct", "host"],
    "backup_id": ["100", "101"],
    "owner": ["root@pam", "root@pam!token", *SESSIONS[:2]],
    "auth_id": ["root@pam", "root@pam!token"],
    "process_id": ["p1", "p2"],
    "upid": ["u1", "u2", "u3"],
    "worker_type": ["backup", "prune", "garbage_collection"],
    "status": ["OK", "WARNINGS: 1", "unknown", "failed"],
    "phase": ["mark", "condemn", "delete"],
    "backend_type": ["filesystem", "s3"],
    "name": ["s1", "s2", "index.json.blob", "drive.img.fidx"],
    "store": ["s1", "s2"],
    "manifest": ["{}", "{}{}"],
    "job": ["j1", "j2"],
    "producer": ["chunkstore", "billing"],
    "epoch": [0, 1, 2, "e1"],
    "section": ["remote", "sync"],
    "backup_time": [100, 200, 300],
    "size": [10, 20],
    "stored_size": [10, 20],
    "bytes": [5, -5],
    "touch_epoch": [0, 1, 2],
    "start_epoch": [0, 1, 2],
    "datastore_id": [1, 1, 2],
    "snapshot_id": [1, 2, 3, 4],
    "namespace_id": [1, 2, 3],
    "group_id": [1, 2, 3],
    "n": [1, 2, 3],
}
_STATES: dict[str, list[Any]] = {
    "chunk": [1, 2, 3, 4, 5],
    "session": ["active", "finished", "aborted", "expired"],
    "snapshot": ["open", "committed", "removing"],
    "datastore": ["creating", "active", "deleting", "removed"],
}
_KINDS: dict[str, list[Any]] = {
    "chunk": [0, 1, 2],
    "session": ["backup", "benchmark", "reader", "move"],
    "snapshot_file": ["fixed", "dynamic", "blob"],
    "job": ["prune", "verify"],
}
_NEVER_NARROW = ("name", "digest", "state", "kind")
_BY_TYPE: dict[str, list[Any]] = {
    "int2": [0, 1, 2, 3],
    "int4": [0, 1, 2, 3],
    "int8": [0, 1, 2, 3],
    "float8": [-5000.0, 0.0, 5000.0],
    "text": ["t1", "s1", "active", "root@pam", "", "vm"],
    "bytea": DIGESTS,
    "uuid": [*SESSIONS, *WRITERS],
    "bool": [True, False],
    "timestamptz": TIMES,
    "jsonb": [{}, {"a": 1, "b": [1, None, "x"]}, {"complete": 1}],
}


def _column_of(node: exp.Expr, number: int) -> str:
    """Name of the column that argument `number` meets."""
    for parameter in node.find_all(exp.Parameter):
        if int(parameter.this.this) != number:
            continue
        above = parameter.parent
        while isinstance(above, (exp.Paren, exp.Cast, exp.Any)):
            above = above.parent
        if isinstance(above, exp.Binary):
            for side in (above.this, above.expression):
                if isinstance(side, exp.Column):
                    return str(side.name)
        if isinstance(above, exp.Limit):
            return "limit"
        if isinstance(above, exp.Offset):
            return "offset"
        if isinstance(above, exp.Tuple) and isinstance(above.parent, exp.Values):
            insert = above.find_ancestor(exp.Insert)
            if insert is not None and parameter in above.expressions:
                return str(insert.this.expressions[above.expressions.index(parameter)].name)
        if isinstance(above, exp.Unnest):
            cast = next(item for item in above.expressions if parameter in item.find_all(exp.Parameter))
            return str(above.args["alias"].args["columns"][above.expressions.index(cast)].name)
    return ""


_parsed = cache(parse_statement)


class Arguments:
    """Makes arguments for one statement; `narrow`: of few values, so that different statements meet the same rows."""

    def __init__(self, text: str, types: Sequence[str | None], *, narrow: bool = False) -> None:
        node = _parsed(text)
        tables = [table.name for table in node.find_all(exp.Table)]
        self._narrow = narrow
        self._many = "ORDER BY condemned_at" in text or "ORDER BY" not in text
        self._table = tables[0] if tables else ""
        self._wanted = [(kind or "text", _column_of(node, number)) for number, kind in enumerate(types, 1)]

    def make(self, rng: random.Random) -> list[Any]:
        """A random list; arrays of one statement have the same length."""
        length = rng.randint(0, 4)
        digests = rng.sample(DIGESTS, length)
        return [self._one(rng, kind, column, digests) for kind, column in self._wanted]

    def _one(self, rng: random.Random, kind: str, column: str, digests: list[bytes]) -> Any:
        if kind == "bytea[]":
            return digests
        if kind.endswith("[]"):
            return [self._scalar(rng, kind[:-2], column) for _ in digests]
        return self._scalar(rng, kind, column)

    def _scalar(self, rng: random.Random, kind: str, column: str) -> Any:
        if column == "limit":
            return 1000 if self._many else rng.choice([1, 2, 1000])
        if column == "offset":
            return 0 if self._many else rng.choice([0, 1])
        pool = _STATES.get(self._table) if column == "state" else _BY_COLUMN.get(column)
        if column == "kind":
            pool = _KINDS.get(self._table)
        if column == "id" and kind == "uuid":
            pool = SESSIONS
        fitting = [value for value in pool or _BY_TYPE[kind] if _fits(value, kind)] or _BY_TYPE[kind]
        if self._narrow and column not in _NEVER_NARROW:
            fitting = [1, 1, 2] if fitting is _BY_TYPE.get(kind) and kind.startswith("int") else fitting[:1]
        return rng.choice(fitting)


def _fits(value: Any, kind: str) -> bool:
    types: dict[str, tuple[type, ...]] = {
        "text": (str,), "bytea": (bytes,), "uuid": (uuid.UUID,), "bool": (bool,), "jsonb": (dict,), "float8": (float,),
        "timestamptz": (type(NOW),),
    }  # fmt: skip
    return type(value) in types.get(kind, (int,))
