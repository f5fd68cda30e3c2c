"""REST calls as the stock client sends them: one kept-alive connection, JSON for POST, query for the rest."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from testkit.client.connection import FORM, JSON, Connection, Lost, data_of, encode_query
from testkit.client.endpoint import Credential, Endpoint, Ticket
from testkit.client.http2 import Answer


class Rest:
    """A caller of the REST interface. Errors are :class:`Refused`; use :meth:`exchange` for the bare answer."""

    def __init__(self, endpoint: Endpoint, credential: Credential | None = None) -> None:
        self.endpoint, self.credential = endpoint, credential
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()

    @classmethod
    async def login(cls, endpoint: Endpoint, user: str, password: str) -> "Rest":
        """A caller with a ticket."""
        rest = cls(endpoint)
        data = await rest.call("POST", "///api2/json/access/ticket", {"password": password, "username": user})
        rest.credential = Ticket(data["username"], data["ticket"], data["CSRFPreventionToken"])
        return rest

    async def get(self, path: str, **parameters: object) -> Any:
        """``data`` of GET; here and below underscores of parameter names stand for hyphens, None for absent."""
        return await self.call("GET", path, _wire_names(parameters))

    async def post(self, path: str, **parameters: object) -> Any:
        """``data`` of POST with a JSON body."""
        return await self.call("POST", path, _wire_names(parameters))

    async def put(self, path: str, **parameters: object) -> Any:
        """``data`` of PUT."""
        return await self.call("PUT", path, _wire_names(parameters))

    async def delete(self, path: str, **parameters: object) -> Any:
        """``data`` of DELETE."""
        return await self.call("DELETE", path, _wire_names(parameters))

    async def call(self, method: str, path: str, parameters: Mapping[str, object]) -> Any:
        """``data`` of an answer below ``/api2/json``, parameters named as on the wire."""
        answer = await self.exchange(method, path, parameters)
        return data_of(answer, f"{method} {path}")

    async def exchange(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, object] | None = None,
        body: bytes | None = None,
        headers: tuple[str, ...] = (),
    ) -> Answer:
        """The answer whatever its status. ``path`` is below ``/api2/json`` unless it begins with ``//``."""
        target, kind, payload = path[1:] if path.startswith("//") else f"/api2/json{path}", FORM, body or b""
        if body is None and method == "POST" and parameters:
            kind, payload = JSON, json.dumps(dict(parameters)).encode()
        elif parameters:
            target += "?" + encode_query(parameters)
        lines = [kind, *(self.credential.headers() if self.credential else ()), *headers]
        async with self._turn:
            return await self._send(method, target, lines, payload)

    async def _send(self, method: str, target: str, lines: list[str], payload: bytes) -> Answer:
        fresh = self._connection is None
        if self._connection is None:
            self._connection = await Connection.open(self.endpoint)
        try:
            answer = await self._connection.request(method, target, lines, payload)
        except (Lost, asyncio.CancelledError):
            await self.close()
            if fresh or method != "GET":
                raise
            return await self._send(method, target, lines, payload)
        if answer.headers.get("connection", "").lower() == "close":
            await self.close()
        return answer

    async def close(self) -> None:
        """Drop the connection; the next call opens another one."""
        connection, self._connection = self._connection, None
        if connection:
            await connection.close()


def _wire_names(parameters: Mapping[str, object]) -> dict[str, object]:
    return {name.replace("_", "-"): value for name, value in parameters.items() if value is not None}
