"""All stored secrets of a service, encrypted anew with the key that seals now, so that an old key can be dropped."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pbs_cloud.contracts.errors import Unavailable
from pbs_cloud.runtime.database import Connection, Database
from pbs_cloud.runtime.secret_box import SecretBox


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column of sealed texts: `select` answers them as `sealed`, after the values that tell the rows apart.

    `update` sets the text $2 where it is $1, in the row with those values ($3, …); `owner` makes of them what the text
    is bound to.
    """

    name: str
    select: str
    update: str
    owner: Callable[[Mapping[str, Any]], str]


@dataclass(slots=True)
class Resealed:
    """What was found: sealed with the present key before, encrypted anew, and what no key of the file opens."""

    current: int = 0
    renewed: int = 0
    unreadable: list[str] = field(default_factory=list)


async def reseal(database: Database, box: SecretBox, columns: Sequence[SealedColumn]) -> Resealed:
    """Whatever is sealed with another key than the first; may run beside the product and again at any time.

    Raises Unavailable (database, no usable key).
    """
    found = Resealed()
    for column in columns:
        async with database.system() as connection:
            await _reseal_column(connection, box, column, found)
    return found


async def _reseal_column(connection: Connection, box: SecretBox, column: SealedColumn, found: Resealed) -> None:
    """Rows that somebody changes at the same moment are left to the next run, if they need one at all."""
    sealing = box.sealing_id
    async for row in connection.cursor(column.select):
        *key, sealed = row.values()
        if bytes(sealed).startswith(sealing):
            found.current += 1
            continue
        owner = column.owner(row)
        try:
            fresh = box.seal(box.open(bytes(sealed), owner), owner)
        except Unavailable as error:
            found.unreadable.append(f"{column.name} of {owner}: {error.message}")
            continue
        found.renewed += await connection.execute(column.update, sealed, fresh, *key) == "UPDATE 1"
