"""Endpoints: method and path, parameters, rights and handler stand together; everything else is derived from them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pbs_cloud.gateway.errors import EXTRA_STATUS, STOCK_STATUS, StatusMap
from pbs_cloud.gateway.rest.access import Access
from pbs_cloud.gateway.rest.calls import Call
from pbs_cloud.gateway.schema import Param, Schema, common, required

Handler = Callable[[Call], Awaitable[Any]]
Method = Literal["GET", "PUT", "POST", "DELETE"]
_PLACEHOLDER = re.compile(r"\{([a-z-]+)\}")

PATH_PARAMS: Mapping[str, Param] = {
    "store": required(common.STORE, "datastore"),
    "name": required(common.STORE, "datastore"),
    "node": required(common.NODE, "any host label; means this server"),
    "upid": required(common.UPID, "task id"),
    "userid": required(common.USER_ID),
    "token-name": required(common.TOKEN_NAME),
}


@dataclass(frozen=True)
class Endpoint:
    """One call of the API. ``path`` is below ``/api2/{format}/``. ``raw``: parameters come from query and path only.

    ``extra``: one of the project's own calls, whose errors are JSON. ``statuses``: what errors become, where it is not
    the usual. ``alternative``: a parameter name, and the endpoint that takes over when it is given.
    """

    method: Method
    path: str
    schema: Schema
    access: Access
    handler: Handler
    summary: str
    raw: bool = False
    extra: bool = False
    statuses: StatusMap | None = None
    alternative: tuple[str, Endpoint] | None = None

    @property
    def changes_rights(self) -> bool:
        """Whether the call may change who may do what: cached callers are forgotten after it."""
        area = self.path.partition("/")[0]
        return self.method != "GET" and area in ("access", "tenants") and self.path != "access/ticket"

    @property
    def error_statuses(self) -> StatusMap:
        return self.statuses or (EXTRA_STATUS if self.extra else STOCK_STATUS)


class Area:
    """A group of endpoints; each is registered by a decorator over its handler."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.endpoints: list[Endpoint] = []

    def add(
        self,
        method: Method,
        path: str,
        params: Mapping[str, Param] | None = None,
        *,
        access: Access,
        raw: bool = False,
        extra: bool = False,
        index: bool = False,
        statuses: StatusMap | None = None,
        alternative: tuple[str, Endpoint] | None = None,
        summary: str | None = None,
    ) -> Callable[[Handler], Handler]:
        """Register the decorated handler; without ``summary`` it is the first line of its docstring.

        ``index``: an inner node that answers more than its index; it ignores what it does not know, as all of them do.
        """
        given = dict(params or {})
        names = _PLACEHOLDER.findall(path)
        in_path = {name: PATH_PARAMS[name] for name in names if name not in given}
        schema = Schema({**in_path, **given}, open=index, kebab=extra)

        def register(handler: Handler) -> Handler:
            text = summary or (handler.__doc__ or "").strip().splitlines()[0]
            self.endpoints.append(
                Endpoint(method, path, schema, access, handler, text, raw, extra, statuses, alternative)
            )
            return handler

        return register

    def get(self, path: str, params: Mapping[str, Param] | None = None, **more: Any) -> Callable[[Handler], Handler]:
        return self.add("GET", path, params, **more)

    def post(self, path: str, params: Mapping[str, Param] | None = None, **more: Any) -> Callable[[Handler], Handler]:
        return self.add("POST", path, params, **more)

    def put(self, path: str, params: Mapping[str, Param] | None = None, **more: Any) -> Callable[[Handler], Handler]:
        return self.add("PUT", path, params, **more)

    def delete(self, path: str, params: Mapping[str, Param] | None = None, **more: Any) -> Callable[[Handler], Handler]:
        return self.add("DELETE", path, params, **more)
