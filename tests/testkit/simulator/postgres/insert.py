"""INSERT with VALUES or a query, ON CONFLICT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlglot import exp
from testkit.simulator.postgres.catalog import Table, Values
from testkit.simulator.postgres.changing import (
    context_of,
    find_conflict,
    insert_row,
    require_allowed,
    require_policy,
)
from testkit.simulator.postgres.expressions import compile_condition, compile_expression
from testkit.simulator.postgres.failures import UnsupportedSql, not_serializable
from testkit.simulator.postgres.joins import policy_of
from testkit.simulator.postgres.locks import BLOCK, NO_KEY_UPDATE, UPDATE, lock
from testkit.simulator.postgres.modify import (
    Assignments,
    Outcome,
    Returning,
    assigned,
    cardinality,
    compile_assignments,
    compile_returning,
    target_of,
    write_update,
)
from testkit.simulator.postgres.rows import TableRows, Version
from testkit.simulator.postgres.scope import CONTEXT, Compilation, Compute, Expression, Frame, Scope, Source, only
from testkit.simulator.postgres.select import compile_query

Rows = Callable[[Frame], list[Values]]


@dataclass(slots=True)
class OnConflict:
    """`arbiters`: numbers of the indexes whose conflicts it handles; no `assignments`: DO NOTHING."""

    arbiters: list[int]
    assignments: Assignments | None
    condition: Compute | None
    excluded: Source | None
    mode: int


@dataclass(slots=True)
class Insert:
    """A compiled INSERT; `fill` makes the values of all columns from those that are given."""

    table: Table
    source: Source
    rows: Rows
    fill: Callable[[Frame, Values], Values]
    policy: list[Compute]
    on_conflict: OnConflict | None
    returning: Returning

    @property
    def columns(self) -> list[tuple[str, str | None]]:
        """Names and types of what RETURNING gives."""
        return self.returning.columns

    async def run(self, frame: Frame) -> Outcome:
        """One row after the other."""
        outcome = Outcome()
        for given in self.rows(frame):
            values = self.fill(frame, given)
            require_policy(frame, self.table, self.source.slot, self.policy, values)
            require_allowed(self.table, values)
            if self.on_conflict is None:
                frame[self.source.slot + 1] = await insert_row(context_of(frame), self.table, values)
                written = True
            else:
                written = await self._insert_or(self.on_conflict, frame, values)
            if written:
                self.returning.add(outcome, frame)
        return outcome

    async def _insert_or(self, instead: OnConflict, frame: Frame, values: Values) -> bool:
        context = context_of(frame)
        rows: TableRows = context.tables[self.table.number]
        indexes = [rows.indexes[number] for number in instead.arbiters]
        while True:
            found = await find_conflict(indexes, values, context.transaction)
            if found is None:
                frame[self.source.slot] = values
                frame[self.source.slot + 1] = await insert_row(context, self.table, values)
                return True
            version = found[1]
            who = context.transaction
            if who.isolated and not (version.by is who or version.by.commit <= context.snapshot):
                raise not_serializable("update")
            if instead.assignments is None:
                return False
            done = await self._update(instead, frame, version, values)
            if done is not None:
                return done

    async def _update(self, instead: OnConflict, frame: Frame, version: Version, values: Values) -> bool | None:
        """DO UPDATE of a row; None if it was changed or removed before it could be locked."""
        context, slot = context_of(frame), self.source.slot
        who = context.transaction
        if version.by is who and version.command == context.command:
            raise cardinality()
        await lock(version.row, who, instead.mode, BLOCK)
        newest = version.row.newest(who)
        if newest is not version:
            if who.isolated:
                raise not_serializable("update")
            return None
        assert instead.assignments is not None and instead.excluded is not None
        require_policy(frame, self.table, slot, self.policy, version.values)
        frame[slot + 1] = version
        frame[instead.excluded.slot] = values
        if instead.condition is not None and instead.condition(frame) is not True:
            return False
        new = instead.assignments.apply(frame, version.values)
        await write_update(frame, self.table, slot, self.policy, version, new)
        return True


def compile_insert(compilation: Compilation, node: exp.Insert) -> Insert:
    """Raises UnsupportedSql."""
    only(node, "this", "expression", "conflict", "returning", "with_")
    if not isinstance(node.this, exp.Schema):
        raise UnsupportedSql("INSERT without a list of columns")
    table, source = target_of(compilation, node.this.this)
    positions = [table.position(item.name) for item in node.this.expressions]
    if any(table.columns[position].identity for position in positions) or len(set(positions)) != len(positions):
        raise UnsupportedSql(node.sql("postgres"))
    scope = Scope()
    scope.add(source)
    return Insert(
        table,
        source,
        _rows(compilation, table, positions, node.expression),
        _filler(table, positions),
        [item.found.compute for item in policy_of(compilation, source)],
        _conflict(compilation, scope, table, node.args.get("conflict")),
        compile_returning(compilation, scope, node.args.get("returning")),
    )


def _rows(compilation: Compilation, table: Table, positions: list[int], node: exp.Expr) -> Rows:
    columns = [table.columns[position] for position in positions]
    if not isinstance(node, exp.Values):
        return _rows_of_query(compilation, table, positions, node)
    scope = Scope()
    lists: list[list[Compute]] = []
    for item in node.expressions:
        parts = item.expressions if isinstance(item, exp.Tuple) else [item]
        if len(parts) != len(columns):
            raise UnsupportedSql(node.sql("postgres"))
        lists.append(
            [
                assigned(compilation, compile_expression(compilation, scope, part), column)
                for part, column in zip(parts, columns, strict=True)
            ]
        )
    return lambda frame: [tuple([compute(frame) for compute in computes]) for computes in lists]


def _rows_of_query(compilation: Compilation, table: Table, positions: list[int], node: exp.Expr) -> Rows:
    query = compile_query(compilation, node, None)
    if query.locks or len(query.columns) != len(positions) or query.rest:
        raise UnsupportedSql(node.sql("postgres"))
    selected = node.expressions
    for number, position in enumerate(positions):
        parameter = None
        if isinstance(selected[number], exp.Parameter):
            parameter = int(selected[number].this.this) - 1
        found = Expression(query.computes[number], query.columns[number][1], parameter=parameter)
        query.computes[number] = assigned(compilation, found, table.columns[position])
    return query.run


def _filler(table: Table, positions: list[int]) -> Callable[[Frame, Values], Values]:
    """Given values in the order of the columns; the others by default or number."""
    given = {position: number for number, position in enumerate(positions)}
    plan: list[tuple[int, Callable[[Frame], Any] | None, bool]] = [
        (given.get(position, -1), column.default, column.identity) for position, column in enumerate(table.columns)
    ]

    def fill(frame: Frame, values: Values) -> Values:
        filled: list[Any] = []
        for number, default, identity in plan:
            if number >= 0:
                filled.append(values[number])
            elif identity:
                rows = frame[CONTEXT].tables[table.number]
                filled.append(rows.next_identity)
                rows.next_identity += 1
            else:
                filled.append(None if default is None else default(frame))
        return tuple(filled)

    return fill


def _conflict(compilation: Compilation, scope: Scope, table: Table, node: exp.Expr | None) -> OnConflict | None:
    if node is None:
        return None
    only(node, "action", "conflict_keys", "expressions", "where")
    keys = [item.this if isinstance(item, exp.Ordered) else item for item in node.args.get("conflict_keys") or []]
    wanted = {table.position(key.name) for key in keys}
    arbiters = [
        number
        for number, index in enumerate(table.indexes)
        if index.unique and (not keys or (index.predicate is None and set(index.columns) == wanted))
    ]
    if keys and not arbiters:
        raise UnsupportedSql(node.sql("postgres"))
    if node.args["action"].name == "DO NOTHING":
        return OnConflict(arbiters, None, None, None, NO_KEY_UPDATE)
    if node.args["action"].name != "DO UPDATE" or not keys:
        raise UnsupportedSql(node.sql("postgres"))
    excluded = compilation.table_source(table, "excluded")
    inner = Scope()
    inner.sources = [*scope.sources]
    outer = _with_excluded(inner, excluded)
    assignments = compile_assignments(compilation, outer, table, node.expressions)
    where = node.args.get("where")
    condition = None if where is None else compile_condition(compilation, outer, where.this).compute
    key = bool({position for position, _ in assignments.values} & table.key_columns)
    return OnConflict(arbiters, assignments, condition, excluded, UPDATE if key else NO_KEY_UPDATE)


def _with_excluded(scope: Scope, excluded: Source) -> Scope:
    """`excluded` can only be read by its name: a bare column means the row that is there."""
    above = Scope()
    above.add(excluded)
    scope.outer = above
    return scope
