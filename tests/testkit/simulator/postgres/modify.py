"""INSERT, UPDATE and DELETE, compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from sqlglot import exp
from testkit.simulator.postgres.catalog import Column, Table, Values
from testkit.simulator.postgres.changing import (
    changes_key,
    context_of,
    delete_row,
    require_allowed,
    require_policy,
    update_row,
)
from testkit.simulator.postgres.expressions import compile_expression
from testkit.simulator.postgres.failures import UnsupportedSql, postgres_error
from testkit.simulator.postgres.joins import Join, Step, compile_from, place_conditions, policy_of
from testkit.simulator.postgres.locks import BLOCK, NO_KEY_UPDATE, UPDATE
from testkit.simulator.postgres.queries import lock_newest
from testkit.simulator.postgres.rows import Version
from testkit.simulator.postgres.scope import Compilation, Compute, Expression, Frame, Scope, Source, only, with_type
from testkit.simulator.postgres.values import casting


@dataclass(slots=True)
class Outcome:
    """Rows of RETURNING, and how many rows were changed."""

    rows: list[Values] = field(default_factory=list)
    count: int = 0


@dataclass(slots=True)
class Returning:
    """What a change gives back of each row."""

    columns: list[tuple[str, str | None]] = field(default_factory=list)
    computes: list[Compute] = field(default_factory=list)

    def add(self, outcome: Outcome, frame: Frame) -> None:
        """Count a changed row."""
        outcome.count += 1
        if self.computes:
            outcome.rows.append(tuple([compute(frame) for compute in self.computes]))


def compile_returning(compilation: Compilation, scope: Scope, node: exp.Expr | None) -> Returning:
    """Raises UnsupportedSql."""
    if node is None:
        return Returning()
    only(node, "expressions")
    found = [compile_expression(compilation, scope, item) for item in node.expressions]
    return Returning([(item.name, item.type) for item in found], [item.compute for item in found])


def assigned(compilation: Compilation, found: Expression, column: Column) -> Compute:
    """The value of an expression as one of a column. Raises UnsupportedSql."""
    found = with_type(compilation, found, column.type)
    if found.type is None or (found.type == column.type and not column.type.startswith("int")):
        return found.compute
    if found.type == column.type and found.parameter is not None:
        return found.compute
    convert, compute = _assignment_cast(found.type, column.type), found.compute

    def cast(frame: Frame) -> Any:
        value = compute(frame)
        return None if value is None else convert(value)

    return cast


def _assignment_cast(source: str, target: str) -> Callable[[Any], Any]:
    if source == target:
        return casting("numeric", target)  # arithmetic may have left the range
    if target == "text":
        raise UnsupportedSql(f"{source} assigned to text")
    return casting(source, target)


def target_of(compilation: Compilation, node: exp.Expr) -> tuple[Table, Source]:
    """The table that a statement changes."""
    if not isinstance(node, exp.Table):
        raise UnsupportedSql(node.sql("postgres"))
    only(node, "this", "alias")
    table = compilation.table(node.name)
    return table, compilation.table_source(table, node.alias or node.name)


@dataclass(slots=True)
class Assignments:
    """SET: columns by position with their new values."""

    values: list[tuple[int, Compute]]

    def apply(self, frame: Frame, old: Values) -> Values:
        """The new values of a row whose old ones are in the frame."""
        new = list(old)
        for position, compute in self.values:
            new[position] = compute(frame)
        return tuple(new)


def compile_assignments(compilation: Compilation, scope: Scope, table: Table, nodes: list[exp.Expr]) -> Assignments:
    """Raises UnsupportedSql."""
    found: list[tuple[int, Compute]] = []
    for node in nodes:
        if not isinstance(node, exp.EQ) or not isinstance(node.this, exp.Column) or node.this.table:
            raise UnsupportedSql(node.sql("postgres"))
        position = table.position(node.this.name)
        value = compile_expression(compilation, scope, node.expression)
        found.append((position, assigned(compilation, value, table.columns[position])))
    return Assignments(found)


@dataclass(slots=True)
class Change:
    """UPDATE (with `assignments`) or DELETE."""

    table: Table
    source: Source
    join: Join
    returning: Returning
    policy: list[Compute]
    assignments: Assignments | None

    @property
    def columns(self) -> list[tuple[str, str | None]]:
        """Names and types of what RETURNING gives."""
        return self.returning.columns

    async def run(self, frame: Frame) -> Outcome:
        """Find the rows, then lock, look again and change one after the other."""
        outcome = Outcome()
        slot = self.source.slot
        for saved in [frame[:] for _ in self.join.scan(frame)]:
            changed = await self._change(saved, saved[slot + 1])
            if changed:
                self.returning.add(outcome, saved)
        return outcome

    async def _change(self, frame: Frame, version: Version) -> bool:
        context, slot = context_of(frame), self.source.slot
        while True:
            values = None if self.assignments is None else self.assignments.apply(frame, version.values)
            key = values is None or changes_key(self.table, version.values, values)
            newest = await lock_newest(context, version, UPDATE if key else NO_KEY_UPDATE, BLOCK)
            if newest is None:
                return False
            if newest is version:
                break
            frame[slot], frame[slot + 1] = newest.values, newest
            if not self.join.still_true(frame):
                return False
            version = newest
        if values is None:
            delete_row(context, self.table, version)
        else:
            await write_update(frame, self.table, slot, self.policy, version, values)
        return True


async def write_update(
    frame: Frame, table: Table, slot: int, policy: list[Compute], version: Version, values: Values
) -> None:
    """Check new values of a locked row and write them; they are in the frame then."""
    require_policy(frame, table, slot, policy, values)
    require_allowed(table, values)
    frame[slot + 1] = await update_row(context_of(frame), table, version, values)


def compile_change(compilation: Compilation, node: exp.Update | exp.Delete) -> Change:
    """UPDATE or DELETE. Raises UnsupportedSql."""
    only(node, "this", "expressions", "from_", "where", "returning", "with_")
    table, source = target_of(compilation, node.this)
    scope = Scope()
    scope.add(source)
    first = node.args.get("from_")
    joins = [] if first is None else first.this.args.get("joins") or []
    if first is not None:
        first.this.set("joins", None)
    steps = compile_from(compilation, scope, None if first is None else first.this, joins)
    steps.append(Step(source))
    where = node.args.get("where")
    join = place_conditions(compilation, scope, steps, None if where is None else where.this)
    assignments = None
    if isinstance(node, exp.Update):
        assignments = compile_assignments(compilation, scope, table, node.expressions)
    returning = compile_returning(compilation, scope, node.args.get("returning"))
    policy = [item.found.compute for item in policy_of(compilation, source)]
    return Change(table, source, join, returning, policy, assignments)


def cardinality() -> asyncpg.CardinalityViolationError:
    """The error for a statement that would change one row twice."""
    return postgres_error(
        asyncpg.CardinalityViolationError, "ON CONFLICT DO UPDATE command cannot affect row a second time"
    )
