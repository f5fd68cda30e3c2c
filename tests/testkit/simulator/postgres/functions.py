"""Arithmetic, functions, CASE."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlglot import exp
from testkit.simulator.postgres.expressions import (
    Handler,
    compile_condition,
    compile_expression,
    constant,
    require_comparable,
    strict,
)
from testkit.simulator.postgres.failures import UnsupportedSql
from testkit.simulator.postgres.locks import UPDATE
from testkit.simulator.postgres.scope import (
    CONTEXT,
    Compilation,
    Expression,
    Frame,
    Scope,
    only,
    slots_of,
    unified,
    with_type,
)
from testkit.simulator.postgres.values import WHOLE, Jsonb, epoch_seconds

_TENANT_SETTING = "pbs.tenant"
_NUMBERS = ("int2", "int4", "int8", "numeric")


def _arguments(compilation: Compilation, scope: Scope, nodes: Sequence[Any], *kinds: str | None) -> list[Expression]:
    """Compiled arguments of a function with the types that it takes (None: any)."""
    if len(nodes) != len(kinds) or any(node is None for node in nodes):
        raise UnsupportedSql(f"{len(nodes)} arguments instead of {len(kinds)}")
    found = [compile_expression(compilation, scope, node) for node in nodes]
    typed = [with_type(compilation, item, kind) for item, kind in zip(found, kinds, strict=True)]
    for item, kind in zip(typed, kinds, strict=True):
        if kind is not None and item.type not in (kind, None):
            raise UnsupportedSql(f"{item.type} where a function takes {kind}")
    return typed


def _call(function: Callable[..., Any], arguments: list[Expression], kind: str, name: str) -> Expression:
    """A function that is null when an argument is."""
    computes = [argument.compute for argument in arguments]

    def compute(frame: Frame) -> Any:
        values = [argument(frame) for argument in computes]
        return None if None in values else function(*values)

    return Expression(compute, kind, slots_of(arguments), name=name)


def _arithmetic(compilation: Compilation, scope: Scope, node: exp.Binary) -> Expression:
    left, right = (compile_expression(compilation, scope, side) for side in (node.this, node.expression))
    if {left.type, right.type} & {"timestamptz", "interval"}:
        kind = _time_type(node, left.type, right.type)
    else:
        left, right = unified(compilation, [left, right])
        if left.type not in _NUMBERS or right.type not in _NUMBERS:
            raise UnsupportedSql(f"{left.type} and {right.type}: {node.sql('postgres')}")
        kind = max(left.type, right.type, key=_NUMBERS.index)
    operator: Callable[[Any, Any], Any] = (lambda a, b: a + b) if isinstance(node, exp.Add) else (lambda a, b: a - b)
    return Expression(strict(operator, left.compute, right.compute), kind, left.slots | right.slots)


def _time_type(node: exp.Binary, left: str | None, right: str | None) -> str:
    if left == "timestamptz" and right == "interval":
        return "timestamptz"
    if isinstance(node, exp.Sub) and left == right == "timestamptz":
        return "interval"
    raise UnsupportedSql(f"{left} and {right}: {node.sql('postgres')}")


def _concatenation(compilation: Compilation, scope: Scope, node: exp.DPipe) -> Expression:
    left, right = unified(
        compilation,
        [compile_expression(compilation, scope, node.this), compile_expression(compilation, scope, node.expression)],
    )
    if left.type != right.type or left.type not in ("text", "jsonb"):
        raise UnsupportedSql(f"{left.type} || {right.type}")
    operator: Callable[[Any, Any], Any] = _merged if left.type == "jsonb" else (lambda a, b: a + b)
    return Expression(strict(operator, left.compute, right.compute), left.type, left.slots | right.slots)


def _merged(left: Jsonb, right: Jsonb) -> Jsonb:
    one, other = left.load(), right.load()
    if not isinstance(one, dict) or not isinstance(other, dict):
        raise UnsupportedSql("|| of JSON values that are no objects")
    return Jsonb(one | other)


def _of_one_type(compilation: Compilation, scope: Scope, nodes: list[Any], node: exp.Expr) -> list[Expression]:
    """Expressions that are alternatives, with the widest type of all."""
    parts = unified(compilation, [compile_expression(compilation, scope, part) for part in nodes])
    for part in parts[1:]:
        require_comparable(parts[0], part, node)
    kind = _widest(parts)
    return [_call(Decimal, [part], kind, part.name) if kind == "numeric" and part.type in WHOLE else part
            for part in parts]  # fmt: skip


def _coalesce(compilation: Compilation, scope: Scope, node: exp.Coalesce) -> Expression:
    parts = _of_one_type(compilation, scope, [node.this, *node.expressions], node)
    computes = [part.compute for part in parts]

    def compute(frame: Frame) -> Any:
        for part in computes:
            value = part(frame)
            if value is not None:
                return value
        return None

    return Expression(compute, _widest(parts), slots_of(parts), name="coalesce")


def _widest(parts: list[Expression]) -> str | None:
    kinds = [part.type for part in parts if part.type is not None]
    if kinds and all(kind in _NUMBERS for kind in kinds):
        return max(kinds, key=_NUMBERS.index)
    return kinds[0] if kinds else None


def _extreme(compilation: Compilation, scope: Scope, node: exp.Least | exp.Greatest) -> Expression:
    parts = _of_one_type(compilation, scope, [node.this, *node.expressions], node)
    computes = [part.compute for part in parts]
    choose: Callable[[list[Any]], Any] = min if isinstance(node, exp.Least) else max

    def compute(frame: Frame) -> Any:
        values = [value for part in computes if (value := part(frame)) is not None]
        return choose(values) if values else None

    return Expression(compute, _widest(parts), slots_of(parts), name=type(node).__name__.lower())


def _case(compilation: Compilation, scope: Scope, node: exp.Case) -> Expression:
    only(node, "this", "ifs", "default")
    tests: list[Expression] = []
    nodes: list[Any] = []
    for branch in node.args["ifs"]:
        test = branch.this if node.this is None else exp.EQ(this=node.this.copy(), expression=branch.this)
        tests.append(compile_condition(compilation, scope, test))
        nodes.append(branch.args["true"])
    nodes.append(node.args.get("default") or exp.Null())
    answers = _of_one_type(compilation, scope, nodes, node)
    branches = [(test.compute, answer.compute) for test, answer in zip(tests, answers, strict=False)]
    otherwise = answers[-1].compute

    def compute(frame: Frame) -> Any:
        for test, answer in branches:
            if test(frame) is True:
                return answer(frame)
        return otherwise(frame)

    return Expression(compute, _widest(answers), slots_of([*tests, *answers]), name="case")


def _make_interval(compilation: Compilation, scope: Scope, node: exp.MakeInterval) -> Expression:
    given = [item for name, item in node.args.items() if item and name != "_type"]
    if len(given) != 1 or given[0].this.name not in ("secs", "days"):
        raise UnsupportedSql(node.sql("postgres"))
    secs = given[0].this.name == "secs"
    inner = compile_expression(compilation, scope, given[0].expression)
    inner = with_type(compilation, inner, "float8" if secs else "int4")
    make = (lambda n: timedelta(seconds=n)) if secs else (lambda n: timedelta(days=n))
    return _call(make, [inner], "interval", "make_interval")


def _extract(compilation: Compilation, scope: Scope, node: exp.Extract) -> Expression:
    inner = compile_expression(compilation, scope, node.expression)
    if node.this.name.upper() != "EPOCH" or inner.type not in ("timestamptz", "interval"):
        raise UnsupportedSql(node.sql("postgres"))
    return _call(epoch_seconds, [inner], "numeric", "extract")


def _like(compilation: Compilation, scope: Scope, node: exp.Like) -> Expression:
    left, pattern = _arguments(compilation, scope, [node.this, node.expression], "text", "text")
    if not isinstance(node.expression, exp.Literal) or "\\" in node.expression.this:
        raise UnsupportedSql(node.sql("postgres"))
    wild = {"%": ".*", "_": "."}
    regex = re.compile("".join(wild.get(char, re.escape(char)) for char in node.expression.this), re.DOTALL)
    return _call(lambda value, _: regex.fullmatch(value) is not None, [left, pattern], "bool", "like")


def _split_part(text: str, delimiter: str, number: int) -> str:
    parts = text.split(delimiter)
    if number < 1 or not delimiter:
        raise UnsupportedSql("split_part from the end")
    return parts[number - 1] if number <= len(parts) else ""


def _hash_text(text: str, seed: int) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=str(seed).encode()).digest()
    return int.from_bytes(digest, "big", signed=True)


def _array_of_json(*values: Any) -> Jsonb:
    return Jsonb([value.load() if isinstance(value, Jsonb) else value for value in values])


def _anonymous(compilation: Compilation, scope: Scope, node: exp.Anonymous) -> Expression:
    name, nodes = node.name.lower(), node.expressions
    if name == "clock_timestamp" and not nodes:
        return Expression(lambda frame: frame[CONTEXT].server.clock(), "timestamptz", name=name)
    if name == "octet_length":
        found = _arguments(compilation, scope, nodes, None)
        sizes: dict[str | None, Callable[[Any], int]] = {"text": lambda value: len(value.encode()), "bytea": len}
        if found[0].type not in sizes:
            raise UnsupportedSql(node.sql("postgres"))
        return _call(sizes[found[0].type], found, "int4", name)
    if name == "hashtextextended":
        return _call(_hash_text, _arguments(compilation, scope, nodes, "text", "int4"), "int8", name)
    if name == "current_setting" and [item.this for item in nodes] == [_TENANT_SETTING]:
        return Expression(lambda frame: frame[CONTEXT].transaction.tenant, "text", name=name)
    if name == "pg_try_advisory_xact_lock":
        return _try_advisory(_arguments(compilation, scope, nodes, "int8")[0])
    if name == "json_build_array":
        parts = [compile_expression(compilation, scope, item) for item in nodes]
        computes = [part.compute for part in parts]
        return Expression(
            lambda frame: _array_of_json(*(part(frame) for part in computes)), "jsonb", slots_of(parts), name=name
        )
    raise UnsupportedSql(f"function {node.sql('postgres')}")


def _try_advisory(key: Expression) -> Expression:
    def compute(frame: Frame) -> bool:
        context = frame[CONTEXT]
        return bool(context.server.advisory(key.compute(frame)).take(context.transaction, UPDATE))

    return Expression(compute, "bool", key.slots, name="pg_try_advisory_xact_lock")


def _simple(function: Callable[..., Any], kind: str, takes: tuple[str, ...], keys: tuple[str, ...], name: str) -> Any:
    """A handler for a function that the parser knows, with its arguments under `keys`."""

    def handle(compilation: Compilation, scope: Scope, node: exp.Expr) -> Expression:
        only(node, *keys)
        nodes = [node.args.get(key) for key in keys]
        return _call(function, _arguments(compilation, scope, nodes, *takes), kind, name)

    return handle


def _formatted_time(compilation: Compilation, scope: Scope, node: exp.TimeToStr) -> Expression:
    """`to_char(to_timestamp(seconds) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`, and no other."""
    zoned = node.this
    if (
        not isinstance(zoned, exp.AtTimeZone)
        or zoned.args["zone"].name != "UTC"
        or not isinstance(zoned.this, exp.UnixToTime)
        or node.args["format"].name != '%Y-%m-%d"T"%H:%M:%S"Z"'
    ):
        raise UnsupportedSql(node.sql("postgres"))
    seconds = _arguments(compilation, scope, [zoned.this.this], "int8")
    return _call(lambda value: f"{datetime.fromtimestamp(value, UTC):%Y-%m-%dT%H:%M:%SZ}", seconds, "text", "to_char")


def _json_text(value: Jsonb, key: str) -> str | None:
    found = value.load()
    if not isinstance(found, dict) or not isinstance(found.get(key), str | None):
        raise UnsupportedSql("->> of anything but a text in an object")
    return found.get(key)


def _json_field(compilation: Compilation, scope: Scope, node: exp.JSONExtractScalar) -> Expression:
    if not isinstance(node.expression, exp.JSONPath) or len(node.expression.expressions) != 2:
        raise UnsupportedSql(node.sql("postgres"))
    key = constant(node.expression.expressions[1].this, "text")
    return _call(_json_text, [*_arguments(compilation, scope, [node.this], "jsonb"), key], "text", "?column?")


def _length(compilation: Compilation, scope: Scope, node: exp.Length) -> Expression:
    found = _arguments(compilation, scope, [node.this], None)
    if found[0].type not in ("text", "bytea"):
        raise UnsupportedSql(node.sql("postgres"))
    return _call(len, found, "int4", "length")


FUNCTIONS: dict[type[exp.Expr], Handler] = {
    exp.Add: _arithmetic,
    exp.Sub: _arithmetic,
    exp.DPipe: _concatenation,
    exp.Coalesce: _coalesce,
    exp.Least: _extreme,
    exp.Greatest: _extreme,
    exp.Case: _case,
    exp.MakeInterval: _make_interval,
    exp.Extract: _extract,
    exp.TimeToStr: _formatted_time,
    exp.Replace: _simple(str.replace, "text", ("text",) * 3, ("this", "expression", "replacement"), "replace"),
    exp.Like: _like,
    exp.Length: _length,
    exp.JSONExtractScalar: _json_field,
    exp.Anonymous: _anonymous,
    exp.CurrentTimestamp: lambda _, __, ___: Expression(
        lambda frame: frame[CONTEXT].transaction.began, "timestamptz", name="now"
    ),
    exp.Uuid: lambda _, __, ___: Expression(
        lambda frame: frame[CONTEXT].server.new_uuid(), "uuid", name="gen_random_uuid"
    ),
    exp.SplitPart: _simple(
        _split_part, "text", ("text", "text", "int4"), ("this", "delimiter", "part_index"), "split_part"
    ),
    exp.StartsWith: _simple(str.startswith, "bool", ("text", "text"), ("this", "expression"), "starts_with"),
    exp.StrPosition: _simple(
        lambda text, part: text.find(part) + 1, "int4", ("text", "text"), ("this", "substr"), "position"
    ),
    exp.JSONBContainsTopKey: _simple(
        lambda value, key: key in value.load(), "bool", ("jsonb", "text"), ("this", "expression"), "?column?"
    ),
}
