"""Backup and reader sessions: every endpoint of wire-protocol 4.5 and 5.2 as one method."""

import asyncio
import json
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, Self

from testkit.client.connection import FORM, JSON, OCTETS, Connection, Refused, data_of, encode_query
from testkit.client.endpoint import Credential, Endpoint
from testkit.client.http2 import Answer
from testkit.client.snapshot import Snapshot

BACKUP_PROTOCOL = "proxmox-backup-protocol-v1"
READER_PROTOCOL = "proxmox-backup-reader-protocol-v1"
Kind = Literal["fixed", "dynamic"]


class Session:
    """An upgraded connection; leaving the context closes it, with an abort after an exception."""

    def __init__(self, connection: Connection, snapshot: Snapshot) -> None:
        self.connection, self.snapshot = connection, snapshot

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.connection.close(abort=kind is not None)

    async def close(self, abort: bool = False) -> None:
        """End the session; ``abort`` as a killed client would."""
        await self.connection.close(abort)

    async def call(
        self,
        method: str,
        path: str,
        query: dict[str, object] | None = None,
        content_type: str = FORM,
        body: bytes | memoryview = b"",
    ) -> Any:
        """``data`` of a JSON answer; errors are :class:`Refused`."""
        return data_of(await self.submit(method, path, query, content_type, body), f"{method} {path}")

    def submit(
        self,
        method: str,
        path: str,
        query: dict[str, object] | None = None,
        content_type: str = FORM,
        body: bytes | memoryview = b"",
    ) -> "asyncio.Future[Answer]":
        """Start a request; the answer comes whatever its status."""
        target = f"{path}?{encode_query(query)}" if query else path
        return self.connection.submit(method, target, content_type, body)

    async def fetch(self, path: str, query: dict[str, object]) -> bytes:
        """Raw body of a successful answer."""
        answer = await self.submit("GET", path, query)
        if answer.status != 200:
            raise Refused(answer.status, answer.body.decode(), f"GET {path} {query}")
        return answer.body


class BackupSession(Session):
    """A session that writes one snapshot."""

    @classmethod
    async def open(
        cls,
        endpoint: Endpoint,
        credential: Credential,
        snapshot: Snapshot,
        *,
        benchmark: bool = False,
        debug: bool = True,
        eager: bool = False,
        connection: Connection | None = None,
    ) -> "BackupSession":
        """Upgrade a new (or the given) connection; :class:`Refused` if the server says no."""
        own = connection is None
        connection = connection or await Connection.open(endpoint)
        query = {**snapshot.parameters(), "benchmark": benchmark, "debug": debug, "store": snapshot.store}
        target = f"//api2/json/backup?{encode_query(query)}"
        try:
            await connection.upgrade(target, BACKUP_PROTOCOL, credential.headers(), eager)
        except BaseException:
            if own:
                await connection.close()
            raise
        return cls(connection, snapshot)

    async def previous_backup_time(self) -> int | None:
        """Time of the previous snapshot."""
        answer: int | None = await self.call("GET", "/previous_backup_time")
        return answer

    async def previous(self, name: str) -> bytes:
        """File of the previous snapshot; registers the chunks of an index."""
        return await self.fetch("/previous", {"archive-name": name})

    async def create(self, kind: Kind, name: str, size: int | None = None, reuse_csum: str | None = None) -> int:
        """Open a writer; returns its id."""
        query: dict[str, object] = {"archive-name": name, "size": size, "reuse-csum": reuse_csum}
        wid: int = await self.call("POST", f"/{kind}_index", query)
        return wid

    def send_chunk(
        self, kind: Kind, wid: int, digest: bytes, size: int, encoded: bytes | memoryview
    ) -> "asyncio.Future[Answer]":
        """Start the upload of a chunk."""
        query: dict[str, object] = {"digest": digest.hex(), "encoded-size": len(encoded), "size": size, "wid": wid}
        return self.submit("POST", f"/{kind}_chunk", query, OCTETS, encoded)

    async def upload_chunk(self, kind: Kind, wid: int, digest: bytes, size: int, encoded: bytes | memoryview) -> str:
        """Upload a chunk; returns the digest the server answered."""
        answer: str = data_of(await self.send_chunk(kind, wid, digest, size, encoded), f"{kind}_chunk")
        return answer

    def send_append(
        self, kind: Kind, wid: int, digests: Sequence[bytes], offsets: Sequence[int]
    ) -> "asyncio.Future[Answer]":
        """Start an append of index entries."""
        entries = {"digest-list": [digest.hex() for digest in digests], "offset-list": list(offsets), "wid": wid}
        return self.submit("PUT", f"/{kind}_index", None, JSON, json.dumps(entries, separators=(",", ":")).encode())

    async def append(self, kind: Kind, wid: int, digests: Sequence[bytes], offsets: Sequence[int]) -> None:
        """Append entries and wait for the answer."""
        data_of(await self.send_append(kind, wid, digests, offsets), f"PUT {kind}_index")

    async def close_index(self, kind: Kind, wid: int, count: int, size: int, csum: bytes) -> None:
        """Close a writer."""
        query: dict[str, object] = {"chunk-count": count, "csum": csum.hex(), "size": size, "wid": wid}
        await self.call("POST", f"/{kind}_close", query)

    async def upload_blob(self, name: str, raw: bytes) -> None:
        """Store a blob that is already encoded."""
        await self.call("POST", "/blob", {"encoded-size": len(raw), "file-name": name}, OCTETS, raw)

    async def speedtest(self, body: bytes) -> None:
        """Bytes that the server throws away."""
        await self.call("POST", "/speedtest", None, FORM, body)

    async def finish(self) -> None:
        """Commit."""
        await self.call("POST", "/finish")


class ReaderSession(Session):
    """A session that reads one snapshot."""

    @classmethod
    async def open(cls, endpoint: Endpoint, credential: Credential, snapshot: Snapshot) -> "ReaderSession":
        """Upgrade a new connection."""
        connection = await Connection.open(endpoint)
        query = {**snapshot.parameters(), "debug": True, "store": snapshot.store}
        target = f"//api2/json/reader?{encode_query(query)}"
        try:
            await connection.upgrade(target, READER_PROTOCOL, credential.headers())
        except BaseException:
            await connection.close()
            raise
        return cls(connection, snapshot)

    async def download(self, name: str) -> bytes:
        """A file of the snapshot; registers the chunks of an index."""
        return await self.fetch("/download", {"file-name": name})

    async def chunk(self, digest: bytes) -> bytes:
        """A stored chunk."""
        return await self.fetch("/chunk", {"digest": digest.hex()})
