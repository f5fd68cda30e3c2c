"""Changes of single rows: constraints, policies, unique keys (waiting for whoever is about to take one)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg
from testkit.simulator.postgres.catalog import Table, Values
from testkit.simulator.postgres.failures import UnsupportedSql, postgres_error
from testkit.simulator.postgres.locks import wait_for_end
from testkit.simulator.postgres.referential import ChildCheck, ParentCheck
from testkit.simulator.postgres.rows import RUNNING, IndexRows, Row, Transaction, Version
from testkit.simulator.postgres.scope import CONTEXT, Compute, Context, Frame


def require_allowed(table: Table, values: Values) -> None:
    """Raises asyncpg.NotNullViolationError, asyncpg.CheckViolationError."""
    for column, value in zip(table.columns, values, strict=True):
        if value is None and column.not_null:
            raise postgres_error(
                asyncpg.NotNullViolationError,
                f'null value in column "{column.name}" of relation "{table.name}" violates not-null constraint',
                table_name=table.name,
                column_name=column.name,
            )
    for check in table.checks:
        if not check.holds(values):
            raise postgres_error(
                asyncpg.CheckViolationError,
                f'new row for relation "{table.name}" violates check constraint "{check.name}"',
                table_name=table.name,
                constraint_name=check.name,
            )


def require_policy(frame: Frame, table: Table, slot: int, policy: Sequence[Compute], values: Values) -> None:
    """Raises asyncpg.InsufficientPrivilegeError for a row that the transaction's tenant must not write."""
    frame[slot] = values
    if not all(condition(frame) is True for condition in policy):
        raise postgres_error(
            asyncpg.InsufficientPrivilegeError,
            f'new row violates row-level security policy for table "{table.name}"',
            table_name=table.name,
        )


def conflict(
    index: IndexRows, values: Values, who: Transaction, own: Row | None
) -> tuple[Version, Transaction | None] | None:
    """A row with the same unique key, and whose end must be awaited to know whether it stays."""
    key = index.key_of(values)
    if key is None:
        return None
    for row in index.by_key.get(key, ()):
        if row is own:
            continue
        for version in reversed(row.versions):
            if index.key_of(version.values) != key:
                continue
            by, ender = version.by, version.ended_by
            if by.commit == RUNNING and by is not who:
                return version, by
            if ender is None:
                return version, None
            if ender.commit == RUNNING and ender is not who:
                return version, ender
    return None


async def find_conflict(
    indexes: Sequence[IndexRows], values: Values, who: Transaction, own: Row | None = None
) -> tuple[IndexRows, Version] | None:
    """The first unique index in which another row has the key of `values`, once nobody's end must be awaited."""
    while True:
        for index in indexes:
            found = conflict(index, values, who, own)
            if found is None:
                continue
            version, waits_for = found
            if waits_for is None:
                return index, version
            await wait_for_end(waits_for, who)
            break
        else:
            return None


def violation(table: Table, index: IndexRows) -> asyncpg.UniqueViolationError:
    """The error for a key that is taken."""
    name = index.index.name
    return postgres_error(
        asyncpg.UniqueViolationError,
        f'duplicate key value violates unique constraint "{name}"',
        table_name=table.name,
        constraint_name=name,
    )


async def insert_row(context: Context, table: Table, values: Values) -> Version:
    """Raises asyncpg.UniqueViolationError. Foreign keys are looked at later."""
    rows = context.tables[table.number]
    unique = [index for index in rows.indexes if index.index.unique]
    found = await find_conflict(unique, values, context.transaction)
    if found is not None:
        raise violation(table, found[0])
    version = rows.insert(values, context.transaction)
    for key in table.foreign_keys:
        context.due.append(ChildCheck(key, version))
    return version


async def update_row(context: Context, table: Table, old: Version, values: Values) -> Version:
    """A new version of a row that is locked. Raises asyncpg.UniqueViolationError."""
    rows = context.tables[table.number]
    changed = [
        index for index in rows.indexes if index.index.unique and index.key_of(values) != index.key_of(old.values)
    ]
    if changed:
        found = await find_conflict(changed, values, context.transaction, old.row)
        if found is not None:
            raise violation(table, found[0])
    version = rows.update(old, values, context.transaction)
    for key in table.foreign_keys:
        if any(values[column] != old.values[column] for column in key.columns):
            context.due.append(ChildCheck(key, version))
    for key in table.referenced_by:
        if any(values[column] != old.values[column] for column in table.indexes[key.parent_index].columns):
            raise UnsupportedSql(f"change of a key of {table.name!r} that {key.name!r} refers to")
    return version


def delete_row(context: Context, table: Table, old: Version) -> None:
    """End a row that is locked."""
    context.tables[table.number].delete(old, context.transaction)
    for key in table.referenced_by:
        context.due.append(ParentCheck(key, old))


def changes_key(table: Table, old: Values, new: Values) -> bool:
    """Whether an update needs the strongest row lock."""
    return any(old[column] != new[column] for column in table.key_columns)


def context_of(frame: Frame) -> Context:
    """The context of a frame."""
    found: Any = frame[CONTEXT]
    assert isinstance(found, Context)
    return found
