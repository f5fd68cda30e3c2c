"""The commands on whole datastores: `adopt`, `reimport`, `rebuild`, `fsck`; `main` only parses their arguments.

They use the database of the settings, else the embedded one: that of the running product, or started for the command.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

from pbs_cloud.chunkstore.maintenance import running
from pbs_cloud.runtime.errors import ConfigError
from pbs_cloud.runtime.migrations import current_revision, migrate_all
from pbs_cloud.runtime.revisions import head_revision, is_current
from pbs_cloud.runtime.settings import Settings
from pbs_cloud.server.command_database import usable_database

_SERVICE = "chunkstore"


def adopt(settings: Settings, path: Path, tenant: str | None, name: str | None, *, take_over: bool) -> "Answer":
    """Take over a directory. Raises ConfigError, PbsError."""

    async def work() -> Answer:
        async with usable_database(settings, (_SERVICE,)) as usable:
            await migrate_all(usable, (_SERVICE,))
            report = await running.adopt(
                usable, path, tenant_id=tenant or settings.default_tenant, name=name, take_over=take_over
            )
        return Answer(report.lines(), report.to_dict(), True)

    return asyncio.run(work())


def reimport(settings: Settings, tenant: str | None, name: str) -> "Answer":
    """Take in snapshots that somebody else wrote. Raises ConfigError, PbsError."""

    async def work() -> Answer:
        async with usable_database(settings, (_SERVICE,)) as usable:
            await _require_schema(usable)
            report = await running.reimport(usable, name=name, tenant_id=tenant or settings.default_tenant)
        return Answer(report.lines(), report.to_dict(), True)

    return asyncio.run(work())


def rebuild(settings: Settings, tenant: str | None, name: str | None) -> "Answer":
    """The catalogue again from the backend. Raises ConfigError, PbsError."""

    async def work() -> Answer:
        async with usable_database(settings, (_SERVICE,)) as usable:
            await migrate_all(usable, (_SERVICE,))
            outcomes = await running.rebuild(usable, name=name, tenant_id=tenant)
        lines: list[str] = []
        found: list[dict[str, Any]] = []
        for outcome in outcomes:
            place = {"tenant": outcome.place.tenant_id, "name": outcome.place.name}
            if outcome.report is not None:
                lines += outcome.report.lines()
                found.append(outcome.report.to_dict())
            else:
                lines.append(f"datastore '{place['name']}' of tenant '{place['tenant']}': {outcome.problem}")
                found.append({**place, "problem": outcome.problem})
        return Answer(lines, found, all(outcome.problem is None for outcome in outcomes))

    return asyncio.run(work())


def fsck(settings: Settings, tenant: str | None, name: str | None, *, read_data: bool) -> "Answer":
    """Compare, and report only. Raises ConfigError, PbsError."""

    async def work() -> Answer:
        if settings.database_url is None and not (settings.data_dir / "postgres").is_dir():
            raise ConfigError(f"PBS_DATA_DIR: {settings.data_dir} holds no database")
        async with usable_database(settings, (_SERVICE,)) as usable:
            await _require_schema(usable)
            reports = await running.fsck(usable, name=name, tenant_id=tenant, read_data=read_data)
        lines = [line for report in reports for line in report.lines()]
        return Answer(lines, [report.to_dict() for report in reports], all(report.sound for report in reports))

    return asyncio.run(work())


class Answer:
    """What a command prints: for people, or as JSON; and whether all is well."""

    def __init__(self, lines: list[str], value: Any, good: bool) -> None:
        self._lines = lines
        self._value = value
        self.good = good

    def text(self, output_format: str) -> str:
        """`json` or `text`."""
        if output_format == "json":
            return json.dumps(self._value, indent=2, ensure_ascii=False)
        return "\n".join(self._lines)


async def _require_schema(settings: Settings) -> None:
    found = await current_revision(settings.database_url_for(_SERVICE), _SERVICE)
    if not is_current(found, head_revision(_SERVICE) or ""):
        raise ConfigError(f"the database's schema is at {found or 'nothing'}: run `pbs-cloud migrate` first")
