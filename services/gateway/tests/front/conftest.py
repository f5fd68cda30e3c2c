"""The front of the gateway in this process: a real TLS port before a chunk store in memory."""

import asyncio
import datetime
import hashlib
import ipaddress
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from testkit.client import Endpoint, Token

from pbs_cloud.contracts import errors as e
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import Caller
from pbs_cloud.formats import blob as blobs
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.gateway.arena import Arena
from pbs_cloud.gateway.authentication import Authenticator, FailureDelays
from pbs_cloud.gateway.front.backend import BackendPool
from pbs_cloud.gateway.front.client import Service
from pbs_cloud.gateway.front.listener import Listener
from pbs_cloud.gateway.front.proxy import Proxy
from pbs_cloud.gateway.front.proxy_header import parse_networks
from pbs_cloud.gateway.front.tls import server_context
from pbs_cloud.gateway.front.upgrade import Upgrades
from pbs_cloud.gateway.http2.inflow import CreditPool
from pbs_cloud.gateway.limits import RequestLimits
from pbs_cloud.gateway.sessions.calls import Surroundings
from pbs_cloud.gateway.sessions.registry import SessionRegistry
from pbs_cloud.gateway.sessions.transfer import ChunkTransfer
from pbs_cloud.runtime.addresses import Endpoint as Address


@pytest.fixture(scope="session")
def event_loop_policy() -> uvloop.EventLoopPolicy:
    """The loop of the product."""
    return uvloop.EventLoopPolicy()


MIB = 1 << 20
REGION = b"memory of a test"
SECRET = "pbs_secret"


class MemoryStore:
    """Catalogue and chunks in memory: snapshots, sessions, and what was asked."""

    def __init__(self) -> None:
        self.memory = memoryview(bytearray())
        self.chunks: dict[bytes, bytes] = {}
        self.snapshots: dict[tuple[str, int], dict[str, bytes]] = {}
        self.open: dict[str, tuple[str, int, dict[str, bytes]]] = {}
        self.readers: dict[str, tuple[str, int]] = {}
        self.closed: dict[str, str | None] = {}
        self.lines: list[str] = []
        self.statistics: t.UploadStatistics | None = None
        self.lost: set[str] = set()
        self.stop_upids: set[str] = set()
        self.delay = 0.0
        self.shared_puts = 0
        self.open_delay = 0.0

    # --- catalogue
    async def expire_process(self, process_id: str) -> None:
        self.open.clear()

    async def list_datastores(self, ctx):
        return (t.Datastore("store1", {}),), ""

    async def open_backup(self, ctx, group, backup_time, *, benchmark, process_id):
        if not ctx.caller.superuser:
            raise e.PermissionDenied(f"missing permissions 'Datastore.Backup' on '/datastore/{group.store}'")
        if group.store != "store1":
            raise e.NotFound(f"no such datastore '{group.store}'")
        name = f"{group.ns}/{group}"
        if any(found[0] == name for found in self.open.values()):
            raise e.Locked("unable to acquire backup group lock")
        times = [time for owner, time in self.snapshots if owner == name]
        base = None
        if times:
            base = t.BaseSnapshot(max(times), tuple(self.snapshots[name, max(times)]))
            if backup_time <= base.backup_time:
                raise e.Conflict("backup timestamp is older than last backup.")
        await asyncio.sleep(self.open_delay)
        session = str(uuid.uuid4())
        self.open[session] = (name, backup_time, {})
        return t.BackupSession(session, f"UPID:{session}", 60, base)

    async def open_reader(self, ctx, snapshot, *, process_id, with_task=True):
        key = (f"{snapshot.group.ns}/{snapshot.group}", snapshot.backup_time)
        if key not in self.snapshots:
            raise e.NotFound(f"snapshot {snapshot.group} does not exist.")
        session = str(uuid.uuid4())
        self.readers[session] = key
        return t.ReaderSession(session, f"UPID:{session}", 60, ())

    async def renew_leases(self, process_id, session_ids, upids=()):
        return t.Leases(tuple(self.lost), tuple(self.stop_upids))

    async def put_blob(self, ctx, session_id, file_name, blob):
        try:
            blobs.check_crc(blob)
        except FormatError as error:
            raise e.InvalidArgument(str(error)) from None
        self._files(session_id)[file_name] = bytes(blob)

    async def close_index(self, ctx, session_id, archive_name, csum, size, pieces):
        self._files(session_id)[archive_name] = b"".join([piece async for piece in pieces])

    async def read_session_file(self, ctx, session_id, file_name):
        key = self.readers.get(session_id)
        if key is None:
            name, _, _ = self.open[session_id]
            key = (name, max(time for owner, time in self.snapshots if owner == name))
        files = self.snapshots[key]
        if file_name not in files:
            raise e.NotFound(f"no file {file_name}")
        for start in range(0, len(files[file_name]), MIB):
            yield files[file_name][start : start + MIB]

    async def finish(self, ctx, session_id, statistics):
        name, time, files = self.open[session_id]
        if "index.json.blob" not in files:
            raise e.Conflict("unable to update manifest blob")
        self.snapshots[name, time] = files
        self.statistics = statistics

    async def close_session(self, ctx, session_id, *, error=None, bytes_sent=0):
        self.open.pop(session_id, None)
        self.readers.pop(session_id, None)
        self.closed[session_id] = error

    async def append_task_log(self, ctx, upid, lines):
        self.lines.extend(lines)

    def _files(self, session_id: str) -> dict[str, bytes]:
        if session_id not in self.open:
            raise e.SessionLost("the session is over")
        return self.open[session_id][2]

    # --- chunks
    async def put_chunk(self, ctx, session_id, digest, size, blob):
        self._files(session_id)
        body = bytearray(blob)
        if self.delay:
            await asyncio.sleep(self.delay)
        try:
            kind = blobs.fix_crc_in_place(body)
            if not kind.encrypted:
                blobs.verify_plain_chunk(body, digest, size)
        except FormatError as error:
            raise e.InvalidArgument(str(error)) from None
        duplicate = digest in self.chunks
        self.chunks.setdefault(digest, bytes(body))
        return t.StoredChunk(duplicate, len(self.chunks[digest]))

    async def put_shared_chunk(self, ctx, session_id, digest, size, region, offset, length):
        assert region == REGION
        self.shared_puts += 1
        return await self.put_chunk(ctx, session_id, digest, size, self.memory[offset : offset + length])

    async def get_chunk(self, ctx, session_id, digest):
        if digest not in self.chunks:
            raise e.NotFound("no such chunk")
        return self.chunks[digest]

    async def get_shared_chunk(self, ctx, session_id, digest, region, offset, capacity):
        blob = await self.get_chunk(ctx, session_id, digest)
        if len(blob) > capacity:
            raise e.InvalidArgument(f"capacity: the object has {len(blob)} bytes", field="capacity")
        self.memory[offset : offset + len(blob)] = blob
        return len(blob)

    async def flush(self, ctx, session_id):
        self._files(session_id)


class KnownCallers:
    """Instead of the auth service: one token that may do everything, one that may do nothing."""

    async def authenticate(self, credentials, client_address=""):
        if credentials.token_secret != SECRET:
            raise e.Unauthenticated("no")
        return Caller("default", credentials.token_id, superuser="nobody" not in credentials.token_id)


class Front:
    """A running front and what it stands on."""

    def __init__(
        self, store: MemoryStore, listener: Listener, service: Service, fingerprint: str, arena: Arena
    ) -> None:
        self.store, self.listener, self.service, self.arena = store, listener, service, arena
        self.endpoint = Endpoint("127.0.0.1", listener.port, fingerprint)
        self.token = Token("root@pam!test", SECRET)
        self.nobody = Token("nobody@pam!test", SECRET)

    @property
    def pool(self) -> CreditPool:
        return self.service.pool

    async def settled(self) -> None:
        """Wait until every session is closed."""
        for _ in range(200):
            if not self.store.open and not self.store.readers and not len(self.service.registry):
                return
            await asyncio.sleep(0.01)
        raise AssertionError("sessions are still open")


def make_certificate(folder: Path) -> str:
    """A self-signed certificate in ``folder``; its fingerprint."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return hashlib.sha256(made.public_bytes(serialization.Encoding.DER)).hexdigest()


async def start_front(
    folder: Path, *, shared: bool = True, tls: bool = True, port: int = 0, proxies: tuple[str, ...] = ()
) -> Front:
    """Listen on a port of the loopback."""
    fingerprint = make_certificate(folder)
    store = MemoryStore()
    memory = memoryview(bytearray(64 * MIB))
    arena = Arena(memory, REGION if shared else None)
    store.memory = memory
    around = Surroundings(store, store, ChunkTransfer(store, arena))
    registry = SessionRegistry(store, "test/0")
    delays = FailureDelays(0.05, 0.05)
    upgrades = Upgrades(around, registry, Authenticator(KnownCallers()), RequestLimits(False), delays=delays)
    pool = CreditPool(96 * MIB, 64 * MIB)
    service = Service(Proxy(BackendPool(folder / "rest.sock")), upgrades, registry, pool)
    context = server_context(folder / "cert.pem", folder / "key.pem") if tls else None
    listener = Listener(Address("127.0.0.1", port), context, service, parse_networks(proxies))
    await registry.start()
    await listener.start()
    return Front(store, listener, service, fingerprint, arena)


@pytest.fixture
def make_front() -> Callable[..., Awaitable[Front]]:
    """`front = await make_front(folder, ...)`: for tests that need another one."""
    return start_front


@pytest.fixture
async def front(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Front]:
    """A front of this test alone; parameter ``raw``: without shared memory."""
    running = await start_front(tmp_path, shared=getattr(request, "param", "shared") == "shared")
    yield running
    await running.listener.stop()
    await running.service.registry.stop()
    running.listener.close_all()
