"""TCP ports of this machine."""

import errno
import socket
import time

from pbs_cloud.runtime.errors import ConfigError
from pbs_cloud.runtime.settings import Settings

_PATIENCE_SECONDS = 3.0


def free_port() -> int:
    """A TCP port of the loopback interface that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def require_free_port(settings: Settings) -> None:
    """Refuse to start when somebody listens on the public port already.

    The gateway's workers share their port (SO_REUSEPORT), so two installations would share it as well without an error.
    A predecessor that is just ending is waited for.

    Raises:
        ConfigError: names the address.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (problem := _problem(settings.listen.host, settings.listen.port)) is not None:
        if problem.errno != errno.EADDRINUSE or time.monotonic() > deadline:
            reason = "is in use by another program" if problem.errno == errno.EADDRINUSE else str(problem)
            raise ConfigError(f"PBS_LISTEN_ADDR: {settings.listen_addr} {reason}")
        time.sleep(0.1)


def _problem(host: str, port: int) -> OSError | None:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
    except OSError as error:
        return error
    return None
