"""The two upgrade requests: from an HTTP/1.1 head to an open session (wire-protocol 4.1, 5.1; rest-api C.10)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Final

from pbs_cloud.contracts import rights
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext, Caller
from pbs_cloud.contracts.errors import InvalidArgument, PbsError, PermissionDenied, Unauthenticated, Unavailable
from pbs_cloud.gateway.authentication import Authenticator, FailureDelays, wait_since
from pbs_cloud.gateway.credentials import credentials_from_headers
from pbs_cloud.gateway.errors import (
    AUTHENTICATION_FAILED,
    CLEARED_COOKIE,
    JSON_CONTENT_TYPE,
    UPGRADE_STATUS,
    Failure,
    Format,
    HttpError,
    error_body,
    failure,
)
from pbs_cloud.gateway.front.head import RequestHead
from pbs_cloud.gateway.front.replies import reply
from pbs_cloud.gateway.limits import RequestLimits
from pbs_cloud.gateway.protocol.endpoints import components
from pbs_cloud.gateway.schema import parse_query
from pbs_cloud.gateway.schema.upgrades import (
    BACKUP_UPGRADE,
    BACKUP_UPGRADE_PROTOCOL,
    READER_UPGRADE,
    READER_UPGRADE_PROTOCOL,
)
from pbs_cloud.gateway.sessions.backup import BackupRequest, BackupSession
from pbs_cloud.gateway.sessions.calls import Surroundings
from pbs_cloud.gateway.sessions.reader import ReaderSession
from pbs_cloud.gateway.sessions.registry import SessionRegistry
from pbs_cloud.gateway.sessions.session import Session
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.logging import get_logger

log = get_logger(__name__)

MAX_URI: Final = 3072
PROTOCOLS: Final = {"backup": BACKUP_UPGRADE_PROTOCOL, "reader": READER_UPGRADE_PROTOCOL}
SCHEMAS: Final = {"backup": BACKUP_UPGRADE, "reader": READER_UPGRADE}


@dataclass(frozen=True, slots=True)
class Target:
    """Which upgrade a request asks for; ``shape``: how refusals look."""

    kind: str
    shape: Format

    @property
    def protocol(self) -> str:
        """Name in the ``Upgrade`` header."""
        return PROTOCOLS[self.kind]


class Refused(Exception):
    """No session; ``answer`` is the complete HTTP answer."""

    def __init__(self, answer: bytes) -> None:
        super().__init__("upgrade refused")
        self.answer = answer


def upgrade_target(head: RequestHead) -> Target | None:
    """The upgrade that a request asks for, None for every other request."""
    if head.method != "GET":
        return None
    try:
        names = components(head.path)
    except HttpError:
        return None
    if len(names) == 3 and names[0] == "api2" and names[2] in PROTOCOLS:
        if names[1] == "json":
            return Target(names[2], "json")
        if names[1] == "extjs":
            return Target(names[2], "extjs")
    return None


class Upgrades:
    """Opens sessions. Order of the checks: wire-protocol 4.1 and 5.1."""

    def __init__(
        self,
        around: Surroundings,
        registry: SessionRegistry,
        authenticator: Authenticator,
        limits: RequestLimits,
        clock: Clock = SYSTEM_CLOCK,
        delays: FailureDelays | None = None,
    ) -> None:
        self._around = around
        self._registry = registry
        self._authenticator = authenticator
        self._limits = limits
        self._clock = clock
        self._delays = delays or FailureDelays()

    async def open(self, target: Target, head: RequestHead, client_address: str) -> Session:
        """The session, registered: its owner must call ``registry.remove`` in the end. Raises Refused."""
        started = self._clock.monotonic()
        try:
            if len("/" + "/".join(components(head.path))) + len(head.query) > MAX_URI:
                raise Refused(reply(414, b"", {}))
            caller = await self._authenticate(head, client_address)
            await self._limits.admit_tenant(caller.tenant_id)
            ctx = CallContext(caller, secrets.token_hex(8), client_address)
            return await self._open(target, head, ctx)
        except Unauthenticated:
            await wait_since(self._clock, started, self._delays.unauthenticated)
            raise Refused(reply(401, AUTHENTICATION_FAILED.encode(), {"Set-Cookie": CLEARED_COOKIE})) from None
        except (PbsError, HttpError) as error:
            raise _refused(target, failure(_reader_error(target, error), UPGRADE_STATUS)) from error

    async def _authenticate(self, head: RequestHead, client_address: str) -> Caller:
        credentials = credentials_from_headers(head.method, head.fields)
        try:
            return await self._authenticator.authenticate(credentials, client_address)
        except Unauthenticated:
            await self._limits.admit_address(client_address)
            raise

    async def _open(self, target: Target, head: RequestHead, ctx: CallContext) -> Session:
        values = parse_query(SCHEMAS[target.kind], head.query)
        if self._registry.draining:
            raise Unavailable("the server is shutting down")
        await self._check_header(target, head, ctx, values)
        group = t.GroupRef(values["store"], values["ns"], values["backup-type"], values["backup-id"])
        if target.kind == "reader":
            return await self._open_reader(ctx, t.SnapshotKey(group, values["backup-time"]))
        request = BackupRequest(group, values["backup-time"], values["benchmark"], values.get("debug", False))
        return await self._open_backup(ctx, request)

    async def _open_backup(self, ctx: CallContext, request: BackupRequest) -> Session:
        opened = await self._around.catalogue.open_backup(
            ctx,
            request.group,
            request.backup_time,
            benchmark=request.benchmark,
            process_id=self._registry.process_id,
        )
        session = BackupSession(self._around, ctx, request, opened)
        self._registry.add(session)
        return session

    async def _open_reader(self, ctx: CallContext, key: t.SnapshotKey) -> Session:
        opened = await self._around.catalogue.open_reader(ctx, key, process_id=self._registry.process_id)
        session = ReaderSession(self._around, ctx, key.group.store, opened)
        self._registry.add(session)
        return session

    async def _check_header(self, target: Target, head: RequestHead, ctx: CallContext, values: dict[str, Any]) -> None:
        """A missing or wrong ``Upgrade`` header is told only to who may use the datastore, and only if it exists."""
        offered = head.get(b"upgrade")
        if offered == target.protocol.encode() and head.minor == 1:
            return
        store, ns = values["store"], values["ns"]
        path = rights.datastore_path(store, ns)
        held = rights.privileges(ctx.caller, path)
        if target.kind == "backup" and rights.Privilege.DATASTORE_BACKUP not in held:
            raise PermissionDenied(f"missing permissions 'Datastore.Backup' on '{path}'")
        if target.kind == "reader" and not held & {rights.Privilege.DATASTORE_READ, rights.Privilege.DATASTORE_BACKUP}:
            raise PermissionDenied(f"no permissions on {path}")
        stores, _ = await self._around.catalogue.list_datastores(ctx)
        if not any(found.name == store for found in stores):
            raise InvalidArgument(f"no such datastore '{store}'", field="store")
        raise InvalidArgument("missing Upgrade header" if offered is None else "invalid protocol name")


def _reader_error(target: Target, error: Exception) -> Exception:
    """PBS answers 400 where a reader lacks privileges (wire-protocol 5.1)."""
    if target.kind == "reader" and isinstance(error, PermissionDenied):
        return InvalidArgument(error.message)
    return error


def _refused(target: Target, found: Failure) -> Refused:
    if found.status >= 500:
        log.warning("upgrade failed", status=found.status, message=found.message)
    status, body = error_body(found, target.shape)
    return Refused(reply(status, body, {"Content-Type": JSON_CONTENT_TYPE, **found.headers}))
