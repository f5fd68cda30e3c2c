"""SELECT and UNION ALL: from the parser's tree to a `Query`; queries inside of expressions."""

from __future__ import annotations

from typing import Any

import asyncpg
from sqlglot import exp
from testkit.simulator.postgres.aggregates import compile_aggregates, compile_windows
from testkit.simulator.postgres.expressions import (
    Handler,
    compile_expression,
    require_comparable,
)
from testkit.simulator.postgres.failures import UnsupportedSql, postgres_error
from testkit.simulator.postgres.joins import Step, compile_from, place_conditions
from testkit.simulator.postgres.locks import BLOCK, FAIL, KEY_SHARE, NO_KEY_UPDATE, SHARE, SKIP, UPDATE
from testkit.simulator.postgres.queries import Query, RowLock, Values
from testkit.simulator.postgres.scope import (
    Compilation,
    Compute,
    Expression,
    Frame,
    Scope,
    only,
    unified,
    with_type,
)
from testkit.simulator.postgres.sorting import SortKey, sort_keys

_MODES = {(True, False): UPDATE, (True, True): NO_KEY_UPDATE, (False, False): SHARE, (False, True): KEY_SHARE}
_POLICIES = {None: BLOCK, False: SKIP, True: FAIL}


def compile_query(compilation: Compilation, node: exp.Expr, outer: Scope | None) -> Query:
    """A query; what it reads of `outer` is in its `outside`. Raises UnsupportedSql."""
    if isinstance(node, exp.Subquery):
        only(node, "this")
        return compile_query(compilation, node.this, outer)
    if isinstance(node, exp.Union):
        return _union(compilation, node, outer)
    if not isinstance(node, exp.Select):
        raise UnsupportedSql(node.sql("postgres"))
    return _select(compilation, node, outer)


def _union(compilation: Compilation, node: exp.Union, outer: Scope | None) -> Query:
    only(node, "this", "expression", "with_")
    if node.args.get("distinct"):
        raise UnsupportedSql("UNION without ALL")
    first = compile_query(compilation, node.this, outer)
    second = compile_query(compilation, node.expression, outer)
    parts = [first, second]
    if any(part.locks for part in parts) or len(first.columns) != len(second.columns):
        raise UnsupportedSql(node.sql("postgres"))
    first.columns = [
        (name, kind or other) for (name, kind), (_, other) in zip(first.columns, second.columns, strict=True)
    ]
    first.rest.append(second)
    first.outside |= second.outside
    return first


def _select(compilation: Compilation, node: exp.Select, outer: Scope | None) -> Query:
    only(node, "expressions", "from_", "joins", "where", "group", "order", "limit", "offset", "locks", "with_")
    scope = Scope(outer)
    source = node.args.get("from_")
    steps = compile_from(compilation, scope, None if source is None else source.this, node.args.get("joins") or ())
    where = node.args.get("where")
    join = place_conditions(compilation, scope, steps, None if where is None else where.this)
    order = node.args.get("order")
    roots = [*node.expressions, *([] if order is None else order.expressions)]
    prepare = compile_aggregates(compilation, scope, roots, node.args.get("group"), steps)
    windows = compile_windows(compilation, scope, roots)
    if prepare is not None and windows is not None:
        raise UnsupportedSql("aggregates and window functions in one query")
    output = [item for part in node.expressions for item in _projected(compilation, scope, part)]
    query = Query(
        [(item.name, item.type) for item in output],
        [item.compute for item in output],
        join,
        order=_order(compilation, scope, order, node.expressions, output),
        limit=_bound(compilation, scope, node.args.get("limit")),
        offset=_bound(compilation, scope, node.args.get("offset")),
        locks=_locks(steps, node.args.get("locks") or ()),
        prepare=prepare or windows,
    )
    if query.locks and query.prepare is not None:
        raise UnsupportedSql("locks with aggregates")
    query.outside = frozenset(scope.outside)
    return query


def _projected(compilation: Compilation, scope: Scope, node: exp.Expr) -> list[Expression]:
    table = node.table if isinstance(node, exp.Column) and isinstance(node.this, exp.Star) else None
    if table is None and not isinstance(node, exp.Star):
        found = compile_expression(compilation, scope, node)
        return [with_type(compilation, found, "text") if found.text is not None else found]
    sources = [source for source in scope.sources if table is None or source.name == table]
    if not sources:
        raise UnsupportedSql(node.sql("postgres"))
    return [scope.column(name, source.name) for source in sources for name in source.columns]


def _order(
    compilation: Compilation,
    scope: Scope,
    order: exp.Order | None,
    projections: list[exp.Expr],
    output: list[Expression],
) -> list[SortKey]:
    if order is None:
        return []
    only(order, "expressions")
    named = {item.name: item for item, part in zip(output, projections, strict=False) if isinstance(part, exp.Alias)}

    def key(node: exp.Expr) -> Expression:
        if isinstance(node, exp.Literal):
            raise UnsupportedSql("ORDER BY a number")
        if isinstance(node, exp.Column) and not node.table and node.name in named and len(output) == len(projections):
            return named[node.name]
        return compile_expression(compilation, scope, node)

    return sort_keys(order.expressions, key)


def _bound(compilation: Compilation, scope: Scope, node: exp.Expr | None) -> Compute | None:
    if node is None:
        return None
    only(node, "expression")
    return with_type(compilation, compile_expression(compilation, scope, node.expression), "int8").compute


def _locks(steps: list[Step], nodes: Any) -> list[RowLock]:
    found: list[RowLock] = []
    for node in nodes:
        only(node, "update", "key", "wait", "expressions")
        names = [table.name for table in node.expressions]
        tables = [step for step in steps if step.source.table is not None and step.rows is None]
        chosen = [step for step in tables if not names or step.source.name in names]
        if (not names and len(tables) != len(steps)) or (names and len(chosen) != len(names)):
            raise UnsupportedSql(node.sql("postgres"))
        mode = _MODES[bool(node.args.get("update")), bool(node.args.get("key"))]
        policy = _POLICIES[node.args.get("wait")]
        found += [RowLock(step.source.slot, mode, policy) for step in chosen]
    return found


class _Inner:
    """The rows of a query in an expression, computed once if they do not depend on the row outside."""

    def __init__(self, compilation: Compilation, scope: Scope, node: exp.Expr) -> None:
        self.query = compile_query(compilation, node, scope)
        self.once = not self.query.outside
        self._slot = compilation.new_slots() if self.once else 0
        if self.query.locks:
            if not self.once:
                raise UnsupportedSql("locks in a query that depends on a row outside of it")
            compilation.locking.append((self._slot, self.query))

    def rows(self, frame: Frame) -> list[Values]:
        if not self.once:
            return self.query.run(frame)
        found: list[Values] | None = frame[self._slot]
        if found is None:
            found = frame[self._slot] = self.query.run(frame)
        return found


def _exists(compilation: Compilation, scope: Scope, node: exp.Exists) -> Expression:
    inner = _Inner(compilation, scope, node.this)
    compute = (lambda frame: bool(inner.rows(frame))) if inner.once else inner.query.finds_any
    return Expression(compute, "bool", inner.query.outside, name="exists")


def _scalar(compilation: Compilation, scope: Scope, node: exp.Subquery) -> Expression:
    only(node, "this")
    if (
        isinstance(node.this, exp.Select)
        and len(node.this.expressions) == 1
        and set(_given(node.this)) <= {"expressions"}
    ):
        return compile_expression(compilation, scope, node.this.expressions[0])
    inner = _Inner(compilation, scope, node.this)
    if len(inner.query.columns) != 1:
        raise UnsupportedSql(node.sql("postgres"))
    name, kind = inner.query.columns[0]

    def compute(frame: Frame) -> Any:
        rows = inner.rows(frame)
        if len(rows) > 1:
            raise postgres_error(
                asyncpg.CardinalityViolationError, "more than one row returned by a subquery used as an expression"
            )
        return rows[0][0] if rows else None

    return Expression(compute, kind, inner.query.outside, name=name)


def _given(node: exp.Expr) -> list[str]:
    return [name for name, value in node.args.items() if value]


def _in(compilation: Compilation, scope: Scope, node: exp.In) -> Expression:
    only(node, "this", "expressions", "query")
    left = compile_expression(compilation, scope, node.this)
    if node.args.get("query") is None:
        return _in_list(compilation, scope, node, left)
    inner = _Inner(compilation, scope, node.args["query"])
    if len(inner.query.columns) != 1:
        raise UnsupportedSql(node.sql("postgres"))
    left = with_type(compilation, left, inner.query.columns[0][1])
    require_comparable(left, Expression(left.compute, inner.query.columns[0][1]), node)
    compute_left = left.compute

    def compute(frame: Frame) -> Any:
        value = compute_left(frame)
        rows = inner.rows(frame)
        if not rows:
            return False
        if value is None:
            return None
        return True if (value,) in rows else None if (None,) in rows else False

    return Expression(compute, "bool", left.slots | inner.query.outside)


def _in_list(compilation: Compilation, scope: Scope, node: exp.In, left: Expression) -> Expression:
    parts = unified(compilation, [left, *(compile_expression(compilation, scope, item) for item in node.expressions)])
    left, items = parts[0], parts[1:]
    for item in items:
        require_comparable(left, item, node)
    compute_left, computes = left.compute, [item.compute for item in items]
    if all(isinstance(item, exp.Literal) for item in node.expressions):
        constants = tuple(item.compute([]) for item in items)

        def among(frame: Frame) -> Any:
            value = compute_left(frame)
            return None if value is None else value in constants

        return Expression(among, "bool", left.slots)

    def compute(frame: Frame) -> Any:
        value = compute_left(frame)
        found = [item(frame) for item in computes]
        if value is None:
            return None
        return True if value in found else None if None in found else False

    return Expression(compute, "bool", frozenset().union(*(item.slots for item in parts)))


INNER_QUERIES: dict[type[exp.Expr], Handler] = {exp.Exists: _exists, exp.Subquery: _scalar, exp.In: _in}
