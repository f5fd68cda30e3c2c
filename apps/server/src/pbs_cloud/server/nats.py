"""The embedded NATS server with JetStream, on a loopback port, with a password of its own for each start."""

import asyncio
import json
import secrets
import shutil
import signal
import sys
from pathlib import Path

from pbs_cloud.runtime.errors import ConfigError
from pbs_cloud.server.ports import free_port
from pbs_cloud.server.spawn import spawn_program, tied

_USER = "pbs"
_MAX_STORE_BYTES = 4 * 1024**3


def binary() -> str:
    """The server's program, as its wheel installs it beside the interpreter."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise ConfigError("PBS_NATS_URL: must be set, no embedded event bus is installed")
    return found


class EmbeddedNats:
    """A server with its store in `data`."""

    def __init__(self, data: Path, log: Path) -> None:
        self._data = data
        self._log = log
        self._binary = binary()
        self._port = free_port()
        self._password = secrets.token_hex(16)

    @property
    def url(self) -> str:
        """Address with the credentials."""
        return f"nats://{_USER}:{self._password}@127.0.0.1:{self._port}"

    def prepare(self) -> None:
        """Folders and the configuration file, which holds the password."""
        self._data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._file.touch(mode=0o600)
        self._file.write_text(self._configuration())

    def command(self) -> list[str]:
        """The command line that starts the server."""
        return tied([self._binary, "-c", str(self._file)], death_signal=signal.SIGTERM)

    async def start(self) -> asyncio.subprocess.Process:
        """Start the server."""
        return await spawn_program(self.command(), output=self._log)

    @property
    def _file(self) -> Path:
        return self._data / "nats.conf"

    def _configuration(self) -> str:
        # NATS reads JSON.
        return json.dumps({
            "host": "127.0.0.1",
            "port": self._port,
            "authorization": {"user": _USER, "password": self._password},
            "jetstream": {"store_dir": str(self._data), "max_file_store": _MAX_STORE_BYTES},
            "max_payload": 1024 * 1024,
        })  # fmt: skip
