"""The database that a command uses: that of the settings, else the embedded one, running or started for the command."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Sequence

import asyncpg

from pbs_cloud.runtime.errors import ConfigError
from pbs_cloud.runtime.settings import Settings, load_settings
from pbs_cloud.server.datadir import open_data_dir
from pbs_cloud.server.postgres import EmbeddedPostgres


@contextlib.asynccontextmanager
async def usable_database(settings: Settings, services: Sequence[str]) -> AsyncIterator[Settings]:
    """Settings with a database that answers while the block runs, for the schemas of some services."""
    if settings.database_url is not None or all(getattr(settings, f"{name}_database_url") for name in services):
        yield settings
        return
    root, socket = settings.data_dir, settings.run_path / "pg"
    server = EmbeddedPostgres(root / "postgres", socket, root / "logs" / "postgres.log")
    if await _answers(server.url):
        yield load_settings(database_url=server.url)
        return
    folder = open_data_dir(settings)
    with contextlib.closing(folder.lock):
        await server.prepare()
        process = await server.start()
        try:
            await _wait(server, process)
            yield load_settings(database_url=server.url)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            await process.wait()


async def _wait(server: EmbeddedPostgres, process: asyncio.subprocess.Process) -> None:
    """Until it answers. Raises ConfigError if it ends instead."""
    tasks = [asyncio.create_task(server.wait()), asyncio.create_task(process.wait())]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    if tasks[0] not in done:
        raise ConfigError("the embedded database does not start, see logs/postgres.log in the data folder")


async def _answers(url: str) -> bool:
    try:
        connection = await asyncpg.connect(url, timeout=5.0)
    except (OSError, asyncpg.PostgresError):
        return False
    await connection.close()
    return True
