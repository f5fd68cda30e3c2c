"""Hostile and broken peers: refused, bounded in memory, and other sessions do not notice."""

import asyncio
import functools
import hashlib
import json
import random
import resource
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import hpack
import pytest
from testkit.client import Backup, BackupSession, Connection, Lost, PlainCodec, Refused, Restore, StreamReset
from testkit.client.http2 import (
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    frame_header,
)
from testkit.product import ProductServer
from testkit.world import Tenant, eventually, fresh

pytestmark = [pytest.mark.xdist_group("faults-input"), pytest.mark.timeout(240)]

HERE = Path(__file__).parent
CHUNK = 4 << 20
MEMORY_LIMIT = 400 << 20


def _peak_memory(product: ProductServer) -> dict[str, int]:
    """Largest resident size so far of each gateway process, in bytes."""
    found = {}
    for name, pid in product.pids().items():
        if name.startswith("gateway"):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            found[name] = next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))
    return found


@asynccontextmanager
async def _witness(product: ProductServer, tenant: Tenant) -> AsyncIterator[None]:
    """A backup that runs meanwhile, is finished and restored afterwards; and no gateway process has died or grown."""
    before = {name: pid for name, pid in product.pids().items() if name.startswith("gateway")}
    snapshot = tenant.snapshot(fresh("witness"))
    image = random.Random(1).randbytes(6 * CHUNK)
    async with await Backup.open(tenant.endpoint, tenant.admin.credential, snapshot) as backup:
        await backup.image("first", image)
        yield
        await backup.image("second", image)
        await backup.finish()
    async with await Restore.open(tenant.endpoint, tenant.admin.credential, snapshot) as restore:
        assert await restore.archive("second.img.fidx", parallel=4) == image
    assert {name: pid for name, pid in product.pids().items() if name.startswith("gateway")} == before
    assert all(size < MEMORY_LIMIT for size in _peak_memory(product).values()), _peak_memory(product)


async def _open_session(tenant: Tenant, backup_id: str) -> BackupSession:
    return await BackupSession.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot(backup_id))


async def _ends(session: BackupSession, seconds: float = 10) -> None:
    """The server ends the connection by itself."""

    async def lost() -> object:
        return session.connection.lost

    await eventually(lost, seconds, "end of the connection")


def _block(*fields: tuple[str, str]) -> bytes:
    encoded: bytes = hpack.Encoder().encode(list(fields), huffman=False)
    return encoded


REQUEST = ((":method", "GET"), (":scheme", "https"), (":authority", "x"), (":path", "/previous_backup_time"))
NEXT = 3  # stream 1 is the session's first request
BROKEN_FRAMES = {
    "frame larger than announced": frame_header((1 << 24) - 1, DATA, 0, NEXT) + bytes(70_000),
    "DATA on stream 0": frame(DATA, 0, 0, b"x"),
    "DATA on an idle stream": frame(DATA, 0, 101, b"x"),
    "HEADERS on an even stream": frame(HEADERS, 5, 2, _block(*REQUEST)),
    "HEADERS on stream 0": frame(HEADERS, 5, 0, _block(*REQUEST)),
    "broken Huffman code": frame(HEADERS, 5, NEXT, b"\x04\x84\xff\xff\xff\xff"),
    "index outside of the table": frame(HEADERS, 5, NEXT, b"\xff\x80\x80\x01"),
    "interrupted header block": frame(HEADERS, 1, NEXT, _block(*REQUEST)) + frame(PING, 0, 0, bytes(8)),
    "stray CONTINUATION": frame(CONTINUATION, 4, NEXT, b""),
    "SETTINGS of odd length": frame(SETTINGS, 0, 0, bytes(5)),
    "SETTINGS on a stream": frame(SETTINGS, 0, NEXT, b""),
    "window that is too large": frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31)),
    "PING of seven bytes": frame(PING, 0, 0, bytes(7)),
    "WINDOW_UPDATE of three bytes": frame(WINDOW_UPDATE, 0, 0, bytes(3)),
    "window overflow": frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", (1 << 31) - 1)) * 2,
    "RST_STREAM of an idle stream": frame(RST_STREAM, 0, 99, bytes(4)),
    "padding longer than the frame": frame(HEADERS, 0xD, NEXT, b"\xff" + _block(*REQUEST)),
    "GOAWAY that is too short": frame(GOAWAY, 0, 0, bytes(3)),
    "PUSH_PROMISE": frame(5, 4, NEXT, struct.pack(">I", 2) + _block(*REQUEST)),
    "HTTP/1.1 inside": b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
}


async def test_broken_frames_end_their_own_session_only(victim: ProductServer, tenant: Tenant) -> None:
    """Each breach of HTTP/2 ends the connection; the snapshot is removed, the group is free."""
    async with _witness(victim, tenant):
        for number, (what, bytes_sent) in enumerate(BROKEN_FRAMES.items()):
            session = await _open_session(tenant, f"broken{number}")
            assert await session.previous_backup_time() is None
            session.connection.send_raw(bytes_sent)
            try:
                await _ends(session)
            except AssertionError as error:
                raise AssertionError(f"{what}: {error}") from error
            await session.close()
            free = functools.partial(_group_is_free, tenant, f"broken{number}")
            await eventually(free, 10, f"free group after {what}")


async def _group_is_free(tenant: Tenant, backup_id: str) -> bool:
    try:
        session = await _open_session(tenant, backup_id)
    except Refused:
        return False
    await session.close()
    return True


async def test_bytes_that_are_no_preface(tenant: Tenant) -> None:
    """After the 101 anything but HTTP/2 ends the connection."""
    connection = await Connection.open(tenant.endpoint)
    query = "backup-id=nopreface&backup-time=1767139200&backup-type=host&store=default"
    lines = [*tenant.admin.credential.headers(), "connection: upgrade", "upgrade: proxmox-backup-protocol-v1"]
    answer = await connection.request("GET", f"/api2/json/backup?{query}", lines)
    assert answer.status == 101
    connection.send_raw(b"EHLO example.org\r\n" + bytes(200))
    while await asyncio.wait_for(connection.reader.read(65536), 10):
        pass
    await connection.close()


async def test_tolerated_oddities(tenant: Tenant) -> None:
    """Unknown frames, PRIORITY, padding, PING and a reset request: the session goes on."""
    async with await Backup.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot("odd")) as backup:
        connection = backup.session.connection
        connection.send_raw(frame(0x2A, 0xFF, 0, b"unknown"))
        connection.send_raw(frame(2, 0, 101, bytes(4) + b"\x10"))
        connection.send_raw(frame(PING, 0, 0, b"12345678") * 10)
        connection.send_raw(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)))
        connection.send_raw(frame(SETTINGS, 0, 0, struct.pack(">HIHI", 0x4242, 7, 1, 0)))
        wid = await backup.session.create("fixed", "disk.img.fidx", CHUNK)
        upload = connection.submit("POST", f"/fixed_chunk?wid={wid}", body=bytes(1000))
        machine = connection.http2
        assert machine is not None
        machine.reset(max(connection._answers))
        connection._flush()
        upload.cancel()
        await backup.blob("a.conf.blob", b"x")
        assert await backup.session.previous_backup_time() is None
        await backup.abort()


async def test_header_bombs(victim: ProductServer, tenant: Tenant) -> None:
    """A header list over 16 KiB is refused, however small it is on the wire; memory does not grow with it."""
    entry = ("x-bomb", "b" * 3000)
    async with _witness(victim, tenant):
        session = await _open_session(tenant, "bomb")
        assert await session.previous_backup_time() is None
        first = _block(*REQUEST, entry)
        session.connection.send_raw(frame(HEADERS, 5, NEXT, first))
        bomb = _block(*REQUEST) + b"\xc0" * 15_000  # 15,000 × 3 KB out of the dynamic table
        for number in range(20):
            session.connection.send_raw(frame(HEADERS, 5, NEXT + 2 + 2 * number, bomb))
        await asyncio.sleep(1)
        await session.close(abort=True)

        session = await _open_session(tenant, "continued")
        session.connection.send_raw(frame(HEADERS, 1, 1, _block(*REQUEST)))
        for _ in range(4000):
            session.connection.send_raw(frame(CONTINUATION, 0, 1, b"\x00\x01a\x7f\xa1\x1e" + b"v" * 4000))
        await _ends(session, 20)
        await session.close(abort=True)

        session = await _open_session(tenant, "large")
        answer = session.connection.submit("GET", "/previous_backup_time?" + "x" * 20_000)
        with pytest.raises((Refused, Lost, StreamReset)):
            got = await asyncio.wait_for(answer, 10)
            assert got.status == 431
            assert await session.previous_backup_time() is None
            raise Refused(got.status, "")
        await session.close()


async def test_floods(victim: ProductServer, tenant: Tenant) -> None:
    """PING, SETTINGS, empty DATA and resets in great numbers cost the sender its connection, or nothing."""
    floods = {
        "PING": frame(PING, 0, 0, bytes(8)) * 50_000,
        "SETTINGS": frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 20)) * 20_000,
        "PRIORITY": frame(2, 0, 1, bytes(5)) * 50_000,
        "resets": b"".join(
            frame(HEADERS, 5, stream, b"\x82\x87\x84\x41\x01x") + frame(RST_STREAM, 0, stream, bytes(4))
            for stream in range(3, 20_003, 2)
        ),
    }
    async with _witness(victim, tenant):
        for what, flood in floods.items():
            session = await _open_session(tenant, f"flood-{what}")
            assert await session.previous_backup_time() is None
            session.connection.send_raw(flood)
            await asyncio.sleep(1)
            await session.close(abort=True)


async def test_wrong_chunks_and_blobs(tenant: Tenant) -> None:
    """Digest, size, length, magic, writer, blob CRC: each refused with 400 and a text; the session commits."""
    codec, data = PlainCodec(), random.Random(2).randbytes(100_000)
    digest, encoded = codec.digest(data), codec.encode(data)
    other = codec.digest(b"other")
    async with await Backup.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot("wrong")) as backup:
        session = backup.session
        wid = await session.create("dynamic", "a.pxar.didx")
        size, length = len(data), len(encoded)
        wrong: list[tuple[dict[str, object], bytes]] = [
            ({"digest": other.hex()}, encoded),
            ({"size": size + 1}, encoded),
            ({"size": size - 1}, encoded),
            ({"encoded-size": length + 1}, encoded),
            ({"encoded-size": length - 1}, encoded),
            ({"encoded-size": length + 1000}, encoded + bytes(2000)),
            ({}, b"\0" * 8 + encoded[8:]),
            ({"wid": 77}, encoded),
            ({"wid": 0}, encoded),
            ({"size": (16 << 20) + 1}, encoded),
            ({"encoded-size": (16 << 20) + 45}, encoded),
            ({"encoded-size": 12}, encoded[:12]),
            ({"digest": digest.hex().upper()}, encoded),
            ({"digest": "00"}, encoded),
            ({"unknown": "parameter"}, encoded),
        ]
        for change, body in wrong:
            query = {"digest": digest.hex(), "encoded-size": len(body), "size": size, "wid": wid, **change}
            answer = await asyncio.wait_for(session.submit("POST", "/dynamic_chunk", query, body=body), 10)
            assert answer.status == 400, (change, answer)
            assert answer.body.decode(), change
            for name in change:
                if name in ("unknown",) or answer.body.decode().startswith("parameter"):
                    assert name in answer.body.decode(), answer
        with pytest.raises(Refused):
            await session.append("dynamic", wid, [other], [0])
        await session.upload_chunk("dynamic", wid, digest, size, encoded)
        with pytest.raises(Refused):
            await session.append("dynamic", wid, [digest], [1])
        broken = bytearray(encoded)
        broken[8] ^= 1
        with pytest.raises(Refused):
            await session.upload_blob("a.conf.blob", bytes(broken))
        await session.append("dynamic", wid, [digest], [0])
        csum = hashlib.sha256(size.to_bytes(8, "little") + digest).digest()
        with pytest.raises(Refused):
            await session.close_index("dynamic", wid, 2, size, csum)
        await session.close_index("dynamic", wid, 1, size, csum)
        backup.add_file("a.pxar.didx", size, csum)
        await backup.finish()
    async with await Restore.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot("wrong")) as restore:
        assert await restore.archive("a.pxar.didx") == data


async def test_slow_and_silent_clients(victim: ProductServer, tenant: Tenant) -> None:
    """Half a handshake, half a head, a body that drips: each holds its own connection only, and not for ever."""
    async with _witness(victim, tenant):
        silent = [await asyncio.open_connection("127.0.0.1", victim.port) for _ in range(50)]
        halves = [await Connection.open(tenant.endpoint) for _ in range(50)]
        for half in halves:
            half.send_raw(b"GET /api2/json/version HTTP/1.1\r\nx-slow: ")
        session = await _open_session(tenant, "drips")
        assert await session.previous_backup_time() is None
        block = _block((":method", "POST"), (":scheme", "https"), (":authority", "x"), (":path", "/speedtest"))
        session.connection.send_raw(frame(HEADERS, 4, NEXT, block))
        for _ in range(20):
            session.connection.send_raw(frame(DATA, 0, NEXT, b"d"))
            await asyncio.sleep(0.05)
        assert (await tenant.rest.get("/version"))["version"]
        closed = [asyncio.wait_for(reader.read(100), 30) for reader, _ in silent]
        assert await asyncio.gather(*closed) == [b""] * 50, "an unfinished handshake ends after 10 s"
        for half in halves:
            await half.close(abort=True)
        await session.close(abort=True)


async def test_oversized_heads_and_bodies(victim: ProductServer, tenant: Tenant) -> None:
    """HTTP/1.1: an endless head, an endless JSON body, a false length; refused with the right status."""
    async with _witness(victim, tenant):
        answer = await tenant.rest.exchange("GET", "/version?x=" + "y" * 4000)
        assert answer.status == 414
        headers = ("content-type: application/json",)
        body = b'{"name":"' + b"n" * 600_000 + b'"}'
        answer = await tenant.rest.exchange("POST", f"{tenant.base}/namespace", None, body, headers)
        assert answer.status == 400
        connection = await Connection.open(tenant.endpoint)
        connection.send_raw(b"GET /api2/json/version HTTP/1.1\r\n" + b"x-a: " + b"b" * (4 << 20))
        received = await asyncio.wait_for(connection.reader.read(4096), 20)
        assert not received or received.startswith(b"HTTP/1.1 4")
        await connection.close(abort=True)


@pytest.mark.parametrize(("kind", "wanted"), [("tcp", 8000), ("tls", 3000)])
async def test_idle_connections(victim: ProductServer, tenant: Tenant, kind: str, wanted: int) -> None:
    """Idle connections up to the descriptor limit: others work, memory stays bounded."""
    count = min(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2)
    async with _witness(victim, tenant):
        command = [sys.executable, str(HERE / "idle_connections.py"), "127.0.0.1", str(victim.port), str(count), kind]
        client = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert client.stdin and client.stdout
        opened = int(await asyncio.wait_for(client.stdout.readline(), 180))
        assert opened >= count * 0.95
        assert (await asyncio.wait_for(tenant.rest.get("/version"), 10))["version"]
        assert await _group_is_free(tenant, fresh("idle"))
        client.stdin.write(b"\n")
        await asyncio.wait_for(client.stdout.readline(), 60)
        await client.wait()


async def test_memory_of_many_interleaved_uploads(victim: ProductServer, tenant: Tenant) -> None:
    """16 sessions × 66 uploads whose frames are interleaved: every one is answered, each process below 400 MiB."""
    sessions, streams, size = 16, 66, 2 << 20
    command = [sys.executable, str(HERE / "interleaving_client.py"), "127.0.0.1", str(victim.port), tenant.store]
    command += [str(tenant.admin.credential), *map(str, (sessions, streams, size))]
    async with _witness(victim, tenant):
        client = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        output, errors = await asyncio.wait_for(client.communicate(), 150)
        assert client.returncode == 0, errors.decode()
        result = json.loads(output)
        assert result["statuses"] == {"200": sessions * (streams + 1)}, result
