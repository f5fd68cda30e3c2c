"""What end-to-end tests play with: tenants, users and tokens of their own on a shared product."""

import asyncio
import itertools
import os
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from testkit.client import Credential, Endpoint, Rest, Snapshot, Token
from testkit.product import ProductServer

_NAMES = itertools.count()


def fresh(prefix: str) -> str:
    """A name that nobody else uses: safe-id of at most 32 characters."""
    return f"{prefix}{os.getpid()}x{next(_NAMES)}{secrets.token_hex(2)}"


def endpoint_of(product: ProductServer) -> Endpoint:
    """The product's public port for the client driver."""
    return Endpoint("127.0.0.1", product.port, product.fingerprint)


def root_token(product: ProductServer) -> Token:
    """The operator's first token."""
    return Token(product.token_id, product.token_secret)


@dataclass(slots=True)
class Caller:
    """A user or token with its REST connection."""

    endpoint: Endpoint
    credential: Credential
    rest: Rest = field(init=False)

    def __post_init__(self) -> None:
        self.rest = Rest(self.endpoint, self.credential)

    @property
    def auth_id(self) -> str:
        """User or token id."""
        return self.credential.auth_id


@dataclass(slots=True)
class Tenant:
    """A tenant with the datastore ``default`` and an administrator ``admin@<realm>``; tests play in ``ns``."""

    id: str
    realm: str
    admin: Caller
    password: str
    store: str = "default"
    ns: str = ""
    _callers: list[Caller] = field(default_factory=list)

    @property
    def endpoint(self) -> Endpoint:
        """The public port."""
        return self.admin.endpoint

    @property
    def rest(self) -> Rest:
        """REST as the administrator."""
        return self.admin.rest

    @property
    def base(self) -> str:
        """REST path of the datastore."""
        return f"/admin/datastore/{self.store}"

    def snapshot(self, backup_id: str = "h1", **more: Any) -> Snapshot:
        """A snapshot name in the test's namespace."""
        return Snapshot(self.store, backup_id, **{"ns": self.ns, **more})

    async def snapshots(self, **parameters: object) -> Any:
        """Snapshots of the test's namespace."""
        return await self.rest.get(f"{self.base}/snapshots", ns=self.ns, **parameters)

    async def groups(self) -> Any:
        """Groups of the test's namespace."""
        return await self.rest.get(f"{self.base}/groups", ns=self.ns)

    async def token(self, level: str = "backup", name: str = "ci") -> Caller:
        """A new user with a level, and a token of the same level."""
        user, password = f"{fresh('u')}@{self.realm}", secrets.token_hex(12)
        await self.rest.call("POST", "/access/users", {"username": user, "permission": level, "password": password})
        login = await Rest.login(self.endpoint, user, password)
        try:
            made = await login.call("POST", f"/access/users/{quote(user)}/token/{name}", {"permission": level})
        finally:
            await login.close()
        caller = Caller(self.endpoint, Token(made["tokenid"], made["value"]))
        self._callers.append(caller)
        return caller

    async def close(self) -> None:
        """Drop all REST connections."""
        for caller in (self.admin, *self._callers):
            await caller.rest.close()


async def create_tenant(product: ProductServer, quota_bytes: int | None = None) -> Tenant:
    """A new tenant with an administrator that has a token."""
    endpoint, realm = endpoint_of(product), fresh("t")
    operator = Rest(endpoint, root_token(product))
    request: dict[str, object] = {"name": realm, "slug": realm}
    if quota_bytes is not None:
        request["quota_bytes"] = quota_bytes
    made = await operator.call("POST", "/tenants", request)
    user, password = f"admin@{realm}", secrets.token_hex(12)
    new_user = {"username": user, "tenant_id": made["id"], "permission": "admin", "password": password}
    await operator.call("POST", "/access/users", new_user)
    await operator.close()
    login = await Rest.login(endpoint, user, password)
    token = await login.call("POST", f"/access/users/{quote(user)}/token/main", {"permission": "admin"})
    await login.close()
    return Tenant(made["id"], realm, Caller(endpoint, Token(token["tokenid"], token["value"])), password)


@asynccontextmanager
async def new_tenant(product: ProductServer, quota_bytes: int | None = None) -> AsyncIterator[Tenant]:
    """A tenant that is deleted at the end of the context."""
    tenant = await create_tenant(product, quota_bytes)
    operator = Rest(tenant.endpoint, root_token(product))
    try:
        yield tenant
    finally:
        await tenant.close()
        await operator.exchange("DELETE", f"/tenants/{tenant.id}", {"force": True})
        await operator.close()


_SHARED: dict[tuple[str, int], Tenant] = {}


@asynccontextmanager
async def shared_tenant(product: ProductServer) -> AsyncIterator[Tenant]:
    """The tenant that most tests of a product share, with a fresh namespace of the test's own."""
    key = (str(product.data_dir), product.port)
    if key not in _SHARED:
        made = await create_tenant(product)
        await made.close()
        _SHARED[key] = made
    known = _SHARED[key]
    tenant = Tenant(known.id, known.realm, Caller(known.endpoint, known.admin.credential), known.password)
    tenant.ns = await tenant.rest.post(f"{tenant.base}/namespace", name=fresh("n"))
    try:
        yield tenant
    finally:
        await tenant.close()


async def eventually(
    check: Callable[[], Coroutine[Any, Any, object]], seconds: float, what: str, pause: float = 0.1
) -> Any:
    """The first true result of ``check``; an assertion names what never came true."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        result = await check()
        if result:
            return result
        assert asyncio.get_running_loop().time() < deadline, f"{what}: not within {seconds} s"
        await asyncio.sleep(pause)


async def wait_for_task(rest: Rest, upid: str, seconds: float = 60) -> str:
    """Exit status of a task once it has ended."""
    path = f"/nodes/localhost/tasks/{quote(upid, safe='')}/status"

    async def stopped() -> object:
        status = await rest.get(path)
        return status if status["status"] == "stopped" else None

    ended = await eventually(stopped, seconds, f"end of {upid}")
    return str(ended.get("exitstatus", ""))
