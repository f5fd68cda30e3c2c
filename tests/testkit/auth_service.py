"""The auth service alone: its components in this process on a real database, called through its typed client."""

from __future__ import annotations

import functools
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from pbs_cloud.auth.component import components
from pbs_cloud.contracts.auth import AuthClient, Credentials, Login, UserSettings
from pbs_cloud.contracts.context import AclEntry, CallContext, Caller
from pbs_cloud.runtime.clock import Clock
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.grpc_channel import open_channel
from pbs_cloud.runtime.lifecycle import Component
from pbs_cloud.runtime.settings import Settings
from testkit.servers import temporary_folder

PASSWORD = "first-secret"


class ShiftedClock(Clock):
    """The machine's clock plus ``shift`` seconds; sleeping is real."""

    def __init__(self) -> None:
        self.shift = 0.0

    def time(self) -> float:
        return super().time() + self.shift

    def monotonic(self) -> float:
        return super().monotonic() + self.shift


@functools.cache
def secret_key_file() -> Path:
    """The key for stored secrets, the same for all replicas."""
    path = temporary_folder("key") / "secrets.key"
    path.write_text(secrets.token_hex(32))
    return path


@dataclass
class AuthProcess:
    """One running auth process."""

    settings: Settings
    clock: ShiftedClock
    parts: list[Component] = field(default_factory=list)
    client: AuthClient = field(init=False)

    @property
    def database(self) -> Database:
        return next(part for part in self.parts if isinstance(part, Database))

    async def start(self) -> AuthProcess:
        self.parts = components(self.settings, clock=self.clock)
        for part in self.parts:
            await part.start()
        self._channel = open_channel(self.settings.services.auth, self.settings, retry=False)
        self.client = AuthClient(self._channel)
        return self

    async def stop(self) -> None:
        await self._channel.close()
        for part in reversed(self.parts):
            await part.stop()


async def start_auth(
    database_url: str,
    run_dir: Path,
    *,
    nats_url: str = "nats://127.0.0.1:1",
    clock: ShiftedClock | None = None,
    key_file: Path | None = None,
) -> AuthProcess:
    """A running process; without ``nats_url`` its events stay in the outbox, without ``key_file`` all have one key."""
    settings = Settings(
        auth_database_url=database_url,
        nats_url=nats_url,
        run_dir=run_dir,
        data_dir=run_dir,
        secret_key_file=key_file or secret_key_file(),
        openid_allow_internal=True,
    )
    return await AuthProcess(settings, clock or ShiftedClock()).start()


@dataclass
class AuthWorld:
    """An installation after its first start; ``root_secret`` is the secret of ``root@pam!root-token``."""

    process: AuthProcess
    root_secret: str

    @classmethod
    async def create(cls, process: AuthProcess) -> AuthWorld:
        secret = await process.client.ensure_root("default")
        assert secret is not None
        return cls(process, secret)

    @property
    def client(self) -> AuthClient:
        return self.process.client

    @property
    def clock(self) -> ShiftedClock:
        return self.process.clock

    async def root_token(self) -> CallContext:
        """The operator's token as caller."""
        return await self.token("root@pam!root-token", self.root_secret)

    async def root(self) -> CallContext:
        """``root@pam`` itself, by a ticket."""
        await self.client.update_user(await self.root_token(), "root@pam", UserSettings(password=PASSWORD))
        return await self.user("root@pam")

    async def token(self, token_id: str, secret: str) -> CallContext:
        """A token as caller."""
        return CallContext(await self.client.authenticate(Credentials(token_id=token_id, token_secret=secret)), "test")

    async def ticket(self, login: Login) -> Caller:
        """Who a ticket stands for, by a request that needs the CSRF token."""
        return await self.client.authenticate(
            Credentials(ticket=login.ticket, csrf_token=login.csrf_token, csrf_required=True)
        )

    async def user(self, userid: str, password: str = PASSWORD) -> CallContext:
        """A user as caller, logged in with its password."""
        return CallContext(await self.ticket(await self.client.login(userid, password)), "test", "192.0.2.7")

    async def make_user(
        self, userid: str, *, level: str | None = None, tenant_id: str | None = None, password: str | None = PASSWORD
    ) -> CallContext:
        """A new user, made by the operator, as caller (the operator's context if it has no password)."""
        root, settings = await self.root_token(), UserSettings(password=password, permission=level)
        await self.client.create_user(root, userid, settings, tenant_id)
        return await self.user(userid) if password else root

    async def grant(self, auth_id: str, path: str, role: str, propagate: bool = True) -> None:
        """An ACL entry in the default tenant."""
        await self.client.update_acl(await self.root_token(), AclEntry(path, auth_id, role, propagate))

    async def make_tenant(self, name: str) -> tuple[str, CallContext]:
        """A tenant with slug ``name`` and its administrator ``admin@<name>``: its id and the administrator."""
        tenant = await self.client.create_tenant(await self.root_token(), name.title(), slug=name)
        return tenant.id, await self.make_user(f"admin@{name}", level="admin", tenant_id=tenant.id)
