"""Webhooks, usage over time, second factors and realms."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from pbs_cloud.billing.sampling import UsageSampler
from pbs_cloud.billing.webhooks.delivery import WebhookDelivery
from pbs_cloud.contracts.auth import UserSettings
from pbs_cloud.contracts.errors import AlreadyExists, Conflict, InvalidArgument, NotFound
from pbs_cloud.contracts.realms import OpenidRealm
from pbs_cloud.contracts.webhooks import WebhookFields
from pbs_cloud.runtime.database import Database
from testkit.faults.acts import Act, act, fresh, reading, snapshot
from testkit.faults.acts_accounts import ROOT
from testkit.faults.world import FaultWorld
from testkit.maintenance import ADMIN

_NOWHERE = "http://127.0.0.1:9/"
_GONE = (NotFound, InvalidArgument, Conflict)


async def _hook(world: FaultWorld, url: str = _NOWHERE, **more: Any) -> str:
    return (await world.billing.create_webhook(ROOT, WebhookFields(url=url, **more))).id


async def _unhook(world: FaultWorld) -> None:
    for hook in await world.billing.list_webhooks(ROOT):
        await world.billing.delete_webhook(ROOT, hook.id)


@act
async def webhook_creation(world: FaultWorld) -> Act:
    await _unhook(world)

    async def run() -> None:
        await _hook(world, secret="secret", event_filter=("backup_created",))

    async def check() -> None:
        assert await world.billing.list_webhooks(ROOT)
        await _unhook(world)

    return Act(run, check)


@act
async def webhook_change(world: FaultWorld) -> Act:
    await _unhook(world)
    name = await _hook(world)

    async def run() -> None:
        await world.billing.update_webhook(ROOT, name, WebhookFields(max_retries=3))

    async def check() -> None:
        assert (await world.billing.get_webhook(ROOT, name)).max_retries == 3

    return Act(run, check)


@act
async def webhook_deletion(world: FaultWorld) -> Act:
    await _unhook(world)
    name = await _hook(world)

    async def run() -> None:
        await world.billing.delete_webhook(ROOT, name)

    async def check() -> None:
        assert await world.billing.list_webhooks(ROOT) == ()

    return Act(run, check, done=_GONE)


@act
async def webhook_list(world: FaultWorld) -> Act:
    await _unhook(world)
    await _hook(world, event_filter=("api_request",))

    async def run() -> Any:
        return [hook.id for hook in await world.billing.list_webhooks(ROOT)]

    return await reading(run)


@act
async def webhook_read(world: FaultWorld) -> Act:
    await _unhook(world)
    name = await _hook(world, event_filter=("api_request",))

    async def run() -> Any:
        return (await world.billing.get_webhook(ROOT, name)).id

    return await reading(run)


class _Receiver:
    """Takes deliveries; refuses the first ``refusals``."""

    def __init__(self, refusals: int) -> None:
        self.got = 0
        self.refusals = refusals

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length:")[2].split("\r\n")[0])
        await reader.readexactly(length)
        self.got += 1
        status = "500 no" if self.got <= self.refusals else "200 ok"
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    def stop(self) -> None:
        self._server.close()


async def _delivering(world: FaultWorld, refusals: int) -> Act:
    """An event reaches its receiver at least once, whatever happens on the way."""
    await _unhook(world)
    receiver = _Receiver(refusals)
    name = await _hook(world, await receiver.start(), event_filter=("backup_created",))

    async def run() -> None:
        await snapshot(world)
        async with asyncio.timeout(40):
            while receiver.got <= refusals:
                await _hurry(world)
                await asyncio.sleep(0.5)

    async def check() -> None:
        async with asyncio.timeout(40):
            while (await world.billing.get_webhook(ROOT, name)).pending:
                await _hurry(world)
                await asyncio.sleep(0.5)
        receiver.stop()
        await _unhook(world)

    return Act(run, check)


async def _hurry(world: FaultWorld) -> None:
    """Time passes: what failed is due again, and leases of the dead are over."""
    async with world.part("billing", Database).system() as connection:
        await connection.execute("UPDATE webhook_delivery SET next_attempt = clock_timestamp()")
        await connection.execute("UPDATE webhook SET paused_until = NULL, lease_until = clock_timestamp()")


@act
async def webhook_delivery(world: FaultWorld) -> Act:
    return await _delivering(world, 0)


@act
async def webhook_delivery_that_fails_first(world: FaultWorld) -> Act:
    return await _delivering(world, 1)


@act
async def webhook_that_is_given_up(world: FaultWorld) -> Act:
    """Old deliveries and minutes of API calls are dealt with, by whoever comes next."""
    await _unhook(world)
    await _hook(world, max_retries=0)
    await world.billing.report_api_requests({ADMIN.tenant_id: 2})
    await snapshot(world)
    async with world.part("billing", Database).system() as connection:
        await connection.execute("UPDATE api_minute SET minute = minute - 120")

    async def run() -> None:
        delivery: WebhookDelivery = world.part("billing", WebhookDelivery)
        async with world.part("billing", Database).system() as connection:
            await connection.execute("UPDATE webhook_delivery SET created_at = created_at - interval '90 days'")
        await delivery._clean()
        await delivery._close_minutes()
        await delivery._serve_due()
        await asyncio.sleep(0.2)

    return Act(run, background=True, check=lambda: _unhook(world))


@act
async def usage_sample(world: FaultWorld) -> Act:
    """One sample a minute; at full hours old ones go."""
    hour = (int(time.time()) // 3600 + int(fresh(""))) * 3600

    async def run() -> None:
        await world.part("billing", UsageSampler).sample(hour)

    return Act(run, background=True)


@act
async def usage_history(world: FaultWorld) -> Act:
    await world.part("billing", UsageSampler).sample(int(time.time()))

    async def run() -> Any:
        return sorted(await world.billing.get_history(ADMIN, 60, int(time.time()) - 600))

    return await reading(run)


# ---------------------------------------------------------------------------------------------------- logins


@act
async def recovery_keys(world: FaultWorld) -> Act:
    name = f"{fresh('user')}@pbs"
    await world.auth.create_user(ROOT, name, UserSettings())

    async def run() -> None:
        await world.auth.factors.add(ROOT, name, "recovery")

    async def check() -> None:
        found = await world.auth.factors.get(ROOT, name)
        assert [entry.type for entry in found.entries] == ["recovery"]
        assert name in [user.userid for user in await world.auth.factors.list_users(ROOT)]

    return Act(run, check, done=(AlreadyExists, Conflict, InvalidArgument))


@act
async def factor_list(world: FaultWorld) -> Act:
    name = f"{fresh('user')}@pbs"
    await world.auth.create_user(ROOT, name, UserSettings())
    await world.auth.factors.add(ROOT, name, "recovery")

    async def run() -> Any:
        users = [user.userid for user in await world.auth.factors.list_users(ROOT)]
        return name in users, (await world.auth.factors.get(ROOT, name)).entries

    return await reading(run)


@act
async def factor_unlocking(world: FaultWorld) -> Act:
    name = f"{fresh('user')}@pbs"
    await world.auth.create_user(ROOT, name, UserSettings())
    await world.auth.factors.add(ROOT, name, "recovery")

    async def run() -> bool:
        return await world.auth.factors.unlock(ROOT, name)

    return await reading(run)


@act
async def realm_read(world: FaultWorld) -> Act:
    realm = _realm()
    await world.auth.realms.create_openid(ROOT, realm)
    return await reading(lambda: world.auth.realms.get_openid(ROOT, realm.realm))


@act
async def factor_change(world: FaultWorld) -> Act:
    name = f"{fresh('user')}@pbs"
    await world.auth.create_user(ROOT, name, UserSettings())
    made = await world.auth.factors.add(ROOT, name, "recovery")

    async def run() -> None:
        await world.auth.factors.update(ROOT, name, made.id, description="changed")

    async def check() -> None:
        assert (await world.auth.factors.get(ROOT, name)).entries[0].description == "changed"

    return Act(run, check)


@act
async def factor_deletion(world: FaultWorld) -> Act:
    name = f"{fresh('user')}@pbs"
    await world.auth.create_user(ROOT, name, UserSettings())
    made = await world.auth.factors.add(ROOT, name, "recovery")

    async def run() -> None:
        await world.auth.factors.delete(ROOT, name, made.id)

    async def check() -> None:
        assert (await world.auth.factors.get(ROOT, name)).entries == ()

    return Act(run, check, done=_GONE)


def _realm() -> OpenidRealm:
    return OpenidRealm(fresh("realm"), "https://192.0.2.1/", "client")


@act
async def realm_creation(world: FaultWorld) -> Act:
    realm = _realm()

    async def run() -> None:
        await world.auth.realms.create_openid(ROOT, realm, "key")

    async def check() -> None:
        assert (await world.auth.realms.get_openid(ROOT, realm.realm))[0].client_id == "client"

    return Act(run, check, done=(AlreadyExists, Conflict, InvalidArgument))


@act
async def realm_change(world: FaultWorld) -> Act:
    realm = _realm()
    await world.auth.realms.create_openid(ROOT, realm)

    async def run() -> None:
        await world.auth.realms.update_openid(ROOT, realm.realm, {"comment": "changed"})

    async def check() -> None:
        assert (await world.auth.realms.get_openid(ROOT, realm.realm))[0].comment == "changed"

    return Act(run, check)


@act
async def realm_deletion(world: FaultWorld) -> Act:
    realm = _realm()
    await world.auth.realms.create_openid(ROOT, realm)

    async def run() -> None:
        await world.auth.realms.delete_openid(ROOT, realm.realm)

    async def check() -> None:
        assert realm.realm not in [found.realm for found in (await world.auth.realms.list_openid(ROOT))[0]]

    return Act(run, check, done=_GONE)


@act
async def realm_list(world: FaultWorld) -> Act:
    await world.auth.realms.create_openid(ROOT, _realm())

    async def run() -> Any:
        return await world.auth.realms.list_public(), await world.auth.realms.list_openid(ROOT)

    return await reading(run)
