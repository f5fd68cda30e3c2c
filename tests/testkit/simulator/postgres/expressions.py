"""Expressions: from the parser's tree to Python closures with SQL's three-valued logic (null is None)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from sqlglot import exp
from testkit.simulator.postgres.failures import UnsupportedSql
from testkit.simulator.postgres.scope import (
    ARGUMENTS,
    Compilation,
    Compute,
    Expression,
    Frame,
    Scope,
    only,
    slots_of,
    unified,
    with_type,
)
from testkit.simulator.postgres.values import casting

Handler: TypeAlias = Callable[[Compilation, Scope, Any], Expression]
HANDLERS: dict[type[exp.Expr], Handler] = {}
"""How to compile each kind of node; the modules of functions and of inner queries add theirs."""

_TYPES = {
    "INT": "int4",
    "BIGINT": "int8",
    "SMALLINT": "int2",
    "TEXT": "text",
    "VARBINARY": "bytea",
    "UUID": "uuid",
    "BOOLEAN": "bool",
    "TIMESTAMPTZ": "timestamptz",
    "JSONB": "jsonb",
    "DOUBLE": "float8",
    "DECIMAL": "numeric",
}


def compile_expression(compilation: Compilation, scope: Scope, node: exp.Expr) -> Expression:
    """Raises UnsupportedSql."""
    if scope.computed:
        found = scope.computed.get(node)
        if found is not None:
            return found
    handler = HANDLERS.get(type(node))
    if handler is None:
        raise UnsupportedSql(f"{type(node).__name__}: {node.sql('postgres')}")
    return handler(compilation, scope, node)


def compile_condition(compilation: Compilation, scope: Scope, node: exp.Expr) -> Expression:
    """A condition; an argument in its place is a boolean."""
    return with_type(compilation, compile_expression(compilation, scope, node), "bool")


def type_name(node: exp.DataType) -> str:
    """The model's name of a type. Raises UnsupportedSql."""
    if node.this == exp.DataType.Type.ARRAY:
        return f"{type_name(node.expressions[0])}[]"
    name = _TYPES.get(node.this.name)
    if name is None or node.expressions:
        raise UnsupportedSql(f"type {node.sql('postgres')}")
    return name


def conjuncts(node: exp.Expr | None) -> list[exp.Expr]:
    """The parts of a condition that must all be true."""
    if node is None:
        return []
    if isinstance(node, exp.And):
        return [*conjuncts(node.this), *conjuncts(node.expression)]
    if isinstance(node, exp.Paren) and isinstance(node.this, (exp.And, exp.Paren)):
        return conjuncts(node.this)
    return [node]


def _column(compilation: Compilation, scope: Scope, node: exp.Column) -> Expression:
    only(node, "this", "table")
    return scope.column(node.name, node.table)


def _parameter(compilation: Compilation, scope: Scope, node: exp.Parameter) -> Expression:
    number = int(node.this.this) - 1
    compilation.parameter_count = max(compilation.parameter_count, number + 1)

    def compute(frame: Frame) -> Any:
        return frame[ARGUMENTS][number]

    return Expression(compute, None, parameter=number)


def constant(value: Any, kind: str | None) -> Expression:
    """An expression that is always the same."""
    return Expression(lambda _: value, kind)


def _literal(compilation: Compilation, scope: Scope, node: exp.Literal) -> Expression:
    if node.is_string:
        text = node.this
        return Expression(lambda _: text, None, text=text)
    try:
        number = int(node.this)
    except ValueError as error:
        raise UnsupportedSql(f"number {node.this}") from error
    return constant(number, "int4" if abs(number) < 1 << 31 else "int8")


def _paren(compilation: Compilation, scope: Scope, node: exp.Paren) -> Expression:
    return compile_expression(compilation, scope, node.this)


def _alias(compilation: Compilation, scope: Scope, node: exp.Alias) -> Expression:
    found = compile_expression(compilation, scope, node.this)
    return Expression(found.compute, found.type, found.slots, found.parameter, found.text, node.alias)


def _negative(compilation: Compilation, scope: Scope, node: exp.Neg) -> Expression:
    inner = compile_expression(compilation, scope, node.this)
    compute = inner.compute

    def negate(frame: Frame) -> Any:
        value = compute(frame)
        return None if value is None else -value

    return Expression(negate, inner.type, inner.slots)


def strict(operator: Callable[[Any, Any], Any], left: Compute, right: Compute) -> Compute:
    """A binary operator that is null when one side is."""

    def compute(frame: Frame) -> Any:
        first = left(frame)
        if first is None:
            return None
        second = right(frame)
        return None if second is None else operator(first, second)

    return compute


def _equal(left: Compute, right: Compute) -> Compute:
    def compute(frame: Frame) -> Any:
        first = left(frame)
        if first is None:
            return None
        second = right(frame)
        return None if second is None else first == second

    return compute


_COMPARISONS: dict[type[exp.Expr], Callable[[Any, Any], bool]] = {
    exp.NEQ: lambda a, b: a != b,
    exp.LT: lambda a, b: a < b,
    exp.LTE: lambda a, b: a <= b,
    exp.GT: lambda a, b: a > b,
    exp.GTE: lambda a, b: a >= b,
}
_COMPARABLE = (frozenset(("int2", "int4", "int8", "float8", "numeric")),)


def require_comparable(one: Expression, other: Expression, node: exp.Expr) -> None:
    """Raises UnsupportedSql for two known types that Postgres would not compare, or not like Python."""
    types = {one.type, other.type}
    if None in types or len(types) == 1 or any(types <= family for family in _COMPARABLE):
        return
    raise UnsupportedSql(f"{one.type} against {other.type}: {node.sql('postgres')}")


def _comparison(compilation: Compilation, scope: Scope, node: exp.Binary) -> Expression:
    if isinstance(node.expression, exp.Any):
        return _any(compilation, scope, node)
    if isinstance(node.this, exp.Tuple):
        return _row_comparison(compilation, scope, node)
    left, right = unified(
        compilation,
        [compile_expression(compilation, scope, node.this), compile_expression(compilation, scope, node.expression)],
    )
    require_comparable(left, right, node)
    if isinstance(node, exp.EQ):
        compute = _equal(left.compute, right.compute)
    else:
        compute = strict(_COMPARISONS[type(node)], left.compute, right.compute)
    return Expression(compute, "bool", left.slots | right.slots)


def _any(compilation: Compilation, scope: Scope, node: exp.Binary) -> Expression:
    """`left = ANY(array)`."""
    if not isinstance(node, exp.EQ):
        raise UnsupportedSql(node.sql("postgres"))
    left, array = any_operands(compilation, scope, node)
    compute_left, compute_array = left.compute, array.compute

    def compute(frame: Frame) -> Any:
        value, items = compute_left(frame), compute_array(frame)
        if value is None or items is None:
            return None
        return True if value in items else None if None in items else False

    return Expression(compute, "bool", left.slots | array.slots)


def any_operands(compilation: Compilation, scope: Scope, node: exp.Binary) -> tuple[Expression, Expression]:
    """Both sides of `left = ANY(array)`, typed."""
    inner = node.expression.this
    inner = inner.this if isinstance(inner, exp.Paren) else inner
    if isinstance(inner, (exp.Select, exp.Subquery)):
        raise UnsupportedSql(node.sql("postgres"))
    left = with_type(compilation, compile_expression(compilation, scope, node.this), "text")
    array = compile_expression(compilation, scope, inner)
    return left, with_type(compilation, array, f"{left.type}[]")


def _row_comparison(compilation: Compilation, scope: Scope, node: exp.Binary) -> Expression:
    """`(a, b) > (c, d)`: the first pair that differs decides."""
    operator = _COMPARISONS.get(type(node))
    if not isinstance(node.expression, exp.Tuple) or operator is None or isinstance(node, exp.NEQ):
        raise UnsupportedSql(node.sql("postgres"))
    pairs = [
        unified(compilation, [compile_expression(compilation, scope, a), compile_expression(compilation, scope, b)])
        for a, b in zip(node.this.expressions, node.expression.expressions, strict=True)
    ]
    for a, b in pairs:
        require_comparable(a, b, node)
    computes = [(a.compute, b.compute) for a, b in pairs]

    def compute(frame: Frame) -> Any:
        first: Any = 0
        second: Any = 0
        for left, right in computes:
            first, second = left(frame), right(frame)
            if first is None or second is None:
                return None
            if first != second:
                break
        return operator(first, second)

    return Expression(compute, "bool", slots_of([item for pair in pairs for item in pair]))


def _distinct_from(compilation: Compilation, scope: Scope, node: exp.Binary) -> Expression:
    left, right = unified(
        compilation,
        [compile_expression(compilation, scope, node.this), compile_expression(compilation, scope, node.expression)],
    )
    require_comparable(left, right, node)
    one, other = left.compute, right.compute
    same = isinstance(node, exp.NullSafeEQ)

    def compute(frame: Frame) -> bool:
        return (one(frame) == other(frame)) is same

    return Expression(compute, "bool", left.slots | right.slots)


def _connective(compilation: Compilation, scope: Scope, node: exp.And | exp.Or) -> Expression:
    """AND is false, OR is true as soon as one part is; null if no part decides and one is null."""
    decisive = isinstance(node, exp.Or)
    parts = [compile_condition(compilation, scope, part) for part in node.flatten()]
    computes = [part.compute for part in parts]

    def compute(frame: Frame) -> Any:
        answer: Any = not decisive
        for part in computes:
            value = part(frame)
            if value is decisive:
                return decisive
            if value is None:
                answer = None
        return answer

    return Expression(compute, "bool", slots_of(parts))


def _not(compilation: Compilation, scope: Scope, node: exp.Not) -> Expression:
    inner = compile_condition(compilation, scope, node.this)
    compute = inner.compute

    def negate(frame: Frame) -> Any:
        value = compute(frame)
        return None if value is None else not value

    return Expression(negate, "bool", inner.slots)


def _is(compilation: Compilation, scope: Scope, node: exp.Is) -> Expression:
    only(node, "this", "expression", "negate")
    inner = compile_expression(compilation, scope, node.this)
    compute, negate = inner.compute, bool(node.args.get("negate"))
    if isinstance(node.expression, exp.Null):
        wanted: Any = None
    elif isinstance(node.expression, exp.Boolean):
        wanted = node.expression.this
    else:
        raise UnsupportedSql(node.sql("postgres"))

    def test(frame: Frame) -> bool:
        return (compute(frame) is wanted) is not negate

    return Expression(test, "bool", inner.slots)


def _cast(compilation: Compilation, scope: Scope, node: exp.Cast) -> Expression:
    only(node, "this", "to")
    kind = type_name(node.args["to"])
    inner = compile_expression(compilation, scope, node.this)
    if inner.type is None and (inner.parameter is not None or inner.text is not None):
        found = with_type(compilation, inner, kind)
        return Expression(found.compute, kind, found.slots, found.parameter)
    if isinstance(node.this, exp.Null):
        return constant(None, kind)
    convert, compute = casting(inner.type, kind), inner.compute

    def cast(frame: Frame) -> Any:
        value = compute(frame)
        return None if value is None else convert(value)

    return Expression(cast, kind, inner.slots, name=inner.name)


HANDLERS.update(
    {
        exp.Column: _column,
        exp.Parameter: _parameter,
        exp.Literal: _literal,
        exp.Boolean: lambda _, __, node: constant(node.this, "bool"),
        exp.Null: lambda _, __, ___: constant(None, None),
        exp.Paren: _paren,
        exp.Alias: _alias,
        exp.Neg: _negative,
        exp.EQ: _comparison,
        exp.NEQ: _comparison,
        exp.LT: _comparison,
        exp.LTE: _comparison,
        exp.GT: _comparison,
        exp.GTE: _comparison,
        exp.NullSafeEQ: _distinct_from,
        exp.NullSafeNEQ: _distinct_from,
        exp.And: _connective,
        exp.Or: _connective,
        exp.Not: _not,
        exp.Is: _is,
        exp.Cast: _cast,
    }
)
