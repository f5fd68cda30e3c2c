"""The API below ``/api2`` as an ASGI application: the order of all checks of rest-api A.2, A.6 and E.1 stands here."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import PermissionDenied, Unauthenticated
from pbs_cloud.gateway.authentication import Authenticator, FailureDelays, wait_since
from pbs_cloud.gateway.credentials import credentials_from_headers
from pbs_cloud.gateway.errors import AUTHENTICATION_FAILED, Format, HttpError, failure
from pbs_cloud.gateway.limits import RequestLimits
from pbs_cloud.gateway.rest.calls import Call, Clients, Node
from pbs_cloud.gateway.rest.endpoint import Endpoint
from pbs_cloud.gateway.rest.exchange import Disconnected, Exchange, Receive, Scope, Send
from pbs_cloud.gateway.rest.metrics import observe
from pbs_cloud.gateway.rest.replies import Reply, as_answer, deflated, error_reply, success_reply, wants_deflate
from pbs_cloud.gateway.rest.router import Match, Router
from pbs_cloud.gateway.rest.target import Target, parse_target
from pbs_cloud.gateway.schema import parse_query, parse_request
from pbs_cloud.gateway.schema.parse import names_parameter
from pbs_cloud.runtime.clock import SYSTEM_CLOCK, Clock
from pbs_cloud.runtime.logging import get_logger

log = get_logger(__name__)
LOGIN_PATH: Final = "access/ticket"


class ApiTree:
    """Routes, authenticates, checks rights and parameters, calls the handler and shapes its answer."""

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        clients: Clients,
        node: Node,
        authenticator: Authenticator,
        limits: RequestLimits,
        *,
        clock: Clock = SYSTEM_CLOCK,
        delays: FailureDelays | None = None,
    ) -> None:
        self.router = Router(endpoints)
        self.requests_by_tenant: Counter[str] = Counter()
        self._clients = clients
        self._node = node
        self._authenticator = authenticator
        self._limits = limits
        self._clock = clock
        self._delays = delays or FailureDelays()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = self._clock.monotonic()
        exchange = Exchange(scope, receive, send)
        template, reply = "unmatched", Reply(500)
        try:
            template, reply = await self._answer(exchange, started)
            if wants_deflate(exchange.headers.get(b"accept-encoding")):
                reply = deflated(reply)
            await exchange.send(reply)
        except Disconnected:
            reply = Reply(499)
        finally:
            observe(template, exchange.method, reply.status, self._clock.monotonic() - started)

    async def _answer(self, exchange: Exchange, started: float) -> tuple[str, Reply]:
        """Route template and reply."""
        try:
            target = parse_target(exchange.method, exchange.raw_path, exchange.query)
        except HttpError as error:
            return "unmatched", error_reply(failure(error), "json", content_type=None)
        match = None if target.segments is None else self.router.find(target.segments)
        endpoint = match.branch.endpoints.get(exchange.method) if match else None
        template = f"/api2/{target.format}/{match.branch.template}".rstrip("/") if match else "unmatched"
        try:
            context = None
            if endpoint is None or not endpoint.access.public:
                context = await self._authenticate(exchange)
            elif endpoint.path != LOGIN_PATH:  # a login is counted when its outcome is known
                await self._limits.admit_address(exchange.client_address)
        except Unauthenticated:
            return template, await self._refuse_credentials(exchange, started)
        except Exception as error:
            return template, self._failed(error, "json", endpoint)
        shape: Format = "extra" if endpoint and endpoint.extra else target.format
        try:
            return template, await self._dispatch(exchange, target, match, endpoint, context, started)
        except Disconnected:
            raise
        except Unauthenticated as error:
            return template, await self._unauthenticated(error, exchange, shape, started)
        except Exception as error:
            return template, self._failed(error, shape, endpoint)

    async def _authenticate(self, exchange: Exchange) -> CallContext:
        credentials = credentials_from_headers(exchange.method, exchange.header_list)
        caller = await self._authenticator.authenticate(credentials, exchange.client_address)
        await self._limits.admit_tenant(caller.tenant_id)
        self.requests_by_tenant[caller.tenant_id] += 1
        return CallContext(caller, secrets.token_hex(8), exchange.client_address)

    async def _refuse_credentials(self, exchange: Exchange, started: float) -> Reply:
        """The 401 of the request's own credentials: plain text without content type in every format."""
        try:
            await self._limits.admit_address(exchange.client_address)
        except HttpError as error:
            return error_reply(failure(error), "json")
        await wait_since(self._clock, started, self._delays.unauthenticated)
        return error_reply(failure(HttpError(401, AUTHENTICATION_FAILED)), "json", content_type=None)

    async def _unauthenticated(
        self, error: Unauthenticated, exchange: Exchange, shape: Format, started: float
    ) -> Reply:
        """A 401 that an endpoint decided (login, password, change of owner): late as well, but an ordinary error."""
        try:
            await self._limits.admit_address(exchange.client_address)
        except HttpError as limited:
            return error_reply(failure(limited), shape)
        await wait_since(self._clock, started, self._delays.unauthenticated)
        return error_reply(failure(error), shape)

    async def _dispatch(
        self,
        exchange: Exchange,
        target: Target,
        match: Match | None,
        endpoint: Endpoint | None,
        context: CallContext | None,
        started: float,
    ) -> Reply:
        if match is None or (endpoint is None and (exchange.method != "GET" or not _is_inner(match))):
            raise HttpError(404, f"Path '{target.path}' not found.")
        if endpoint is None:
            return await success_reply(as_answer(match.branch.index()), target.format)
        if context is not None:
            try:
                endpoint.access.before(context.caller, match.matched)
            except PermissionDenied:
                await wait_since(self._clock, started, self._delays.forbidden)
                raise
        endpoint, params = await self._parameters(exchange, endpoint, match.matched)
        if context is not None:
            endpoint.access.after(context.caller, params)
        call = Call(
            clients=self._clients,
            node=self._node,
            limits=self._limits,
            params=params,
            format=target.format,
            headers=exchange.headers,
            client_address=exchange.client_address,
            body=exchange.body_pieces,
            context=context,
        )
        try:
            return await success_reply(as_answer(await endpoint.handler(call)), target.format)
        finally:
            if endpoint.changes_rights and context is not None:
                self._authenticator.drop(None if context.caller.operator else context.tenant_id)

    async def _parameters(
        self, exchange: Exchange, endpoint: Endpoint, matched: Mapping[str, str]
    ) -> tuple[Endpoint, dict[str, Any]]:
        if endpoint.raw:
            return endpoint, parse_query(endpoint.schema, exchange.query, matched)
        body = await exchange.read_body()
        kind = exchange.content_type
        if endpoint.alternative and names_parameter(kind, exchange.query, body, endpoint.alternative[0]):
            endpoint = endpoint.alternative[1]
        return endpoint, parse_request(endpoint.schema, kind, exchange.query, body, matched)

    def _failed(self, error: Exception, shape: Format, endpoint: Endpoint | None) -> Reply:
        found = failure(error, endpoint.error_statuses) if endpoint else failure(error)
        if found.status == 500:
            log.error("request failed", exc_info=error)
        return error_reply(found, shape)


def _is_inner(match: Match) -> bool:
    return bool(match.branch.children or match.branch.variable)
