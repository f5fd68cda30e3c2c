"""Listening: one socket for each process on the same port, TLS or a redirect by the first byte (wire-protocol 1.1)."""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import ssl
from collections.abc import Sequence
from typing import Final

from pbs_cloud.gateway.front.client import ClientConnection, Service
from pbs_cloud.gateway.front.proxy_header import BadHeader, Network, is_trusted, read_header
from pbs_cloud.gateway.front.redirect import RedirectConnection
from pbs_cloud.runtime.addresses import Endpoint
from pbs_cloud.runtime.lifecycle import Component
from pbs_cloud.runtime.logging import get_logger

log = get_logger(__name__)

BACKLOG: Final = 1024
HANDSHAKE_SECONDS: Final = 10.0
SHUTDOWN_SECONDS: Final = 3.0
KEEPALIVE_SECONDS: Final = 120
ACCEPTS_AT_ONCE: Final = 64
PAUSE_SECONDS: Final = 0.5
SPARE_DESCRIPTORS: Final = 100
_TLS_HANDSHAKE = 0x16
_ALL_ADDRESSES = ("", "0.0.0.0", "::", "*")  # noqa: S104 - what the setting may say


def listening_socket(endpoint: Endpoint) -> socket.socket:
    """Bound with SO_REUSEPORT; a wildcard address listens on IPv6 and IPv4."""
    if endpoint.host not in _ALL_ADDRESSES:
        family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
        return _bound(family, endpoint.host, endpoint.port)
    try:
        return _bound(socket.AF_INET6, "::", endpoint.port)
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        return _bound(socket.AF_INET, "", endpoint.port)


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        found.setblocking(False)
        found.bind((host, port))
        found.listen(BACKLOG)
    except BaseException:
        found.close()
        raise
    return found


class Listener(Component):
    """Accepts connections until it is stopped; ``tls`` None: plain HTTP/1.1.

    ``proxies``: networks whose PROXY header tells the client's address.
    """

    name = "listener"

    def __init__(
        self, endpoint: Endpoint, tls: ssl.SSLContext | None, service: Service, proxies: Sequence[Network] = ()
    ) -> None:
        self._proxies = proxies
        self._endpoint = endpoint
        self._tls = tls
        self._service = service
        self._socket: socket.socket | None = None
        self._greetings: set[asyncio.Task[None]] = set()
        self._connections: set[ClientConnection] = set()
        self._limit = max(64, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_DESCRIPTORS)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    async def start(self) -> None:
        self._socket = listening_socket(self._endpoint)
        asyncio.get_running_loop().add_reader(self._socket, self._accept)

    async def stop(self) -> None:
        """No new connections; idle ones are closed, sessions are the registry's business."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        for task in self._greetings:
            task.cancel()
        for connection in list(self._connections):
            if connection.idle and not connection.in_session:
                connection.close()

    def ready(self) -> bool:
        return self._socket is not None

    def close_all(self) -> None:
        """End every connection that is still there."""
        for connection in list(self._connections):
            connection.abort()

    def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(ACCEPTS_AT_ONCE):
            if self._socket is None:
                return
            try:
                accepted, address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # no descriptors left: connections wait in the backlog
                log.warning("cannot accept", error=str(error))
                loop.remove_reader(self._socket)
                loop.call_later(PAUSE_SECONDS, self._resume)
                return
            if len(self._connections) + len(self._greetings) >= self._limit:
                accepted.close()
                continue
            task = loop.create_task(self._greet(accepted, str(address[0]).removeprefix("::ffff:")))
            self._greetings.add(task)
            task.add_done_callback(self._greetings.discard)

    def _resume(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().add_reader(self._socket, self._accept)

    async def _greet(self, accepted: socket.socket, address: str) -> None:
        """From an accepted socket to a protocol."""
        owned = True
        try:
            _tune(accepted)
            if self._proxies and is_trusted(address, self._proxies):
                async with asyncio.timeout(HANDSHAKE_SECONDS):
                    address = await read_header(accepted) or address
            tls = self._tls
            if tls is not None:
                first = await _first_byte(accepted)
                if first != _TLS_HANDSHAKE:
                    if first is not None:
                        owned = False
                        await asyncio.get_running_loop().connect_accepted_socket(RedirectConnection, accepted)
                    return
            owned = False
            await self._connect(accepted, address, tls)
        except (OSError, TimeoutError, ssl.SSLError, BadHeader):
            return  # the client broke off, took too long, or a proxy sent nonsense
        finally:
            if owned:
                accepted.close()

    async def _connect(self, accepted: socket.socket, address: str, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        if tls is None:
            await loop.connect_accepted_socket(lambda: self._client(address), accepted)
            return
        await loop.connect_accepted_socket(
            lambda: self._client(address),
            accepted,
            ssl=tls,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=SHUTDOWN_SECONDS,
        )

    def _client(self, address: str) -> ClientConnection:
        connection = ClientConnection(self._service, address, self._connections.discard)
        self._connections.add(connection)
        return connection


def _tune(accepted: socket.socket) -> None:
    accepted.setblocking(False)
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_SECONDS)


async def _first_byte(accepted: socket.socket) -> int | None:
    """The first byte without taking it; None when the client closed."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(HANDSHAKE_SECONDS):
        while True:
            try:
                found = accepted.recv(1, socket.MSG_PEEK)
                return found[0] if found else None
            except BlockingIOError:
                readable = asyncio.Event()
                loop.add_reader(accepted, readable.set)
                try:
                    await readable.wait()
                finally:
                    loop.remove_reader(accepted)
