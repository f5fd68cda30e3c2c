"""Errors as HTTP (rest-api A.6, D.12)."""

from __future__ import annotations

import json

import pytest

from pbs_cloud.contracts import errors as e
from pbs_cloud.gateway.errors import EXTRA_STATUS, UPGRADE_STATUS, HttpError, error_body, failure
from pbs_cloud.gateway.schema import ParameterErrors


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (e.InvalidArgument("x"), 400),
        (e.NotFound("x"), 400),
        (e.NamespaceNotFound("x"), 400),
        (e.NotOwner("x"), 400),
        (e.Locked("x"), 400),
        (e.SessionLost("x"), 400),
        (e.AlreadyExists("x"), 400),
        (e.DataCorrupt("x"), 400),
        (e.Unauthenticated("x"), 401),
        (e.PermissionDenied("x"), 403),
        (e.RateLimited("x"), 429),
        (e.Unavailable("x"), 503),
        (e.QuotaExceeded("x"), 507),
        (e.Internal("x"), 500),
        (HttpError(413, "x"), 413),
    ],
)
def test_stock_statuses(error: Exception, status: int) -> None:
    assert failure(error).status == status
    assert failure(error).message == "x"


def test_every_error_of_the_taxonomy_has_a_status() -> None:
    def all_classes(base: type[e.PbsError]) -> list[type[e.PbsError]]:
        return [base, *(found for sub in base.__subclasses__() for found in all_classes(sub))]

    for cls in all_classes(e.PbsError):
        if cls is not ParameterErrors:
            assert failure(cls("x")).status >= 400


def test_unexpected_errors_say_nothing() -> None:
    assert failure(KeyError("secret table")).message == "internal error"


def test_overrides() -> None:
    assert failure(e.NamespaceNotFound("x"), UPGRADE_STATUS).status == 404
    assert failure(e.NotFound("x"), UPGRADE_STATUS).status == 400
    assert failure(e.Conflict("x"), EXTRA_STATUS).status == 409


def test_bodies() -> None:
    found = failure(ParameterErrors({"b": "bad", "a": "worse"}))
    assert error_body(found, "json") == (400, b"parameter verification failed:\n- 'a': worse\n- 'b': bad")
    status, body = error_body(found, "extjs")
    assert status == 200
    assert json.loads(body) == {
        "success": False, "status": 400, "message": "parameter verification errors",
        "errors": {"a": "worse", "b": "bad"},
    }  # fmt: skip
    assert json.loads(error_body(failure(e.Conflict("x")), "extjs")[1])["errors"] == {}
    assert error_body(failure(e.Conflict("x"), EXTRA_STATUS), "extra") == (409, b'{"error": "x"}')
    limited = failure(HttpError(429, "Rate limit exceeded", {"Retry-After": "7"}))
    assert json.loads(error_body(limited, "extra")[1]) == {"error": "Rate limit exceeded", "retry_after": 7}


def test_who_is_away_is_asked_again_later() -> None:
    assert failure(e.Unavailable("x")).headers == {"Retry-After": "5"}
