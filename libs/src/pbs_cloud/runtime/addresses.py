"""Addresses as settings write them: `host:port`, `[::1]:port`, `unix:/path`, `dns:///name:port`."""

from dataclasses import dataclass
from pathlib import Path

_UNIX_PATH_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A TCP endpoint; `host` may be empty for all addresses."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Services:
    """Where each gRPC service listens and is found; `chunks_shm` is None when chunk bytes only go through gRPC."""

    auth: str
    chunks: str
    catalogue: str
    gc: str
    billing: str
    chunks_shm: Path | None


def parse_endpoint(text: str) -> Endpoint:
    """`host:port` with IPv6 hosts in brackets.

    Raises:
        ValueError: not of this form, or a port outside 0 to 65535.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65_535:
        raise ValueError(f"must be host:port, not {text!r}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"an IPv6 address belongs into brackets: [{host}]:{port}")
    return Endpoint(host, int(port))


def parse_target(text: str) -> str:
    """A gRPC address: `unix:/path`, `host:port` or `dns:///host:port`.

    Raises:
        ValueError: anything else, or a socket path that is too long for the operating system.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/") or len(path.encode()) > _UNIX_PATH_LIMIT:
            raise ValueError(f"must be unix:/absolute/path of at most {_UNIX_PATH_LIMIT} bytes")
        return text
    parse_endpoint(text.removeprefix("dns:///"))
    return text


def is_unix(target: str) -> bool:
    """Whether the address is a unix socket."""
    return target.startswith("unix:")
