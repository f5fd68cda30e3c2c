"""Calls of the REST API: parameters, envelopes, errors (rest-api A)."""

import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

from pbs_cloud.cli.connection import Connection
from pbs_cloud.cli.errors import CliError, ExitCode, Unreachable
from pbs_cloud.cli.target import Target
from pbs_cloud.cli.values import Null

BASE: Final = "/api2/json"
PUBLIC: Final = frozenset({"ping", "access/domains", "access/ticket", "access/openid/auth-url", "access/openid/login"})
_PIECE: Final = 1 << 20
_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"

Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful answer: `data`, and what stands beside it (`digest`, `total`, `active` …)."""

    data: Any
    beside: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


class Api:
    """One server as one caller. Every call raises CliError with the exit code that fits."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._connection = Connection(target)

    def get(self, path: str, /, **params: Any) -> Any:
        """`data` of a GET; parameters with `_` for `-`, None left out."""
        return self.call("GET", path, {name.replace("_", "-"): value for name, value in params.items()}).data

    def call(self, method: str, path: str, params: Params | None = None) -> Reply:
        """One call; parameters that are None are left out."""
        response = self.open(method, path, params)
        body = self._whole(response)
        if not body and response.status < 300:
            return Reply(None, status=response.status)
        if not (response.headers.get("Content-Type") or "").startswith(_JSON):
            return Reply(body.decode(errors="replace"), status=response.status)
        return self.parsed(body, response.status)

    @staticmethod
    def parsed(body: bytes, status: int = 200) -> Reply:
        """An envelope. Raises CliError."""
        try:
            parsed = json.loads(body)
            data = parsed.pop("data")
        except (ValueError, AttributeError, KeyError):
            raise CliError("the answer is no JSON of this API", hint="is this the address of a PBS Cloud?") from None
        return Reply(data, parsed, status)

    def pieces(self, path: str, params: Params | None = None) -> Iterator[bytes]:
        """The body of a download. Raises CliError also where the server cuts it short."""
        yield from self.body(self.open("GET", path, params), self._where("GET", path))

    def body(self, response: http.client.HTTPResponse, where: str) -> Iterator[bytes]:
        """What is left of an answer, piece by piece. Raises CliError where it is cut short."""
        problem = "the server ended the download early: the content may be damaged"
        try:
            while piece := response.read(_PIECE):
                yield piece
            if not response.length:  # http.client does not complain itself about less than was announced
                return
        except TimeoutError:
            problem = f"no data within {self.target.timeout:g} s"
        except (http.client.HTTPException, OSError):
            pass
        self._connection.close()
        raise CliError(problem, where=where)

    def upload(self, path: str, params: Params, body: bytes) -> Any:
        """POST of raw bytes, parameters in the query."""
        headers = {**self._headers("POST", path), "Content-Type": "application/octet-stream"}
        response = self._connection.request("POST", f"{url_of(path)}?{_query(params)}", headers, body)
        self._check(response, "POST", path)
        return json.loads(self._whole(response) or b"{}").get("data")

    def open(
        self, method: str, path: str, params: Params | None = None, *, as_form: bool = False
    ) -> http.client.HTTPResponse:
        """The answer with its body still to be read; errors are raised.

        A body is JSON; with `as_form` a form if all values are texts, so that the server converts them.
        """
        given = {name: value for name, value in (params or {}).items() if value is not None}
        headers = self._headers(method, path)
        url, body = url_of(path), None
        if method in ("POST", "PUT"):
            body, headers["Content-Type"] = _encoded(params or {}, as_form=as_form)
        elif given:
            url = f"{url}?{_query(given)}"
        response = self._connection.request(method, url, headers, body)
        self._check(response, method, path)
        return response

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _headers(self, method: str, path: str) -> dict[str, str]:
        headers = {"Accept": "*/*", "User-Agent": "pbs-cloud-cli"}
        target = self.target
        if target.token is not None:
            headers["Authorization"] = f"PBSAPIToken={target.token}"
        elif target.login is not None:
            headers["Cookie"] = f"PBSAuthCookie={quote(target.login.ticket or '', safe='')}"
            headers["CSRFPreventionToken"] = target.login.csrf or ""
        elif path not in PUBLIC:
            raise CliError(
                "no credentials",
                where=self._where(method, path),
                hint="export PBS_API_TOKEN='<user>@<realm>!<name>:<secret>', or `pbs-cloud login`",
                code=ExitCode.DENIED,
            )
        return headers

    def _check(self, response: http.client.HTTPResponse, method: str, path: str) -> None:
        if response.status < 300:
            return
        text = _message(self._whole(response).decode(errors="replace"))
        where = f"{self._where(method, path)} ({response.status})"
        if response.status == 401 and path != "access/ticket" and text == "authentication failed":
            raise CliError(
                "the server does not accept the credentials", where=where, hint=self._who(), code=ExitCode.DENIED
            )
        if response.status in (401, 403):
            hint = "`pbs-cloud permissions` shows what these credentials may do" if response.status == 403 else None
            raise CliError(text or "not allowed", where=where, hint=hint, code=ExitCode.DENIED)
        if response.status < 400:
            target = response.headers.get("Location") or "another address"
            hint = "an address that begins with https:// is probably right" if target.startswith("https") else None
            raise Unreachable(f"the server sends us to {target}", where=where, hint=hint)
        if response.status in (429, 503):
            wait = response.headers.get("Retry-After")
            raise Unreachable(text or "not ready", where=where, hint=f"try again in {wait} s" if wait else "try again")
        raise CliError(text or f"the server answered {response.status}", where=where)

    def _who(self) -> str:
        target = self.target
        if target.token is not None:
            name = target.token.partition(":")[0]
            return f"token {name} is unknown, expired or disabled, or its secret is wrong"
        return "the login is over: `pbs-cloud login` again"

    def _where(self, method: str, path: str) -> str:
        return f"{method} {self.target.url}{url_of(path)}"

    def _whole(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read()
        except TimeoutError:
            self._connection.close()
            raise Unreachable(f"no answer within {self.target.timeout:g} s", where=self.target.url) from None
        except (http.client.HTTPException, OSError):
            self._connection.close()
            raise Unreachable("the server ended the answer early", where=self.target.url) from None


def _body(params: Params) -> dict[str, Any]:
    """The parameters of a JSON body."""
    return {name: None if isinstance(value, Null) else value for name, value in params.items() if value is not None}


def _encoded(params: Params, *, as_form: bool) -> tuple[bytes, str]:
    if as_form and all(isinstance(one, str) for value in params.values() for one in _several(value)):
        return _query(params).encode(), _FORM
    return json.dumps(params if as_form else _body(params)).encode(), _JSON


def _several(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]


def url_of(path: str) -> str:
    """The path below the server's address; segments that hold special characters must be escaped already."""
    return f"{BASE}/{path.strip('/')}"


def segment(text: str) -> str:
    """One path segment, escaped as the stock client does."""
    return quote(text, safe="")


def _query(params: Params) -> str:
    pairs: list[tuple[str, str]] = []
    for name, value in params.items():
        pairs += [(name, ("1" if one else "0") if isinstance(one, bool) else str(one)) for one in _several(value)]
    return urlencode(pairs, quote_via=quote)


def _message(body: str) -> str:
    """The text of an error, in either of the two forms (rest-api D.1)."""
    text = body.strip()
    if text.startswith("{"):
        try:
            parsed = json.loads(text)
        except ValueError:
            return text
        if isinstance(parsed, dict) and isinstance(parsed.get("error"), str):
            return str(parsed["error"])
    return text
