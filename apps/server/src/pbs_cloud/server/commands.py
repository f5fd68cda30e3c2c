"""What the commands do; `main` only parses their arguments."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable

from pbs_cloud.runtime.errors import ConfigError
from pbs_cloud.runtime.logging import configure_logging, get_logger
from pbs_cloud.runtime.migrations import migrate_all
from pbs_cloud.runtime.settings import Settings, load_settings
from pbs_cloud.runtime.telemetry import MULTIPROC_VARIABLE
from pbs_cloud.server.announce import first_steps, say
from pbs_cloud.server.certificates import Certificate, public_certificate
from pbs_cloud.server.datadir import DataDir, open_data_dir
from pbs_cloud.server.installation import Installation, empty_metrics, health_page
from pbs_cloud.server.ports import require_free_port
from pbs_cloud.server.services import SERVICES, Surroundings

_log = get_logger(__name__)


def up() -> None:
    """Run everything in one supervisor until Ctrl-C."""
    settings = prepare()
    folder = open_data_dir(settings)
    certificate = None if settings.tls_disabled else public_certificate(settings, folder.tls)
    require_free_port(settings)
    asyncio.run(_up(settings, folder, certificate))


def run(service: str) -> None:
    """Run the processes of one service; database and event bus must be given."""
    settings = prepare()
    if service not in SERVICES:
        raise ConfigError(f"there is no service {service!r}; there are {', '.join(SERVICES)}")
    settings.require_external_parts(service)
    folder = open_data_dir(settings, service)
    certificate = None
    if service == "gateway":
        certificate = None if settings.tls_disabled else public_certificate(settings, folder.tls)
        require_free_port(settings)
    asyncio.run(_run(settings, folder, certificate, service))


def migrate() -> None:
    """Create roles and schemas and bring them to the newest revision."""
    asyncio.run(migrate_all(prepare()))


def check_config() -> list[str]:
    """Check the settings; the effective ones as lines `VARIABLE=value`, secrets hidden."""
    from pbs_cloud.runtime.outgoing_tls import outgoing_tls
    from pbs_cloud.runtime.settings import variable_name

    settings = load_settings()
    outgoing_tls(settings)
    if settings.tls_cert is not None:
        public_certificate(settings, settings.data_dir / "tls")
    values = settings.model_dump()
    return [f"{variable_name(name)}={value}" for name, value in values.items() if value is not None]


def prepare() -> Settings:
    """Settings from the environment, and this process made ready to work with them."""
    settings = load_settings()
    os.umask(0o077)
    configure_logging(level=settings.log_level, format=settings.log_format, process="supervisor")
    return settings


async def _up(settings: Settings, folder: DataDir, certificate: Certificate | None) -> None:
    installation = _installation(settings, folder, certificate)

    async def start() -> None:
        installation.plan_embedded()
        installation.start_services(SERVICES)
        await installation.start_embedded()
        await installation.migrate()
        from pbs_cloud.server.bootstrap import ensure_contents

        secret = await ensure_contents(settings, folder.unshown_secret)
        await installation.readiness.wait()
        say(first_steps(settings, certificate.fingerprint if certificate else None, secret))
        folder.unshown_secret.unlink(missing_ok=True)

    await _serve(installation, start)


async def _run(settings: Settings, folder: DataDir, certificate: Certificate | None, service: str) -> None:
    installation = _installation(settings, folder, certificate)

    async def start() -> None:
        installation.start_services((service,))
        await installation.readiness.wait()
        _log.info("service is ready", service=service)

    await _serve(installation, start)


def _installation(settings: Settings, folder: DataDir, certificate: Certificate | None) -> Installation:
    empty_metrics(folder)
    os.environ[MULTIPROC_VARIABLE] = str(folder.metrics)
    surroundings = Surroundings(
        metrics=folder.metrics,
        tls_cert=certificate.chain if certificate else None,
        tls_key=certificate.key if certificate else None,
    )
    return Installation(settings, folder, surroundings)


async def _serve(installation: Installation, start: Callable[[], Awaitable[None]]) -> None:
    """Start, stay until a signal or a failure, stop in order; a second signal hurries."""
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: hurry.set() if stop.is_set() else stop.set())
    starting = asyncio.ensure_future(start())
    book = asyncio.create_task(installation.write_process_file())
    ends = [asyncio.create_task(event.wait()) for event in (stop, installation.supervisor.failed)]
    try:
        async with health_page(installation.settings.health, installation.readiness):
            await asyncio.wait([starting, *ends], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.set()
        for task in (starting, book, *ends):
            task.cancel()
        with contextlib.suppress(Exception):
            await asyncio.gather(starting, book, *ends, return_exceptions=True)
        await installation.supervisor.stop(hurry=hurry)
    if installation.supervisor.failed.is_set():
        raise ConfigError(installation.supervisor.failure)
