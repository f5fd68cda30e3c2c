"""Webhooks against a real receiver: signatures, repetitions, replicas, dead receivers, forbidden addresses."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pbs_cloud.billing.metering import count_event
from pbs_cloud.billing.sealed import SEALED
from pbs_cloud.billing.service import BillingService
from pbs_cloud.billing.webhooks import queue
from pbs_cloud.billing.webhooks.addresses import is_public, parse_url
from pbs_cloud.billing.webhooks.delivery import WebhookDelivery
from pbs_cloud.billing.webhooks.sending import DeliveryFailed, Sender
from pbs_cloud.billing.webhooks.service import MOST_WEBHOOKS, Webhooks
from pbs_cloud.contracts.context import AclEntry, CallContext, Caller
from pbs_cloud.contracts.errors import Conflict, InvalidArgument, NotFound, PermissionDenied
from pbs_cloud.contracts.events import Event, EventType
from pbs_cloud.contracts.webhooks import Webhook, WebhookFields
from pbs_cloud.runtime.clock import Clock
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.resealing import reseal
from pbs_cloud.runtime.secret_box import SecretBox
from pbs_cloud.runtime.secret_keys import put_new_key_first
from pbs_cloud.runtime.settings import Settings

CREATED = EventType.BACKUP_CREATED
SECRET = "key of the receiver"
TRUST = ssl.create_default_context()


@dataclass
class Receiver:
    """A real HTTP server; ``answers`` gives the status of each request, ``hangs`` lets them wait."""

    answers: Callable[[int], int] = lambda _: 204
    hangs: bool = False
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Receiver]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?a=1"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        body = await reader.readexactly(int(headers["Content-Length"]))
        self.requests.append(({"line": lines[0], **headers}, body))
        if not self.hangs:
            writer.write(f"HTTP/1.1 {self.answers(len(self.requests))} X\r\n\r\n".encode())
            await writer.drain()
            writer.close()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.requests]


@dataclass
class World:
    """A database, the service, and as many replicas as are started."""

    database: Database
    box: SecretBox
    replicas: list[WebhookDelivery] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.webhooks = Webhooks(self.database, self.box, allow_internal=True)

    async def deliver(self, count: int = 1, sender: Sender | None = None) -> None:
        """Start replicas that retry fast."""
        for _ in range(count):
            sending = sender or Sender(allow_internal=True, tls=TRUST)
            made = WebhookDelivery(self.database, sending, self.box, retry_seconds=(0.1, 0.2), poll_seconds=0.05)
            self.replicas.append(made)
            await made.start()

    async def happen(self, kind: EventType = CREATED, tenant: str = "acme", **more: str) -> Event:
        event = Event(kind, tenant, 1_772_416_930, 734, {"store": "tank", **more})
        async with self.database.system() as connection:
            await count_event(connection, event)
        return event

    async def make(self, url: str, tenant: str = "acme", **fields: Any) -> Webhook:
        return await self.webhooks.create(admin(tenant), WebhookFields(url=url, **fields))

    async def look(self, made: Webhook, tenant: str = "acme") -> Webhook:
        return await self.webhooks.get(admin(tenant), made.id)


def admin(tenant: str = "acme", role: str = "Admin") -> CallContext:
    return CallContext(Caller(tenant, "eve@acme", (AclEntry("/", "eve@acme", role),)))


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


@pytest.fixture
async def world(service_database: Callable[[str], Awaitable[str]], tmp_path: Path) -> AsyncIterator[World]:
    database = Database(await service_database("billing"), schema="billing", application_name="test")
    await database.start()
    made = World(database, SecretBox(Settings(data_dir=tmp_path)))
    yield made
    for replica in made.replicas:
        await replica.stop()
    await database.stop()


async def test_a_delivery_is_signed_and_complete(world: World) -> None:
    async with Receiver().serving() as receiver:
        made = await world.make(receiver.url, secret=SECRET, headers={"Authorization": "Bearer abc"})
        event = await world.happen(snapshot="vm/100/2026-03-02T02:00:04Z")
        await world.deliver()
        await until(lambda: receiver.requests)
        headers, body = receiver.requests[0]
        seal = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        assert headers["X-Signature-256"] == f"sha256={seal}"
        assert (headers["line"], headers["Content-Type"]) == ("POST /hook?a=1 HTTP/1.1", "application/json")
        assert headers["Authorization"] == "Bearer abc"
        assert json.loads(body) == {
            "id": event.id,
            "tenant_id": "acme",
            "event_type": "backup_created",
            "timestamp": "2026-03-02T02:02:10Z",
            "bytes": 734,
            "metadata": {"store": "tank", "snapshot": "vm/100/2026-03-02T02:00:04Z"},
        }
        await until(lambda: _is(world, made, delivered=1, pending=0, last_status="204"))


async def _is(world: World, made: Webhook, **expected: object) -> bool:
    found = await world.look(made)
    return all(getattr(found, name) == value for name, value in expected.items())


async def test_secrets_are_stored_encrypted_and_never_shown(world: World) -> None:
    made = await world.make("https://example.com/", secret=SECRET, headers={"X-Key": "private-value"})
    assert (made.has_secret, made.header_names) == (True, ("X-Key",))
    async with world.database.system() as connection:
        row = await connection.fetchrow("SELECT * FROM webhook")
    stored = str(dict(row)).encode() + row["secret"] + row["headers"]
    assert SECRET.encode() not in stored and b"private-value" not in stored
    changed = await world.webhooks.update(admin(), made.id, WebhookFields(secret="", headers={}))
    assert (changed.has_secret, changed.header_names) == (False, ())


async def test_filters_and_tenants(world: World) -> None:
    async with Receiver().serving() as receiver, Receiver().serving() as other:
        await world.make(receiver.url, event_filter=("backup_deleted", "api_request"))
        await world.make(other.url, "globex")
        await world.happen()
        wanted = await world.happen(EventType.BACKUP_DELETED)
        foreign = await world.happen(tenant="globex")
        await world.happen(EventType.TASK_STOP_REQUESTED)
        await world.deliver()
        await until(lambda: receiver.requests and other.requests)
        await asyncio.sleep(0.2)
        assert [event["id"] for event in receiver.events] == [wanted.id]
        assert [event["id"] for event in other.events] == [foreign.id]


async def test_a_failed_delivery_is_repeated_with_the_same_id(world: World) -> None:
    async with Receiver(answers=lambda number: 500 if number < 3 else 200).serving() as receiver:
        made = await world.make(receiver.url, secret=SECRET)
        event = await world.happen()
        await world.deliver()
        await until(lambda: _is(world, made, delivered=1, failures=0, dropped=0))
    assert [found["id"] for found in receiver.events] == [event.id] * 3
    assert len({headers["X-Signature-256"] for headers, _ in receiver.requests}) == 1


async def test_retries_end_and_are_counted(world: World) -> None:
    async with Receiver(answers=lambda _: 302).serving() as receiver:
        made = await world.make(receiver.url, max_retries=1)
        await world.happen()
        await world.deliver()
        await until(lambda: _is(world, made, dropped=1, pending=0, delivered=0, last_status="status 302"))
        assert len(receiver.requests) == 2


async def test_several_replicas_deliver_each_event_once_and_in_order(world: World) -> None:
    async with Receiver().serving() as receiver:
        made = await world.make(receiver.url)
        await world.deliver(3)
        events = [await world.happen() for _ in range(40)]
        await until(lambda: _is(world, made, delivered=40))
    assert [found["id"] for found in receiver.events] == [event.id for event in events]


async def test_a_dead_receiver_rests_and_delays_nobody(world: World) -> None:
    async with Receiver(hangs=True).serving() as dead, Receiver().serving() as alive:
        stuck = await world.make(dead.url, max_retries=20)
        quick = await world.make(alive.url, "globex")
        for _ in range(5):
            await world.happen()
            await world.happen(tenant="globex")
        await world.deliver()
        await until(lambda: len(alive.requests) == 5, 3)
        assert len(dead.requests) == 1, "one at a time"
        assert (await world.look(stuck)).pending == 5
        assert (await world.look(quick, "globex")).pending == 0
    refusing = await world.make("http://127.0.0.1:9/", "initech", max_retries=20)
    for _ in range(5):
        await world.happen(tenant="initech")
    await until(lambda: _rests(world, refusing))
    found = await world.look(refusing, "initech")
    assert (found.last_status, found.dropped) == ("the connection failed", 0)
    assert found.waiting[0].last_error == "the connection failed"


async def _rests(world: World, made: Webhook) -> bool:
    found = await world.look(made, "initech")
    return found.failures >= 3 and found.paused_until is not None


async def test_the_queue_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MOST_PENDING", 3)
    made = await world.make("http://127.0.0.1:9/")
    for _ in range(5):
        await world.happen()
    assert await _is(world, made, pending=3, dropped=2)
    async with world.database.system() as connection:
        await connection.execute("UPDATE webhook_delivery SET created_at = created_at - make_interval(days => 8)")
        assert await queue.forget_old(connection) == 3
    assert await _is(world, made, pending=0, dropped=5)


async def test_an_event_counted_twice_is_queued_once(world: World) -> None:
    made = await world.make("http://127.0.0.1:9/")
    event = Event(CREATED, "acme", 1, 1, {"store": "tank"})
    for _ in range(2):
        async with world.database.system() as connection:
            await count_event(connection, event)
    assert (await world.look(made)).pending == 1


async def test_api_requests_are_one_event_a_minute(world: World) -> None:
    class At(Clock):
        now = 1_772_416_930.0

        def time(self) -> float:
            return self.now

    made = await world.make("http://127.0.0.1:9/", event_filter=("api_request",))
    service = BillingService(world.database, At())
    for _ in range(3):
        await service.add_api_requests({"acme": 7, "globex": 5})
    async with world.database.system() as connection:
        assert await queue.close_minutes(connection, 1_772_416_920 - 60) == 0
        assert await queue.close_minutes(connection, 1_772_416_980) == 1, "globex has no webhook"
        assert await queue.close_minutes(connection, 1_772_416_980) == 0
        body = json.loads(await connection.fetchval("SELECT body FROM webhook_delivery"))
    assert (body["event_type"], body["bytes"], body["metadata"]) == ("api_request", 0, {"requests": "21"})
    assert (await world.look(made)).pending == 1


INTERNAL = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "ff02::1",
    "fec0::1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "2002:7f00:1::",
]


@pytest.mark.parametrize("address", INTERNAL)
def test_internal_addresses(address: str) -> None:
    assert not is_public(address)


def test_public_addresses() -> None:
    assert all(is_public(address) for address in ("1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1"))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "https://",
        "https://u:p@example.com/",
        "https://a b/",
        "x",
        "https://example.com:99999/",
        "https://exämple.com/",
        "https://example.com/\n",
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^url: "):
        parse_url(url, allow_internal=False)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "0x7f000001", "2130706433", "127.1", "169.254.169.254", "10.0.0.1"]
)
async def test_internal_hosts_are_refused_in_whatever_form(world: World, host: str) -> None:
    strict = Webhooks(world.database, world.box, allow_internal=False)
    with pytest.raises(InvalidArgument, match=r"^url: the host has no public address$"):
        await strict.create(admin(), WebhookFields(url=f"https://{host}/"))


async def test_the_address_is_judged_again_at_each_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that pointed elsewhere when the webhook was made."""
    async with Receiver().serving() as receiver:
        port = int(receiver.url.split(":")[2].split("/")[0])

        async def rebound(*_: object, **__: object) -> list[Any]:
            return [(2, 1, 6, "", ("1.1.1.1", port)), (2, 1, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", rebound, raising=False)
        with pytest.raises(DeliveryFailed, match=r"^the host has no public address$"):
            await Sender(allow_internal=False, tls=TRUST).post(f"https://hooks.example.com:{port}/", b"{}", {}, None)
        assert receiver.requests == []


async def test_rules_of_the_service(world: World) -> None:
    made = await world.make("https://example.com/")
    for work in (
        world.webhooks.list(admin(role="DatastoreAdmin")),
        world.webhooks.get(admin(role="Audit"), made.id),
        world.webhooks.create(admin(role="Audit"), WebhookFields(url="https://example.com/")),
        world.webhooks.delete(admin(role="Audit"), made.id),
    ):
        with pytest.raises(PermissionDenied):
            await work
    for missing in (made.id, str(uuid.uuid4()), "x"):
        with pytest.raises(NotFound):
            await world.webhooks.get(admin("globex"), missing)
        with pytest.raises(NotFound):
            await world.webhooks.update(admin("globex"), missing, WebhookFields(max_retries=1))
        with pytest.raises(NotFound):
            await world.webhooks.delete(admin("globex"), missing)
    for wrong in (
        WebhookFields(event_filter=("nosuch",)),
        WebhookFields(headers={"Host": "x"}),
        WebhookFields(headers={"X-A": "a\r\nX-B: c"}),
        WebhookFields(headers={"X A": "a"}),
        WebhookFields(max_retries=21),
    ):
        with pytest.raises(InvalidArgument):
            await world.webhooks.update(admin(), made.id, wrong)
    for _ in range(MOST_WEBHOOKS - 1):
        await world.make("https://example.com/")
    with pytest.raises(Conflict):
        await world.make("https://example.com/")
    await world.webhooks.delete(admin(), made.id)
    assert len(await world.webhooks.list(admin())) == MOST_WEBHOOKS - 1


async def test_everything_of_a_removed_tenant_goes(world: World) -> None:
    await world.make("http://127.0.0.1:9/")
    await world.happen()
    async with world.database.system() as connection:
        await count_event(connection, Event(EventType.TENANT_REMOVED, "acme", 1))
        assert await connection.fetchval("SELECT count(*) FROM webhook_delivery") == 0
    assert await world.webhooks.list(admin()) == ()


async def test_secrets_follow_a_new_key(world: World, tmp_path: Path) -> None:
    async with Receiver().serving() as receiver:
        await world.make(receiver.url, secret=SECRET, headers={"Authorization": "Bearer abc"})
        await world.make(receiver.url, tenant="globex")
        keys = tmp_path / "secrets.key"
        put_new_key_first(keys)
        done = await reseal(world.database, world.box, SEALED)
        assert (done.renewed, done.current, done.unreadable) == (2, 0, [])
        keys.write_text(keys.read_text().splitlines()[0])
        await world.happen()
        await world.deliver()
        await until(lambda: receiver.requests)
        headers, body = receiver.requests[0]
        seal = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        assert (headers["X-Signature-256"], headers["Authorization"]) == (f"sha256={seal}", "Bearer abc")
