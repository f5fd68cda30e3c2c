"""What a tenant's administrators set and see of their webhooks (rest-api D.8)."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping

from pbs_cloud.billing.webhooks import rows
from pbs_cloud.billing.webhooks.addresses import Refused, parse_url, resolve
from pbs_cloud.billing.webhooks.rows import Stored
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Conflict, InvalidArgument, NotFound
from pbs_cloud.contracts.rights import Privilege, require
from pbs_cloud.contracts.webhooks import EVENT_TYPES, MAX_RETRIES, Webhook, WebhookFields
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.secret_box import SecretBox

MOST_WEBHOOKS = 20
MOST_HEADERS = 20
MOST_WAITING_SHOWN = 50
DEFAULT_RETRIES = 3
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,1022}[\x21-\x7e])?")
_OURS = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "upgrade", "x-signature-256"}
    | {"te", "trailer", "expect"}
)
_EMPTY = Stored("", None, None, (), (), DEFAULT_RETRIES)


def secret_owner(tenant_id: str, webhook_id: str) -> str:
    """What a sealed secret is bound to."""
    return f"webhook secret {tenant_id} {webhook_id}"


def headers_owner(tenant_id: str, webhook_id: str) -> str:
    """What sealed headers are bound to."""
    return f"webhook headers {tenant_id} {webhook_id}"


class Webhooks:
    """Webhooks of one tenant at a time; needs ``Permissions.Modify`` on ``/access``."""

    def __init__(self, database: Database, box: SecretBox, *, allow_internal: bool) -> None:
        self._database = database
        self._box = box
        self._allow_internal = allow_internal

    async def list(self, ctx: CallContext) -> tuple[Webhook, ...]:
        """Raises PermissionDenied."""
        _require(ctx)
        async with self._database.tenant(ctx.tenant_id) as connection:
            return await rows.all_of(connection, ctx.tenant_id)

    async def get(self, ctx: CallContext, webhook_id: str) -> Webhook:
        """Raises PermissionDenied, NotFound."""
        _require(ctx)
        async with self._database.tenant(ctx.tenant_id) as connection:
            found = await rows.find(connection, ctx.tenant_id, _parsed(webhook_id), MOST_WAITING_SHOWN)
        if found is None:
            raise _missing()
        return found

    async def create(self, ctx: CallContext, fields: WebhookFields) -> Webhook:
        """Raises PermissionDenied, InvalidArgument, Conflict (too many)."""
        _require(ctx)
        webhook_id = uuid.uuid4()
        if fields.url is None:
            raise InvalidArgument("url: is missing", field="url")
        new = await self._changed(ctx.tenant_id, webhook_id, _EMPTY, fields)
        async with self._database.tenant(ctx.tenant_id) as connection:
            await rows.lock_tenant(connection, ctx.tenant_id)
            if await rows.count(connection, ctx.tenant_id) >= MOST_WEBHOOKS:
                raise Conflict(f"there are {MOST_WEBHOOKS} webhooks already")
            await rows.insert(connection, ctx.tenant_id, webhook_id, new)
        return await self.get(ctx, str(webhook_id))

    async def update(self, ctx: CallContext, webhook_id: str, changes: WebhookFields) -> Webhook:
        """Raises PermissionDenied, NotFound, InvalidArgument."""
        _require(ctx)
        key = _parsed(webhook_id)
        await self._judge(changes.url)
        async with self._database.tenant(ctx.tenant_id) as connection:
            old = await rows.stored(connection, ctx.tenant_id, key)
            if old is None:
                raise _missing()
            new = await self._changed(ctx.tenant_id, key, old, changes, judged=True)
            await rows.change(connection, ctx.tenant_id, key, new)
        return await self.get(ctx, webhook_id)

    async def delete(self, ctx: CallContext, webhook_id: str) -> None:
        """Raises PermissionDenied, NotFound."""
        _require(ctx)
        async with self._database.tenant(ctx.tenant_id) as connection:
            if not await rows.delete(connection, ctx.tenant_id, _parsed(webhook_id)):
                raise _missing()

    async def _judge(self, url: str | None) -> None:
        """Raises InvalidArgument unless the URL may be used as things are now; each delivery judges again."""
        if url is None:
            return
        destination = parse_url(url, allow_internal=self._allow_internal)
        if self._allow_internal:
            return
        try:
            await resolve(destination, allow_internal=False)
        except Refused as error:
            raise InvalidArgument(f"url: {error}", field="url") from None

    async def _changed(
        self, tenant_id: str, webhook_id: uuid.UUID, old: Stored, fields: WebhookFields, *, judged: bool = False
    ) -> Stored:
        if not judged:
            await self._judge(fields.url)
        secret, headers, names = old.secret, old.headers, old.header_names
        if fields.secret is not None:
            owner = secret_owner(tenant_id, str(webhook_id))
            secret = self._box.seal(fields.secret, owner) if fields.secret else None
        if fields.headers is not None:
            given = _checked_headers(fields.headers)
            headers = self._box.seal(json.dumps(given), headers_owner(tenant_id, str(webhook_id))) if given else None
            names = tuple(sorted(given))
        return Stored(
            url=old.url if fields.url is None else fields.url,
            secret=secret,
            headers=headers,
            header_names=names,
            event_filter=old.event_filter if fields.event_filter is None else _checked_events(fields.event_filter),
            max_retries=old.max_retries if fields.max_retries is None else _checked_retries(fields.max_retries),
        )


def _require(ctx: CallContext) -> None:
    require(ctx.caller, "/access", Privilege.PERMISSIONS_MODIFY)


def _parsed(webhook_id: str) -> uuid.UUID:
    try:
        return uuid.UUID(webhook_id)
    except ValueError:
        raise _missing() from None


def _missing() -> NotFound:
    return NotFound("no such webhook")


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    if len(headers) > MOST_HEADERS:
        raise InvalidArgument(f"headers: at most {MOST_HEADERS}", field="headers")
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or name.lower() in _OURS:
            raise InvalidArgument(f"headers: '{name[:64]}' cannot be set", field="headers")
        if not _VALUE.fullmatch(value):
            raise InvalidArgument("headers: values are 1 to 1024 printable ASCII characters", field="headers")
    return dict(headers)


def _checked_events(events: tuple[str, ...]) -> tuple[str, ...]:
    for event in events:
        if event not in EVENT_TYPES:
            raise InvalidArgument(f"event_filter: '{event[:64]}' is no event", field="event_filter")
    return tuple(dict.fromkeys(events))


def _checked_retries(count: int) -> int:
    if not 0 <= count <= MAX_RETRIES:
        raise InvalidArgument(f"max_retries: must be 0 to {MAX_RETRIES}", field="max_retries")
    return count
