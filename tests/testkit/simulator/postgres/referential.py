"""Foreign keys, looked at when a statement has done its work: each check sees what is committed then, and locks it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg
from testkit.simulator.postgres.catalog import ForeignKey
from testkit.simulator.postgres.failures import not_serializable, postgres_error
from testkit.simulator.postgres.locks import BLOCK, KEY_SHARE, UPDATE, lock
from testkit.simulator.postgres.rows import Row, TableRows, Version
from testkit.simulator.postgres.scope import Context


@dataclass(slots=True)
class ChildCheck:
    """A row that names a parent was written: the parent must exist, and stay."""

    key: ForeignKey
    version: Version

    async def run(self, context: Context) -> None:
        """Raises asyncpg.ForeignKeyViolationError."""
        who, key = context.transaction, self.key
        wanted = [self.version.values[column] for column in key.columns]
        if None in wanted or self.version.ended_by is who:
            return
        parents = context.tables[key.parent.number]
        index = parents.indexes[key.parent_index]
        for row in list(index.by_key.get(wanted[0] if len(wanted) == 1 else tuple(wanted), ())):
            if row.newest(who) is None:
                continue
            await lock(row, who, KEY_SHARE, BLOCK)
            newest = row.newest(who)
            if newest is not None and [newest.values[column] for column in index.index.columns] == wanted:
                return
        raise postgres_error(
            asyncpg.ForeignKeyViolationError,
            f'insert or update on table "{key.table.name}" violates foreign key constraint "{key.name}"',
            table_name=key.table.name,
            constraint_name=key.name,
        )


@dataclass(slots=True)
class ParentCheck:
    """A row that others may name was deleted: they go with it, or must not exist."""

    key: ForeignKey
    version: Version

    async def run(self, context: Context) -> None:
        """Raises asyncpg.ForeignKeyViolationError."""
        who, key = context.transaction, self.key
        columns = key.parent.indexes[key.parent_index].columns
        wanted = [self.version.values[column] for column in columns]
        children = context.tables[key.table.number]
        if key.cascade:
            who.command += 1
            context.command = who.command
        for row in list(_candidates(children, key, wanted)):
            if not self._names(row, context, wanted):
                continue
            await lock(row, who, UPDATE if key.cascade else KEY_SHARE, BLOCK)
            newest = self._names(row, context, wanted)
            if newest is None:
                continue
            if not key.cascade:
                raise postgres_error(
                    asyncpg.ForeignKeyViolationError,
                    f'update or delete on table "{key.parent.name}" violates foreign key constraint "{key.name}"'
                    f' on table "{key.table.name}"',
                    table_name=key.table.name,
                    constraint_name=key.name,
                )
            _require_unchanged(context, newest)
            children.delete(newest, who)
            context.due += [ParentCheck(other, newest) for other in key.table.referenced_by]

    def _names(self, row: Row, context: Context, wanted: list[Any]) -> Version | None:
        """The newest version of a row, if it names the parent."""
        newest = row.newest(context.transaction)
        if newest is None or [newest.values[column] for column in self.key.columns] != wanted:
            return None
        return newest


def _require_unchanged(context: Context, newest: Version) -> None:
    """Raises asyncpg.SerializationError in a repeatable read whose snapshot does not have this version."""
    who, by = context.transaction, newest.by
    if who.isolated and by is not who and by.commit > context.snapshot:
        raise not_serializable("update")


Due: TypeAlias = ChildCheck | ParentCheck


def _candidates(children: TableRows, key: ForeignKey, wanted: list[Any]) -> Iterable[Row]:
    if key.child_index is None:
        return children.rows.values()
    return children.indexes[key.child_index].by_key.get(wanted[0] if len(wanted) == 1 else tuple(wanted), ())


async def look_at_foreign_keys(context: Context) -> None:
    """Run what a statement left to be looked at, and what follows from it, in order.

    Raises asyncpg.ForeignKeyViolationError.
    """
    for check in context.due:  # grows meanwhile
        await check.run(context)
    context.due = []
