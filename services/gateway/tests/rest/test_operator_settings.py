"""What an operator switches on: retention locks and webhooks to internal addresses, on a product of its own."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
from testkit.client import Backup
from testkit.product import ProductServer
from testkit.world import create_tenant, eventually

SECRET = "key of the receiver"


class Receiver(HTTPServer):
    """A real HTTP server that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.headers["X-Signature-256"], body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


def test_locks_and_webhooks(own_product: Callable[..., ProductServer]) -> None:
    product = own_product({"PBS_WORM_RETENTION_DAYS": "30", "PBS_WEBHOOK_ALLOW_INTERNAL": "true"})
    receiver = Receiver()
    try:
        asyncio.run(play(product, receiver))
    finally:
        receiver.shutdown()
        receiver.server_close()


async def play(product: ProductServer, receiver: Receiver) -> None:
    tenant = await create_tenant(product)
    token = tenant.admin.credential
    headers = {"Authorization": f"PBSAPIToken={token.auth_id}:{token.secret}"}
    address = f"http://127.0.0.1:{receiver.server_port}/hook"
    async with httpx.AsyncClient(
        base_url=f"{product.url}/api2/json/", verify=False, headers=headers, timeout=60
    ) as api:
        hook = {"url": address, "secret": SECRET, "event_filter": ["backup_created"]}
        made = (await api.post("billing/webhooks", json=hook)).json()["data"]
        assert SECRET not in json.dumps(made)

        now = int(time.time())
        snapshot = tenant.snapshot("h1", backup_time=now)
        async with await Backup.open(tenant.endpoint, token, snapshot) as backup:
            await backup.blob("a.conf.blob", b"content")
            await backup.finish()

        await eventually(lambda: _received(receiver), 30, "the delivery of backup_created")
        seal, body = receiver.got[0]
        assert seal == "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        event = json.loads(body)
        assert (event["tenant_id"], event["event_type"]) == (tenant.id, "backup_created")
        assert event["metadata"]["store"] == "default"

        async def delivered() -> bool:
            found = (await api.get(f"billing/webhooks/{made['id']}")).json()["data"]
            return (found["delivered"], found["pending"], found["last_status"]) == (1, 0, "204")

        await eventually(delivered, 10, "the webhook's state")
        await check_lock(api, now)
    await tenant.close()


async def _received(receiver: Receiver) -> bool:
    return bool(receiver.got)


async def check_lock(api: httpx.AsyncClient, now: int) -> None:
    """The only snapshot cannot go by any call."""
    base, name = "admin/datastore/default", {"backup-type": "host", "backup-id": "h1"}
    one = {**name, "backup-time": str(now)}
    report = (await api.get("compliance/report")).json()["data"]
    (kept,) = report["snapshots"]
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + 30 * 86_400))
    assert (kept["protected"], kept["retain-until"]) == (True, until)
    refused = await api.delete(f"{base}/snapshots", params=one)
    assert (refused.status_code, refused.text) == (
        400,
        "failed to delete snapshot - cannot remove protected snapshot",
    )
    assert (await api.delete(f"{base}/groups", params=name)).status_code == 400
    freed = await api.put(f"{base}/protected", params={**one, "protected": "0"})
    assert freed.status_code == 400 and until in freed.text
    verdicts = (await api.post(f"{base}/prune", json={**name, "keep-last": 1})).json()["data"]
    assert [verdict["keep"] for verdict in verdicts] == [True]
    whole = await api.delete("config/datastore/default", params={"destroy-data": "1"})
    assert whole.status_code == 400 and "must be retained" in whole.text
    assert len((await api.get(f"{base}/snapshots")).json()["data"]) == 1
