"""From the closed error taxonomy to HTTP: status, text, headers and the three shapes of bodies (rest-api A.6, D.12)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Literal

from pbs_cloud.contracts import errors as e
from pbs_cloud.gateway.schema.errors import ParameterErrors

Format = Literal["json", "extjs", "extra"]
StatusMap = Mapping[type[e.PbsError], int]

JSON_CONTENT_TYPE: Final = "application/json;charset=UTF-8"
AUTHENTICATION_FAILED: Final = "authentication failed"
LOGIN_FAILED: Final = "permission check failed."
FORBIDDEN: Final = "permission check failed"
CLEARED_COOKIE: Final = (
    "__Host-PBSAuthCookie=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; SameSite=Lax; HttpOnly; Path=/;"
)
RETRY_AFTER_SECONDS: Final = 5

STOCK_STATUS: Final[StatusMap] = {
    e.PbsError: 500,
    e.InvalidArgument: 400,
    e.Unauthenticated: 401,
    e.PermissionDenied: 403,
    e.NotOwner: 400,
    e.NotFound: 400,
    e.AlreadyExists: 400,
    e.Conflict: 400,
    e.QuotaExceeded: 507,
    e.RateLimited: 429,
    e.DataCorrupt: 400,
    e.NoSpace: 507,
    e.Unavailable: 503,
    e.Unsupported: 501,
}
EXTRA_STATUS: Final[StatusMap] = {**STOCK_STATUS, e.NotFound: 404, e.AlreadyExists: 400, e.Conflict: 409}
UPGRADE_STATUS: Final[StatusMap] = {**STOCK_STATUS, e.NamespaceNotFound: 404}


class HttpError(Exception):
    """An answer that is decided already: status and text (rest-api A.6)."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Failure:
    """What an error becomes: ``errors`` are reasons by parameter, shown by ``extjs``."""

    status: int
    message: str
    errors: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def failure(error: Exception, statuses: StatusMap = STOCK_STATUS) -> Failure:
    """Status and text for ``error``; anything unexpected is 500 without a word about the inside."""
    if isinstance(error, HttpError):
        return Failure(error.status, error.message, headers=error.headers)
    if not isinstance(error, e.PbsError):
        return Failure(500, "internal error")
    status = next(statuses[cls] for cls in type(error).__mro__ if cls in statuses)
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status in (429, 503) else {}
    reasons = error.errors if isinstance(error, ParameterErrors) else {}
    return Failure(status, error.message, reasons, headers)


def reason_phrase(status: int) -> str:
    """The standard reason phrase: the Proxmox VE plugin shows nothing else to its users."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def error_body(found: Failure, shape: Format) -> tuple[int, bytes]:
    """HTTP status and body: bare text (``json``), object under status 200 (``extjs``), ``{"error": …}`` (``extra``)."""
    if shape == "extjs":
        body = {
            "success": False,
            "status": found.status,
            "message": "parameter verification errors" if found.errors else found.message,
            "errors": dict(found.errors),
        }
        return 200, json.dumps(body).encode()
    if shape == "extra":
        extra: dict[str, object] = {"error": found.message}
        if found.status == 429:
            extra["retry_after"] = int(found.headers.get("Retry-After", "1"))
        return found.status, json.dumps(extra).encode()
    return found.status, found.message.encode("utf-8", "replace")
