"""Backup and restore through the TLS port, as the stock client does it."""

import asyncio
import hashlib
import os
import time

import pytest
from testkit.client import T1, T2, Backup, BackupSession, Connection, Lost, ReaderSession, Refused, Restore, Snapshot
from testkit.client.connection import FORM
from testkit.client.http2 import CLIENT_START

from pbs_cloud.contracts import errors as e
from pbs_cloud.formats import blob

MIB = 1 << 20
UPGRADE = ["connection: upgrade", "upgrade: proxmox-backup-protocol-v1"]
QUERY = "backup-id=h1&backup-time=1767139200&backup-type=host&store=store1"


def snapshot(at: int = T1, backup_id: str = "h1") -> Snapshot:
    return Snapshot("store1", backup_id, at)


async def backup_image(front, at: int, data: bytes, backup_id: str = "h1") -> None:
    backup = await Backup.open(front.endpoint, front.token, snapshot(at, backup_id))
    async with backup:
        await backup.image("disk", data)
        await backup.blob("a.conf.blob", b"memory: 512\n")
        await backup.finish()


async def restored(front, at: int, parallel: int = 8) -> bytes:
    restore = await Restore.open(front.endpoint, front.token, snapshot(at))
    async with restore.session:
        return await restore.archive("disk.img.fidx", parallel=parallel)


async def eventually(check, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "did not happen"
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("front", ["shared", "raw"], indirect=True)
async def test_backup_and_restore(front):
    """Twice, the second run with known chunks; memory and credit are free afterwards."""
    data = os.urandom(9 * MIB + 5)
    await backup_image(front, T1, data)
    await front.settled()
    assert list(front.store.closed.values()) == [None]
    assert front.store.shared_puts == (3 if front.arena.region else 0)
    changed = data[: 4 * MIB] + os.urandom(4 * MIB) + data[8 * MIB :]
    await backup_image(front, T2, changed)
    assert front.store.statistics is not None and front.store.statistics.count == 1
    assert await restored(front, T1) == data
    assert await restored(front, T2, parallel=1) == changed
    await front.settled()
    assert front.pool.used == 0
    assert front.arena.free_bytes == len(front.arena.memory)


async def test_preface_in_the_packet_of_the_upgrade(front):
    """Every byte behind the upgrade request belongs to HTTP/2: 500 times, several at once, none lost."""
    turn = asyncio.Semaphore(8)

    async def one(number: int) -> None:
        async with turn:
            session = await BackupSession.open(front.endpoint, front.token, snapshot(T1, f"p{number}"), eager=True)
            assert await asyncio.wait_for(session.previous_backup_time(), 20) is None
            await session.close(abort=number % 2 == 0)

    await asyncio.gather(*(one(number) for number in range(500)))
    await front.settled()
    assert front.pool.used == 0


async def test_upgrade_as_a_later_request(front):
    """A refused upgrade and another request come first; the connection goes on after each."""
    connection = await Connection.open(front.endpoint)
    for _ in range(2):
        answer = await connection.request(
            "GET", f"//api2/json/backup?{QUERY}&foo=1", [*front.token.headers(), *UPGRADE]
        )
        assert answer.status == 400 and b"'foo'" in answer.body
    session = await BackupSession.open(front.endpoint, front.token, snapshot(), connection=connection)
    assert await session.previous_backup_time() is None
    await session.close()


@pytest.mark.parametrize(
    ("target", "headers", "who", "status", "text"),
    [
        (f"backup?{QUERY}", UPGRADE, None, 401, "authentication failed"),
        (f"backup?{QUERY}", UPGRADE, "nobody", 403, "missing permissions 'Datastore.Backup' on '/datastore/store1'"),
        (f"backup?{QUERY}", [], "nobody", 403, "missing permissions 'Datastore.Backup' on '/datastore/store1'"),
        (f"backup?{QUERY}", [], "token", 400, "missing Upgrade header"),
        (f"backup?{QUERY}", ["upgrade: proxmox-backup-reader-protocol-v1"], "token", 400, "invalid protocol name"),
        (f"backup?{QUERY}", ["upgrade: Proxmox-Backup-Protocol-V1"], "token", 400, "invalid protocol name"),
        (f"backup?{QUERY.replace('store1', 'nosuch')}", [], "token", 400, "no such datastore 'nosuch'"),
        (f"backup?{QUERY}&backup-time=1", UPGRADE, "token", 400, "duplicate parameter"),
        (f"reader?{QUERY}", [], "nobody", 400, "no permissions on /datastore/store1"),
        (f"reader?{QUERY}", [UPGRADE[0], "upgrade: proxmox-backup-reader-protocol-v1"], "token", 400, "does not exist"),
        (f"backup?{QUERY}&x={'y' * 3072}", UPGRADE, "token", 414, ""),
    ],
)
async def test_refused_upgrades(front, target, headers, who, status, text):
    connection = await Connection.open(front.endpoint)
    own = {"token": front.token, "nobody": front.nobody}.get(who)
    lines = [FORM, *(own.headers() if own else []), *headers]
    answer = await connection.request("GET", f"//api2/json/{target}", lines)
    assert (answer.status, text in answer.body.decode()) == (status, True), answer
    await connection.close()


async def test_refusal_below_extjs(front):
    connection = await Connection.open(front.endpoint)
    answer = await connection.request("GET", f"/api2/extjs/backup?{QUERY}", front.token.headers())
    assert answer.status == 200 and b'"status": 400' in answer.body and b"missing Upgrade header" in answer.body
    await connection.close()


@pytest.mark.parametrize("abort", [False, True])
async def test_disconnect_before_finish_closes_the_session_at_once(front, abort):
    session = await BackupSession.open(front.endpoint, front.token, snapshot())
    wid = await session.create("dynamic", "a.didx")
    assert wid == 1
    started = time.monotonic()
    await session.close(abort=abort)
    await eventually(lambda: front.store.closed)
    assert time.monotonic() - started < 1
    assert "not called" in next(iter(front.store.closed.values()))
    await backup_image(front, T1, b"x" * 100)


async def test_disconnect_in_the_middle_of_bodies_frees_everything(front):
    front.store.delay = 0.2
    session = await BackupSession.open(front.endpoint, front.token, snapshot())
    wid = await session.create("fixed", "a.img.fidx", 64 * MIB)
    for _ in range(12):
        data = os.urandom(4 * MIB)
        body = blob.encode(data)
        query = {"digest": hashlib.sha256(data).hexdigest(), "encoded-size": len(body), "size": 4 * MIB, "wid": wid}
        session.submit("POST", "/fixed_chunk", query, body=body).add_done_callback(
            lambda f: f.cancelled() or f.exception()
        )
    await asyncio.sleep(0.1)
    await session.close(abort=True)
    await front.settled()
    await eventually(lambda: front.arena.free_bytes == len(front.arena.memory))
    assert front.pool.used == 0


async def test_uploads_run_at_the_same_time(front):
    """Sixteen chunks of which each takes 0.3 s."""
    front.store.delay = 0.3
    session = await BackupSession.open(front.endpoint, front.token, snapshot())
    wid = await session.create("dynamic", "a.didx")
    started = time.monotonic()
    pending = []
    for number in range(16):
        data = bytes([number]) * 1000
        body = blob.encode(data)
        query = {"digest": hashlib.sha256(data).hexdigest(), "encoded-size": len(body), "size": 1000, "wid": wid}
        pending.append(session.submit("POST", "/dynamic_chunk", query, body=body))
    answers = await asyncio.gather(*pending)
    assert [answer.status for answer in answers] == [200] * 16
    assert time.monotonic() - started < 3
    await session.close()


async def test_wrong_bodies_are_refused_and_the_session_goes_on(front):
    session = await BackupSession.open(front.endpoint, front.token, snapshot())
    wid = await session.create("dynamic", "a.didx")
    data = os.urandom(200_000)
    body = blob.encode(data)
    good = {"digest": hashlib.sha256(data).hexdigest(), "encoded-size": len(body), "size": len(data), "wid": wid}
    for change, sent in (
        ({"encoded-size": len(body) - 1}, body),
        ({"encoded-size": 20}, body),
        ({"encoded-size": len(body) + 1}, body),
        ({"digest": "0" * 64}, body),
        ({"size": 5}, body),
        ({"wid": 7}, body),
        ({"wid": 0}, body),
    ):
        answer = await session.submit("POST", "/dynamic_chunk", {**good, **change}, body=sent)
        assert answer.status == 400 and answer.body, change
    answer = await session.submit("POST", "/dynamic_chunk", good, body=body)
    assert answer.status == 200
    large = await session.submit("GET", "/previous_backup_time?" + "x" * 20_000)
    assert large.status == 431 and not large.body
    assert await session.previous_backup_time() is None
    assert session.connection.lost is None
    await session.close()


async def test_chunk_that_is_not_in_an_index(front):
    await backup_image(front, T1, os.urandom(5 * MIB))
    session = await ReaderSession.open(front.endpoint, front.token, snapshot())
    with pytest.raises(Refused) as refused:
        await session.chunk(next(iter(front.store.chunks)))
    assert refused.value.status == 401
    with pytest.raises(Refused) as refused:
        await session.download("client.log.blob")
    assert refused.value.status == 404
    await session.close()
    await front.settled()
    assert list(front.store.closed.values())[-1] is None


async def test_encrypted_chunk_that_is_longer_than_announced(front):
    """Its size is taken on trust; reading it does not cost all others the shared memory."""
    digest, body = os.urandom(32), blob.assemble(blob.BlobKind.ENCRYPTED, bytes(3000), bytes(16), bytes(16))
    async with await Backup.open(front.endpoint, front.token, snapshot()) as backup:
        session = backup.session
        wid = await session.create("dynamic", "a.pxar.didx")
        await session.upload_chunk("dynamic", wid, digest, 5, body)
        await session.append("dynamic", wid, [digest], [0])
        csum = hashlib.sha256((5).to_bytes(8, "little") + digest).digest()
        await session.close_index("dynamic", wid, 1, 5, csum)
        await backup.blob("a.conf.blob", b"")
        await backup.finish()
    async with await ReaderSession.open(front.endpoint, front.token, snapshot()) as reader:
        await reader.download("a.pxar.didx")
        assert await reader.chunk(digest) == body
    assert front.arena.region is not None


async def test_stop_request_and_lost_lease_end_the_connection(front):
    first = await BackupSession.open(front.endpoint, front.token, snapshot(T1, "one"))
    second = await BackupSession.open(front.endpoint, front.token, snapshot(T1, "two"))
    ids = list(front.store.open)
    front.store.stop_upids.add(f"UPID:{ids[0]}")
    front.store.lost.add(ids[1])
    await front.service.registry.renew()
    await eventually(lambda: first.connection.lost and second.connection.lost)
    await front.settled()
    assert front.store.closed == {ids[0]: "task aborted", ids[1]: "session lost"}


async def test_lost_session_answers_and_hangs_up(front):
    session = await BackupSession.open(front.endpoint, front.token, snapshot())
    front.store.open.clear()
    answer = await session.submit("POST", "/blob", {"encoded-size": 12, "file-name": "a.blob"}, body=blob.encode(b""))
    assert answer.status == 400
    await eventually(lambda: session.connection.lost)


async def test_store_that_is_away(front):
    """503 for the request; the session goes on when the store is back."""
    session = await BackupSession.open(front.endpoint, front.token, snapshot())
    original = front.store.put_blob

    async def away(*_):
        raise e.Unavailable("chunkstore is away")

    front.store.put_blob = away
    query = {"encoded-size": 12, "file-name": "a.blob"}
    assert (await session.submit("POST", "/blob", query, body=blob.encode(b""))).status == 503
    front.store.put_blob = original
    assert (await session.submit("POST", "/blob", query, body=blob.encode(b""))).status == 200
    await session.close()


async def test_no_new_sessions_while_draining(front):
    front.service.registry.draining = True
    with pytest.raises(Refused) as refused:
        await BackupSession.open(front.endpoint, front.token, snapshot())
    assert refused.value.status == 503


async def test_task_log_has_the_events_of_a_backup(front):
    await backup_image(front, T1, os.urandom(5 * MIB))
    await front.settled()
    text = "\n".join(front.store.lines)
    for part in (
        "starting new backup on datastore 'store1' from 127.0.0.1",
        "Upload statistics for 'disk.img.fidx'",
        "add blob",
        "successfully finished backup",
    ):
        assert part in text


async def test_bytes_that_are_no_http2(front):
    connection = await Connection.open(front.endpoint)
    answer = await connection.request("GET", f"//api2/json/backup?{QUERY}", [*front.token.headers(), *UPGRADE])
    assert answer.status == 101
    connection.send_raw(b"EHLO example.org\r\n" + bytes(200))
    while await asyncio.wait_for(connection.reader.read(65536), 10):
        pass
    await front.settled()
    await connection.close()


async def test_goaway_is_answered_and_the_connection_closed(front):
    connection = await Connection.open(front.endpoint)
    await connection.request("GET", f"//api2/json/backup?{QUERY}", [*front.token.headers(), *UPGRADE])
    connection.send_raw(CLIENT_START + bytes.fromhex("000008070000000000" + "0000000000000000"))
    received = b""
    while piece := await asyncio.wait_for(connection.reader.read(65536), 10):
        received += piece
    assert received.endswith(bytes.fromhex("000008070000000000" + "0000000000000000"))
    await connection.close()


async def test_parallel_sessions_of_one_group(front):
    session = await BackupSession.open(front.endpoint, front.token, snapshot())
    with pytest.raises(Refused) as refused:
        await BackupSession.open(front.endpoint, front.token, snapshot(T2))
    assert refused.value.status == 400
    await session.close()
    with pytest.raises((Lost, RuntimeError)):
        await session.previous_backup_time()


async def test_end_of_the_process(front):
    """Running sessions may finish until the limit; then they are closed and their snapshots removed."""
    front.service.registry._drain_seconds = 0.3
    kept = await Backup.open(front.endpoint, front.token, snapshot(T1, "kept"))
    lost = await BackupSession.open(front.endpoint, front.token, snapshot(T1, "lost"))
    stopping = asyncio.create_task(front.service.registry.stop())
    await asyncio.sleep(0.05)
    assert not front.service.registry.ready()
    await kept.blob("a.blob", b"x")
    await kept.finish()
    await stopping
    assert sorted(map(str, front.store.closed.values())) == ["None", "server is shutting down"]
    await eventually(lambda: lost.connection.lost)


async def test_client_that_leaves_while_its_session_opens(front):
    """The session is closed as soon as it is open; the group is free again."""
    front.store.open_delay = 0.3
    connection = await Connection.open(front.endpoint)
    head = f"GET //api2/json/backup?{QUERY} HTTP/1.1\r\n" + "\r\n".join([*front.token.headers(), *UPGRADE, "", ""])
    connection.send_raw(head.encode())
    await asyncio.sleep(0.1)
    await connection.close(abort=True)
    await eventually(lambda: front.store.closed)
    assert not front.store.open and not len(front.service.registry)
