"""FROM clauses: sources in their order, each with the conditions that can be decided as soon as its row is there."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from sqlglot import exp
from testkit.simulator.postgres.expressions import (
    any_operands,
    compile_condition,
    compile_expression,
    conjuncts,
)
from testkit.simulator.postgres.failures import UnsupportedSql
from testkit.simulator.postgres.parsing import parse_condition
from testkit.simulator.postgres.scans import Scan, Term, joined, left_joined, list_scan, no_source, table_scan
from testkit.simulator.postgres.scope import (
    CONTEXT,
    Compilation,
    Compute,
    Expression,
    Frame,
    Scope,
    Source,
    only,
    with_type,
)

_SETTING = r"\(SELECT current_setting\('pbs\.tenant'\)\)"
_TENANT = re.compile(rf"(\w+) = {_SETTING} OR {_SETTING} = '\*'")
Rows = Callable[[Frame], Sequence[tuple[Any, ...]]]


@dataclass(slots=True)
class Condition:
    """A part of WHERE or ON, with what an index could do for it."""

    node: exp.Expr
    found: Expression


@dataclass(slots=True)
class Step:
    """One source of a join. `conditions`: of the source itself (ON of an outer join); `after`: of the joined row."""

    source: Source
    rows: Rows | None = None
    left: bool = False
    conditions: list[Condition] = field(default_factory=list)
    after: list[Condition] = field(default_factory=list)

    def still_true(self, frame: Frame) -> bool:
        """Whether the conditions hold for a frame in which a row was replaced by its newest version."""
        held = all(condition.found.compute(frame) is True for condition in self.conditions)
        if not held and self.left:
            frame[self.source.slot], frame[self.source.slot + 1] = self.source.empty, None
            held = True
        return held and all(condition.found.compute(frame) is True for condition in self.after)


class Join:
    """A compiled FROM and WHERE."""

    def __init__(self, compilation: Compilation, scope: Scope, steps: list[Step], constant: list[Condition]) -> None:
        self.steps = steps
        self._constant = constant
        scan: Scan | None = no_source([item.found.compute for item in constant]) if constant or not steps else None
        for step in steps:
            inner = _scan_of(compilation, scope, step)
            if step.left:
                after = [item.found.compute for item in step.after]
                scan = left_joined(scan or no_source(()), inner, step.source, after)
            else:
                scan = inner if scan is None else joined(scan, inner)
        assert scan is not None
        self.scan: Scan = scan

    def still_true(self, frame: Frame) -> bool:
        """Whether a joined row is still one after a row of it was replaced by its newest version."""
        return all(item.found.compute(frame) is True for item in self._constant) and all(
            step.still_true(frame) for step in self.steps
        )


def _scan_of(compilation: Compilation, scope: Scope, step: Step) -> Scan:
    filters = [item.found.compute for item in step.conditions]
    if step.rows is not None:
        return list_scan(step.source, step.rows, filters)
    terms = [term for item in step.conditions if (term := _term(compilation, scope, step.source, item)) is not None]
    return table_scan(step.source, terms, filters)


def _term(compilation: Compilation, scope: Scope, source: Source, condition: Condition) -> Term | None:
    """What a condition says about one column of `source` without looking at its row."""
    node, whole = condition.node, condition.found.compute
    if isinstance(node, exp.In) and node.expressions and isinstance(node.this, exp.Column):
        sides = [(node.this, None)]
    elif isinstance(node, exp.EQ):
        sides = [(node.this, node.expression), (node.expression, node.this)]
    else:
        return None
    for mine, other in sides:
        if not isinstance(mine, exp.Column):
            continue
        column = scope.column(mine.name, mine.table)
        if column.slots != {source.slot} or column.type is None:
            continue
        position = source.columns[mine.name][0]
        if other is None:
            values = [with_type(compilation, compile_expression(compilation, scope, item), column.type)
                      for item in node.expressions]  # fmt: skip
            if all(not value.slots for value in values):
                return Term(
                    position, _listed([value.compute for value in values]), many=True, condition=condition.found.compute
                )
        elif isinstance(other, exp.Any):
            array = any_operands(compilation, scope, node)[1]
            if source.slot not in array.slots:
                return Term(position, array.compute, many=True, condition=whole)
        else:
            value = with_type(compilation, compile_expression(compilation, scope, other), column.type)
            if source.slot not in value.slots:
                return Term(position, value.compute, many=False, condition=whole)
    return None


def _listed(computes: list[Compute]) -> Compute:
    return lambda frame: [compute(frame) for compute in computes]


def compile_from(
    compilation: Compilation, scope: Scope, first: exp.Expr | None, joins: Sequence[exp.Join]
) -> list[Step]:
    """Sources of a FROM clause, entered into `scope`, with their ON conditions."""
    steps: list[Step] = []
    if first is not None:
        steps.append(compile_source(compilation, scope, first))
    for node in joins:
        only(node, "this", "on", "kind", "side")
        if node.kind not in ("", "CROSS", "INNER") or node.side not in ("", "LEFT"):
            raise UnsupportedSql(node.sql("postgres"))
        step = compile_source(compilation, scope, node.this)
        step.left = node.side == "LEFT"
        for part in conjuncts(node.args.get("on")):
            if not (isinstance(part, exp.Boolean) and part.this):
                step.conditions.append(Condition(part, compile_condition(compilation, scope, part)))
        steps.append(step)
    return steps


def place_conditions(compilation: Compilation, scope: Scope, steps: list[Step], where: exp.Expr | None) -> Join:
    """Put each part of WHERE where it can be decided first; add the tables' policies."""
    constant: list[Condition] = []
    moved = [item for step in steps if not step.left for item in step.conditions]
    for step in steps:
        if not step.left:
            step.conditions = []
    for part in conjuncts(where):
        moved.append(Condition(part, compile_condition(compilation, scope, part)))
    for item in moved:
        last = max((n for n, step in enumerate(steps) if step.source.slot in item.found.slots), default=None)
        if last is None:
            constant.append(item)
        elif steps[last].left:
            steps[last].after.append(item)
        else:
            steps[last].conditions.append(item)
    for step in steps:
        if step.source.table is not None and step.rows is None:
            step.conditions += policy_of(compilation, step.source)
    return Join(compilation, scope, steps, constant)


def policy_of(compilation: Compilation, source: Source) -> list[Condition]:
    """Row-level security of a table, as a condition on its row."""
    if source.table is None or source.table.policy_sql is None:
        return []
    node = parse_condition(source.table.policy_sql)
    if found := _TENANT.fullmatch(source.table.policy_sql):
        compute = _of_tenant(source.slot, source.table.position(found[1]))
        return [Condition(node, Expression(compute, "bool", frozenset((source.slot,))))]
    alone = Scope()
    alone.add(source)
    return [Condition(node, compile_condition(compilation, alone, node))]


def _of_tenant(slot: int, position: int) -> Compute:
    """The policy of nearly all tables, made by hand because it is asked for each row."""

    def compute(frame: Frame) -> bool:
        tenant: str = frame[CONTEXT].transaction.tenant
        return tenant == "*" or bool(frame[slot][position] == tenant)

    return compute


def compile_source(compilation: Compilation, scope: Scope, node: exp.Expr) -> Step:
    """One source of a FROM clause. Raises UnsupportedSql."""
    if isinstance(node, exp.Table):
        only(node, "this", "alias")
        step = _named(compilation, node.name, node.alias or node.name)
        _rename(step.source, node)
    elif isinstance(node, exp.Unnest):
        step = _unnest(compilation, scope, node)
    elif isinstance(node, exp.Subquery):
        step = _inner(compilation, scope.outer, node)
    elif isinstance(node, exp.Lateral) and isinstance(node.this, exp.Subquery):
        step = _inner(compilation, scope, node.this, node.alias)
    else:
        raise UnsupportedSql(node.sql("postgres"))
    scope.add(step.source)
    return step


def _named(compilation: Compilation, name: str, alias: str) -> Step:
    common = compilation.common.get(name)
    if common is None:
        return Step(compilation.table_source(compilation.table(name), alias))
    slot = common.slot
    source = Source(alias, dict(common.columns), compilation.new_slots(2))
    return Step(source, lambda frame: frame[slot])


def _rename(source: Source, node: exp.Table) -> None:
    if node.args.get("alias") is not None and node.args["alias"].args.get("columns"):
        raise UnsupportedSql(node.sql("postgres"))


def _inner(compilation: Compilation, outer: Scope | None, node: exp.Subquery, alias: str = "") -> Step:
    from testkit.simulator.postgres.select import compile_query  # which needs this module for its own FROM

    only(node, "this", "alias")
    query = compile_query(compilation, node.this, outer)
    if query.locks:
        raise UnsupportedSql(f"locks inside of FROM: {node.sql('postgres')}")
    columns = {name: (number, kind) for number, (name, kind) in enumerate(query.columns)}
    return Step(Source(alias or node.alias, columns, compilation.new_slots(2)), query.run)


def _unnest(compilation: Compilation, scope: Scope, node: exp.Unnest) -> Step:
    """Arrays side by side, shorter ones filled up with nulls; `WITH ORDINALITY` counts from 1."""
    only(node, "expressions", "alias", "offset")
    arrays = [compile_expression(compilation, scope, item) for item in node.expressions]
    names = [item.name for item in node.args["alias"].args.get("columns") or []]
    ordinality = node.args.get("offset")
    if isinstance(ordinality, exp.Identifier):
        names.append(ordinality.name)
    kinds: list[str | None] = [None if array.type is None else array.type[:-2] for array in arrays]
    if ordinality:
        kinds.append("int8")
    if len(names) != len(kinds) or None in kinds:
        raise UnsupportedSql(node.sql("postgres"))
    columns = {name: (number, kind) for number, (name, kind) in enumerate(zip(names, kinds, strict=True))}
    computes = [array.compute for array in arrays]

    def rows(frame: Frame) -> Sequence[tuple[Any, ...]]:
        found = list(zip_longest(*(compute(frame) or () for compute in computes)))
        return [(*row, number) for number, row in enumerate(found, 1)] if ordinality else found

    return Step(Source(node.alias, columns, compilation.new_slots(2)), rows)
