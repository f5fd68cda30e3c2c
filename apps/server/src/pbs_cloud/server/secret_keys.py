"""The commands on keys, `reseal` and `rotate-ticket-keys`; `main` only parses their arguments."""

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from pbs_cloud.auth.keys import KeyRing
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.errors import ConfigError
from pbs_cloud.runtime.resealing import Resealed, reseal
from pbs_cloud.runtime.secret_box import SecretBox
from pbs_cloud.runtime.secret_keys import put_new_key_first
from pbs_cloud.runtime.settings import Settings
from pbs_cloud.server.command_database import usable_database
from pbs_cloud.server.maintenance import Answer

_SEALING = ("auth", "gc", "billing")
"""Services that store sealed secrets; each tells in its module `sealed` where."""


def reseal_secrets(settings: Settings, *, new_key: bool) -> Answer:
    """Encrypt all stored secrets with the first key of the file. Raises ConfigError, PbsError."""
    _require_contents(settings)
    if new_key:
        try:
            put_new_key_first(settings.secret_key_path)
        except (OSError, ValueError) as error:
            raise ConfigError(f"PBS_SECRET_KEY_FILE: no new key in {settings.secret_key_path}: {error}") from error

    async def work() -> dict[str, Resealed]:
        box, found = SecretBox(settings), {}
        async with usable_database(settings, _SEALING) as usable:
            for service in _SEALING:
                columns = importlib.import_module(f"pbs_cloud.{service}.sealed").SEALED
                async with _schema(usable, service) as database:
                    found[service] = await reseal(database, box, columns)
        return found

    return _answer(asyncio.run(work()))


def rotate_ticket_keys(settings: Settings, *, end_tickets: bool) -> Answer:
    """A new key for tickets before its time. Raises ConfigError, PbsError."""
    _require_contents(settings)

    async def work() -> int:
        async with usable_database(settings, ("auth",)) as usable, _schema(usable, "auth") as database:
            return await KeyRing(database, SecretBox(settings)).replace(end_tickets=end_tickets)

    begins = datetime.fromtimestamp(asyncio.run(work()), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if end_tickets:
        lines = ["all tickets end within a minute: everybody logs in again; API tokens are not touched"]
    else:
        lines = [f"a new key signs from {begins} on; tickets of the old one stay valid until they expire"]
    return Answer(lines, {"signs-from": begins, "tickets-ended": end_tickets}, True)


def _require_contents(settings: Settings) -> None:
    given = [settings.database_url, *(getattr(settings, f"{service}_database_url") for service in _SEALING)]
    if not any(given) and not (settings.data_dir / "postgres").is_dir():
        raise ConfigError(f"PBS_DATA_DIR: {settings.data_dir} holds no database")


@contextlib.asynccontextmanager
async def _schema(settings: Settings, service: str) -> AsyncIterator[Database]:
    """The database must answer and be migrated; else this waits."""
    database = Database(settings.database_url_for(service), schema=service, application_name="maintenance", max_size=2)
    await database.start()
    try:
        yield database
    finally:
        await database.stop()


def _answer(found: dict[str, Resealed]) -> Answer:
    """Whether the other keys of the file can go now."""
    unreadable = [f"{service}: {text}" for service, one in found.items() for text in one.unreadable]
    lines = [
        f"{service}: {one.renewed} secrets encrypted anew, {one.current} had the first key already"
        for service, one in found.items()
    ]
    if unreadable:
        lines += [*unreadable, f"{len(unreadable)} secrets are not readable: put their key back into the file"]
    else:
        lines.append("every secret has the first key of the file now; no other key of it is needed")
    value = {
        "services": {service: {"renewed": one.renewed, "current": one.current} for service, one in found.items()},
        "unreadable": unreadable,
    }
    return Answer(lines, value, not unreadable)
