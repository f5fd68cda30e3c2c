"""Shared memory between two processes of one host, handed over once through a unix socket.

The sender makes a `SharedRegion` (a sealed memfd: its size is fixed, so nobody can pull the ground from under the
other's mapping) and hands it over with its 16-byte id. The receiver keeps it until that connection closes, so a region
dies with either side. Whose a slot is, is agreed elsewhere: the receiver's from the call until its answer.

Hand-over: the sender connects, sends the id with the descriptor (SCM_RIGHTS), and waits for one byte 0x01; then the
connection stays open, silent, for the region's life.
"""

import array
import asyncio
import contextlib
import fcntl
import mmap
import os
import secrets
import socket
from pathlib import Path
from typing import Any

from pbs_cloud.contracts.errors import InvalidArgument, Unavailable
from pbs_cloud.runtime.lifecycle import Component
from pbs_cloud.runtime.logging import get_logger

REGION_ID_SIZE = 16
MAX_REGION_BYTES = 4 << 30
_ACCEPTED = b"\x01"
_MAX_REGIONS = 256
_HAND_OVER_SECONDS = 5.0
_log = get_logger(__name__)


def shared_regions_supported() -> bool:
    """Whether this system has sealed memory files (Linux); elsewhere bytes go through gRPC."""
    return hasattr(os, "memfd_create") and hasattr(fcntl, "F_ADD_SEALS")


def _seals() -> int:
    return fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class SharedRegion:
    """Memory of `size` bytes that another process may be given. The owner's side."""

    def __init__(self, size: int) -> None:
        self.id = secrets.token_bytes(REGION_ID_SIZE)
        self.size = size
        self._descriptor = os.memfd_create("pbs-cloud-chunks", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self._descriptor, size)
        fcntl.fcntl(self._descriptor, fcntl.F_ADD_SEALS, _seals())
        self._map = mmap.mmap(self._descriptor, size)
        self._connection: socket.socket | None = None

    @property
    def memory(self) -> memoryview:
        """The region's bytes, writable."""
        return memoryview(self._map)

    async def hand_over(self, path: Path) -> None:
        """Give the region to the process that listens at `path`; repeat it when `is_handed_over` says no.

        Raises:
            Unavailable: nobody listens, or the region was refused.
        """
        self._drop_connection()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_HAND_OVER_SECONDS):
                await loop.sock_connect(connection, str(path))
                socket.send_fds(connection, [self.id], [self._descriptor])
                answer = await loop.sock_recv(connection, 1)
        except OSError as error:
            connection.close()
            raise Unavailable("the shared memory cannot be handed over") from error
        except BaseException:
            connection.close()
            raise
        if answer != _ACCEPTED:
            connection.close()
            raise Unavailable("the shared memory was refused")
        self._connection = connection

    def is_handed_over(self) -> bool:
        """Whether the receiver still has the region (its end of the connection is open)."""
        if self._connection is None:
            return False
        try:
            closed = self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return True
        except OSError:
            closed = True
        if closed:
            self._drop_connection()
        return not closed

    def close(self) -> None:
        """Take the region back; the memory itself lives as long as a view of it."""
        self._drop_connection()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class SharedRegionServer(Component):
    """The receiver's side: a socket of mode 0600 and the regions of its open connections."""

    name = "shared memory"

    def __init__(self, path: Path, *, max_regions: int = _MAX_REGIONS, max_bytes: int = MAX_REGION_BYTES) -> None:
        self._path = path
        self._max_regions = max_regions
        self._max_bytes = max_bytes
        self._regions: dict[bytes, mmap.mmap] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        previous = os.umask(0o177)
        try:
            listener.bind(str(self._path))
        finally:
            os.umask(previous)
        listener.listen(64)
        self._listener = listener
        self._accepting = asyncio.create_task(self._accept(listener))

    async def stop(self) -> None:
        tasks = [task for task in (self._accepting, *self._connections) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()
            self._path.unlink(missing_ok=True)

    def slot(self, region: bytes, offset: int, length: int) -> memoryview:
        """A part of a region; it stays mapped for as long as the view lives.

        Raises:
            InvalidArgument: `region` is not (any more) known: hand it over again; or the part is not within it.
        """
        found = self._regions.get(region)
        if found is None:
            raise InvalidArgument("region: not known, hand it over again", field="region")
        if offset < 0 or length < 0 or offset + length > len(found):
            raise InvalidArgument(f"offset: {offset}+{length} is not within the region", field="offset")
        return memoryview(found)[offset : offset + length]

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _address = await loop.sock_accept(listener)
            except OSError as error:
                _log.warning("shared memory socket", error=str(error))
                await asyncio.sleep(0.1)
                continue
            task = asyncio.create_task(self._serve(connection))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    async def _serve(self, connection: socket.socket) -> None:
        """One region: take it, keep it until the other end closes."""
        loop, region = asyncio.get_running_loop(), b""
        try:
            async with asyncio.timeout(_HAND_OVER_SECONDS):
                region = await self._receive(connection)
            await loop.sock_sendall(connection, _ACCEPTED)
            while await loop.sock_recv(connection, 1):
                pass
        except (OSError, ValueError) as error:
            _log.warning("shared memory refused", error=str(error))
        finally:
            self._regions.pop(region, None)
            connection.close()

    async def _receive(self, connection: socket.socket) -> bytes:
        await _readable(connection)
        region, descriptors = _receive_descriptor(connection)
        try:
            if len(region) != REGION_ID_SIZE or len(descriptors) != 1:
                raise ValueError("not one region")
            if region in self._regions or len(self._regions) >= self._max_regions:
                raise ValueError("the region is known already, or there are too many")
            self._regions[region] = self._map(descriptors[0])
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return region

    def _map(self, descriptor: int) -> mmap.mmap:
        """Map a file whose size cannot change any more; without that a shrunk one would kill this process."""
        found = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
        if found & _seals() != _seals() or found & fcntl.F_SEAL_WRITE:
            raise ValueError("the memory is not sealed as it must be")
        size = os.fstat(descriptor).st_size
        if not 0 < size <= self._max_bytes:
            raise ValueError(f"the region has {size} bytes")
        return mmap.mmap(descriptor, size)


def _receive_descriptor(connection: socket.socket) -> tuple[bytes, list[int]]:
    """The message and its descriptors, closed on exec; those that the kernel already put into this process count."""
    space = socket.CMSG_SPACE(array.array("i").itemsize * 4)
    message, ancillary, _flags, _address = connection.recvmsg(REGION_ID_SIZE, space, socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return message, list(descriptors)


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[Any] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(connection, wake)
    try:
        await ready
    finally:
        with contextlib.suppress(OSError, ValueError):
            loop.remove_reader(connection)
