"""Clients that are not the stock one: what they send differently works all the same (wire-protocol 6, rest-api B)."""

import asyncio
import hashlib
import json
import random
from urllib.parse import quote

import pytest
from testkit.client import T2, Answer, Backup, BackupSession, Connection, Refused, Restore
from testkit.client.codec import PlainCodec
from testkit.client.connection import FORM, JSON, OCTETS, data_of, encode_query
from testkit.client.http2 import PING, RST_STREAM, frame
from testkit.world import Tenant

from pbs_cloud.formats.manifest import BackupManifest, CryptMode, FileEntry
from pbs_cloud.formats.names import BackupType

CHUNK = 4 << 20
CODEC = PlainCodec()


async def _raw(tenant: Tenant, head: list[str], body: bytes = b"") -> Answer:
    """One HTTP/1.1 request exactly as given, on a connection of its own."""
    connection = await Connection.open(tenant.endpoint)
    try:
        connection.writer.write("\r\n".join([*head, "", ""]).encode() + body)
        return await asyncio.wait_for(connection._read_answer(head[0].split()[0]), 30)
    finally:
        await connection.close()


async def test_no_host_and_any_number_of_slashes(tenant: Tenant) -> None:
    """The Go client sends no Host header; the stock client two slashes, others one or three."""
    credential = tenant.admin.credential.headers()
    for slashes in ("/", "//", "///"):
        answer = await _raw(tenant, [f"GET {slashes}api2/json/version HTTP/1.1", *credential])
        assert json.loads(answer.body)["data"]["release"].isdigit()
    for slash in ("/", "//"):
        where = tenant.snapshot(f"h{len(slash)}").parameters()
        query = encode_query({**where, "store": tenant.store})
        upgrade = [f"GET {slash}api2/json/backup?{query} HTTP/1.1", *credential]
        upgrade += ["Connection: Upgrade", "Upgrade: proxmox-backup-protocol-v1"]
        answer = await _raw(tenant, upgrade)
        assert (answer.status, answer.headers["upgrade"]) == (101, "proxmox-backup-protocol-v1")


async def test_parameters_as_query_form_or_json(tenant: Tenant) -> None:
    """The same call with its parameters in each place; booleans as words and as digits, in JSON as such."""
    async with await Backup.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot()) as backup:
        await backup.blob("a.conf.blob", b"x")
        await backup.finish()
    path, where = f"/api2/json{tenant.base}/protected", tenant.snapshot().parameters()
    read = f"{path}?{encode_query(where)}"
    credential = tenant.admin.credential.headers()
    for value, expected in ((1, True), (0, False), ("true", True), ("false", False), ("yes", True), ("off", False)):
        parameters = {**where, "protected": value}
        form = encode_query(parameters).encode()
        asked = [f"PUT {path}?{form.decode()} HTTP/1.1", FORM, *credential, "content-length: 0"]
        as_json = json.dumps({**where, "protected": expected}).encode()
        bodies = {
            b"": asked,
            form: [f"PUT {path} HTTP/1.1", FORM, *credential, f"content-length: {len(form)}"],
            as_json: [f"PUT {path} HTTP/1.1", JSON, *credential, f"content-length: {len(as_json)}"],
        }
        for body, head in bodies.items():
            answer = await _raw(tenant, head, body)
            assert answer.status == 200, (value, body, answer.body)
            shown = await _raw(tenant, [f"GET {read} HTTP/1.1", *credential])
            assert json.loads(shown.body)["data"] is expected, (value, body)
            other = encode_query({**where, "protected": not expected}).encode()
            head = [f"PUT {path} HTTP/1.1", FORM, *credential, f"content-length: {len(other)}"]
            assert (await _raw(tenant, head, other)).status == 200


async def test_session_calls_with_parameters_in_any_place(tenant: Tenant) -> None:
    """Index calls of a session with a form and with a JSON body instead of the query."""
    data = random.Random(1).randbytes(5000)
    digest = hashlib.sha256(data).digest()
    async with await BackupSession.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot()) as session:
        created = json.dumps({"archive-name": "a.img.fidx", "size": 5000}).encode()
        wid = data_of(await session.submit("POST", "/fixed_index", None, JSON, created), "fixed_index")
        await session.upload_chunk("fixed", wid, digest, 5000, CODEC.encode(data))
        form = encode_query({"wid": wid, "digest-list": [digest.hex()], "offset-list": [0]}).encode()
        data_of(await session.submit("PUT", "/fixed_index", None, FORM, form), "append")
        csum = hashlib.sha256(digest).hexdigest()
        closed = encode_query({"chunk-count": 1, "csum": csum, "size": 5000, "wid": wid}).encode()
        data_of(await session.submit("POST", "/fixed_close", None, FORM, closed), "close")
        await _finish(session, {"a.img.fidx": (5000, hashlib.sha256(digest).digest())})
    async with await Restore.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot()) as restore:
        assert await restore.archive("a.img.fidx") == data


async def test_entries_in_completion_order_and_a_second_close(tenant: Tenant) -> None:
    """QEMU adds entries of an image as uploads complete; a writer that is closed again is an error, no more."""
    pieces = [random.Random(number).randbytes(CHUNK if number < 5 else 999) for number in range(6)]
    digests = [hashlib.sha256(piece).digest() for piece in pieces]
    size, csum = sum(map(len, pieces)), hashlib.sha256(b"".join(digests)).digest()
    async with await BackupSession.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot()) as session:
        wid = await session.create("fixed", "disk.img.fidx", size)
        for number in (3, 5, 0, 4, 1, 2):
            piece = pieces[number]
            await session.upload_chunk("fixed", wid, digests[number], len(piece), CODEC.encode(piece))
            await session.append("fixed", wid, [digests[number]], [number * CHUNK])
        await session.close_index("fixed", wid, len(pieces), size, csum)
        with pytest.raises(Refused) as refused:
            await session.close_index("fixed", wid, len(pieces), size, csum)
        assert refused.value.status == 400
        await _finish(session, {"disk.img.fidx": (size, csum)})
    async with await Restore.open(tenant.endpoint, tenant.admin.credential, tenant.snapshot()) as restore:
        assert await restore.archive("disk.img.fidx") == b"".join(pieces)


async def test_ping_and_reset_in_the_middle_of_uploads(tenant: Tenant) -> None:
    """A PING is answered, a request that is reset is forgotten, and the other uploads go on."""
    pieces = [random.Random(number).randbytes(CHUNK) for number in range(4)]
    digests = [hashlib.sha256(piece).digest() for piece in pieces]
    csum = hashlib.sha256(b"".join(digests)).digest()
    where = tenant.snapshot().at(T2)
    async with await BackupSession.open(tenant.endpoint, tenant.admin.credential, where) as session:
        wid = await session.create("fixed", "disk.img.fidx", 4 * CHUNK)
        uploads = []
        for number, piece in enumerate(pieces):
            lost = random.Random(100 + number).randbytes(CHUNK)
            query = {"digest": hashlib.sha256(lost).hexdigest(), "encoded-size": CHUNK + 12, "size": CHUNK, "wid": wid}
            dropped = session.submit("POST", "/fixed_chunk", query, OCTETS, CODEC.encode(lost)[:1000])
            stream = max(session.connection._answers)
            session.connection.send_raw(frame(RST_STREAM, 0, stream, (8).to_bytes(4, "big")))
            session.connection.send_raw(frame(PING, 0, 0, b"12345678"))
            dropped.cancel()
            uploads.append(session.send_chunk("fixed", wid, digests[number], CHUNK, CODEC.encode(piece)))
        for number, upload in enumerate(uploads):
            assert data_of(await upload, "fixed_chunk") == digests[number].hex()
        await session.append("fixed", wid, digests, [number * CHUNK for number in range(4)])
        await session.close_index("fixed", wid, 4, 4 * CHUNK, csum)
        await _finish(session, {"disk.img.fidx": (4 * CHUNK, csum)})
    async with await Restore.open(tenant.endpoint, tenant.admin.credential, where) as restore:
        assert await restore.archive("disk.img.fidx", parallel=4) == b"".join(pieces)


async def test_ticket_of_a_web_client(tenant: Tenant) -> None:
    """Login with a form body, then the ticket as a cookie: reading needs no CSRF token, writing does."""
    body = encode_query({"username": f"admin@{tenant.realm}", "password": tenant.password}).encode()
    login = ["POST /api2/json/access/ticket HTTP/1.1", FORM, f"content-length: {len(body)}"]
    answer = json.loads((await _raw(tenant, login, body)).body)["data"]
    cookie = f"Cookie: PBSAuthCookie={quote(answer['ticket'], safe='')}"
    assert (await _raw(tenant, [f"GET /api2/json{tenant.base}/status HTTP/1.1", cookie])).status == 200
    new = b"name=web"
    write = [f"POST /api2/json{tenant.base}/namespace HTTP/1.1", FORM, cookie, f"content-length: {len(new)}"]
    assert (await _raw(tenant, write, new)).status == 401
    assert (await _raw(tenant, [*write, f"CSRFPreventionToken: {answer['CSRFPreventionToken']}"], new)).status == 200
    gone = encode_query({"ns": "web"})
    remove = [f"DELETE /api2/json{tenant.base}/namespace?{gone} HTTP/1.1", cookie]
    assert (await _raw(tenant, [*remove, f"CSRFPreventionToken: {answer['CSRFPreventionToken']}"])).status == 200


async def _finish(session: BackupSession, files: dict[str, tuple[int, bytes]]) -> None:
    where = session.snapshot
    entries = [FileEntry(name, size, csum, CryptMode.NONE) for name, (size, csum) in files.items()]
    manifest = BackupManifest(BackupType(where.backup_type), where.backup_id, where.backup_time, entries, {})
    await session.upload_blob("index.json.blob", manifest.to_blob())
    await session.finish()
