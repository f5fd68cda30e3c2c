"""DDL: from the statements of migrations to a `Catalog`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlglot import exp
from testkit.simulator.postgres.catalog import Catalog, Check, Column, ForeignKey, Index, Table, Values
from testkit.simulator.postgres.expressions import compile_condition, compile_expression, type_name
from testkit.simulator.postgres.failures import UnsupportedSql
from testkit.simulator.postgres.modify import assigned
from testkit.simulator.postgres.parsing import parse_statements
from testkit.simulator.postgres.scope import Compilation, Scope, Source, only

_SECURITY = re.compile(r"TABLE (\w+) (ENABLE|FORCE) ROW LEVEL SECURITY$")
_POLICY = re.compile(r"POLICY \w+ ON (\w+) USING \((.*)\)$", re.DOTALL)
_TEMPORARY = re.compile(r"TEMPORARY (TABLE \w+ \(.*\)) ON COMMIT DROP$", re.DOTALL)


def apply_ddl(catalog: Catalog, text: str) -> None:
    """Add what some statements make. Raises UnsupportedSql."""
    for node in parse_statements(text):
        if isinstance(node, exp.Create) and node.kind == "TABLE":
            _create_table(catalog, node)
        elif isinstance(node, exp.Create) and node.kind == "INDEX":
            _create_index(catalog, node)
        elif isinstance(node, exp.Alter):
            _alter(catalog, node)
        elif isinstance(node, exp.Insert):
            catalog.fill.append(node.sql("postgres"))
        elif isinstance(node, exp.Command):
            _command(catalog, node)
        else:
            raise UnsupportedSql(node.sql("postgres"))


def complete(catalog: Catalog) -> None:
    """Add what makes look-ups fast: an index by the first column of each longer key, and by foreign keys."""
    for table in catalog.tables.values():
        for index in list(table.indexes):
            if index.is_key and len(index.columns) > 1:
                _index_on(table, index.columns[:1])
        for key in table.foreign_keys:
            key.child_index = _index_on(table, key.columns)


def _index_on(table: Table, columns: tuple[int, ...]) -> int:
    for number, index in enumerate(table.indexes):
        if index.columns == columns and index.predicate is None:
            return number
    table.indexes.append(Index("look-up", columns))
    return len(table.indexes) - 1


def _command(catalog: Catalog, node: exp.Command) -> None:
    text = str(node.args["expression"]).strip()
    if _SECURITY.match(text):
        return
    if found := _POLICY.match(text):
        if found[1] in catalog.tables:
            catalog.tables[found[1]].policy_sql = found[2]
        return
    if found := _TEMPORARY.match(text):
        apply_ddl(catalog, f"CREATE {found[1]}")
        return
    raise UnsupportedSql(node.sql("postgres"))


def _create_table(catalog: Catalog, node: exp.Create) -> None:
    properties = node.args.get("properties")
    kinds = [type(item) for item in properties.expressions] if properties is not None else []
    if kinds == [exp.PartitionedOfProperty]:
        return  # where a row of a partitioned table lies makes no difference
    if kinds not in ([], [exp.PartitionedByProperty]):
        raise UnsupportedSql(node.sql("postgres"))
    table = catalog.add(node.this.this.name)
    for item in node.this.expressions:
        if isinstance(item, exp.ColumnDef):
            _add_column(catalog, table, item)
        else:
            _constraint(catalog, table, item, "")


def _add_column(catalog: Catalog, table: Table, node: exp.ColumnDef) -> None:
    only(node, "this", "kind", "constraints")
    column = Column(node.name, type_name(node.args["kind"]))
    position = len(table.columns)
    table.columns.append(column)
    for item in node.args.get("constraints") or ():
        kind = item.args["kind"]
        if isinstance(kind, exp.NotNullColumnConstraint) and not kind.args.get("allow_null"):
            column.not_null = True
        elif isinstance(kind, exp.GeneratedAsIdentityColumnConstraint) and kind.this:
            column.identity = column.not_null = True
        elif isinstance(kind, exp.PrimaryKeyColumnConstraint):
            _primary(table, (position,))
        elif isinstance(kind, exp.UniqueColumnConstraint):
            table.indexes.append(Index(f"{table.name}_{column.name}_key", (position,), unique=True))
        elif isinstance(kind, exp.DefaultColumnConstraint):
            compilation = Compilation(catalog)
            value = compile_expression(compilation, Scope(), kind.this)
            column.default = assigned(compilation, value, column)
        elif isinstance(kind, exp.CheckColumnConstraint):
            _check(catalog, table, f"{table.name}_{column.name}_check", kind.this)
        elif isinstance(kind, exp.Reference):
            _reference(catalog, table, (position,), kind)
        elif not isinstance(kind, exp.CollateColumnConstraint):
            raise UnsupportedSql(item.sql("postgres"))


def _primary(table: Table, columns: tuple[int, ...]) -> None:
    for position in columns:
        table.columns[position].not_null = True
    table.indexes.append(Index(f"{table.name}_pkey", columns, unique=True, primary=True))


def _positions(table: Table, nodes: Sequence[exp.Expr]) -> tuple[int, ...]:
    return tuple(table.position(node.name) for node in nodes)


def _constraint(catalog: Catalog, table: Table, node: exp.Expr, name: str) -> None:
    if isinstance(node, exp.PrimaryKey):
        _primary(table, _positions(table, node.expressions))
    elif isinstance(node, exp.UniqueColumnConstraint) and isinstance(node.this, exp.Schema):
        names = [item.name for item in node.this.expressions]
        columns = _positions(table, node.this.expressions)
        table.indexes.append(Index(name or f"{table.name}_{'_'.join(names)}_key", columns, unique=True))
    elif isinstance(node, exp.CheckColumnConstraint):
        _check(catalog, table, name or f"{table.name}_check", node.this)
    else:
        raise UnsupportedSql(node.sql("postgres"))


def _reference(catalog: Catalog, table: Table, columns: tuple[int, ...], node: exp.Reference) -> None:
    options = node.args.get("options") or []
    if not isinstance(node.this, exp.Table) or options not in ([], ["ON DELETE CASCADE"]):
        raise UnsupportedSql(node.sql("postgres"))
    parent = catalog.tables[node.this.name]
    primary = next(number for number, index in enumerate(parent.indexes) if index.primary)
    name = f"{table.name}_{table.columns[columns[0]].name}_fkey"
    key = ForeignKey(name, table, columns, parent, primary, cascade=bool(options))
    table.foreign_keys.append(key)
    parent.referenced_by.append(key)


def _own_scope(catalog: Catalog, table: Table) -> tuple[Compilation, Scope, Source]:
    compilation, scope = Compilation(catalog), Scope()
    source = compilation.table_source(table, table.name)
    scope.add(source)
    return compilation, scope, source


def _check(catalog: Catalog, table: Table, name: str, node: exp.Expr) -> None:
    compilation, scope, _ = _own_scope(catalog, table)
    compute = compile_condition(compilation, scope, node).compute

    def holds(values: Values) -> bool:
        return compute([None, (), values, None]) is not False

    table.checks.append(Check(name, holds))


def _create_index(catalog: Catalog, node: exp.Create) -> None:
    table = catalog.tables[node.this.args["table"].name]
    params = node.this.args["params"]
    columns = _positions(table, [item.this for item in params.args["columns"]])
    where = params.args.get("where")
    if where is None:
        table.indexes.append(Index(node.this.name, columns, unique=bool(node.args.get("unique"))))
    elif node.args.get("unique"):
        compilation, scope, _ = _own_scope(catalog, table)
        compute = compile_condition(compilation, scope, where.this).compute
        table.indexes.append(
            Index(node.this.name, columns, True, predicate=lambda values: compute([None, (), values, None]) is True)
        )


def _alter(catalog: Catalog, node: exp.Alter) -> None:
    table = catalog.tables[node.this.name]
    for action in node.args["actions"]:
        if isinstance(action, exp.ColumnDef):
            _add_column(catalog, table, action)
        elif isinstance(action, exp.Drop) and action.kind == "CONSTRAINT":
            name = action.args["tables"][0].name
            kept = [check for check in table.checks if check.name != name]
            if len(kept) == len(table.checks):
                raise UnsupportedSql(f"drop of constraint {name!r}")
            table.checks = kept
        elif isinstance(action, exp.AddConstraint):
            for item in action.expressions:
                for inner in item.expressions:
                    _constraint(catalog, table, inner, item.name)
        else:
            raise UnsupportedSql(node.sql("postgres"))
