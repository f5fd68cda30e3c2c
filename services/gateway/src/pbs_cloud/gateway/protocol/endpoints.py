"""Endpoints of a session: paths, parameters, where a body goes (wire-protocol 1.5, 1.7, 4.5, 5.2)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from pbs_cloud.contracts.errors import InvalidArgument, PbsError
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.gateway.errors import HttpError, failure
from pbs_cloud.gateway.protocol.answers import Answer, ErrorAnswer
from pbs_cloud.gateway.protocol.effects import Effect
from pbs_cloud.gateway.schema import ParameterErrors, Schema, parse_query, parse_request

MAX_PARAMETER_BODY: Final = 524_287
"""Largest JSON or form body (wire-protocol 1.6)."""

Values = dict[str, Any]
Steps = Generator[Effect, Any, Answer]


class BodyKind(Enum):
    """What is done with a request's body."""

    PARAMETERS = "parameters"
    CHUNK = "chunk"
    BLOB = "blob"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True)
class Body:
    """A received body: ``length`` bytes came, ``content`` only for parameters; ``too_long``: it was thrown away."""

    length: int = 0
    content: bytes = b""
    too_long: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path. Only PARAMETERS endpoints read parameters from the body too (kind P1)."""

    schema: Schema
    run: Callable[[Values, Body], Steps]
    body: BodyKind = BodyKind.PARAMETERS


@dataclass(slots=True)
class Call:
    """A request that began. ``announced``: bytes that a chunk or blob body must have."""

    method: str
    path: str
    query: str
    content_type: str | None
    endpoint: Endpoint | None = None
    values: Values = field(default_factory=dict)
    refused: ErrorAnswer | None = None

    @property
    def body(self) -> BodyKind:
        """Where the body goes; nowhere when the request is refused already."""
        return BodyKind.DISCARD if self.endpoint is None or self.refused else self.endpoint.body

    @property
    def announced(self) -> int:
        """The parameter ``encoded-size``."""
        return int(self.values.get("encoded-size", 0))


class Router:
    """The endpoints of one kind of session by path and method."""

    def __init__(self, endpoints: Mapping[tuple[str, str], Endpoint]) -> None:
        self._endpoints = endpoints

    def begin(self, method: str, path: str, query: str, content_type: str | None) -> Call:
        """Find the endpoint and, where they come from the query alone, check the parameters."""
        call = Call(method, path, query, content_type)
        try:
            names = components(path)
            call.endpoint = self._endpoints.get((method, "/".join(names)))
            if call.endpoint is None:
                raise HttpError(404, f"Path '/{'/'.join(names)}' not found.")
            if call.endpoint.body is not BodyKind.PARAMETERS:
                call.values = parse_query(call.endpoint.schema, query)
        except (PbsError, HttpError) as error:
            call.refused = refusal(error)
        return call

    def steps(self, call: Call, body: Body) -> Steps:
        """The rest of the request, when its body is there."""
        if call.refused is not None or call.endpoint is None:
            return _refuse(call.refused or ErrorAnswer(404, "not found"))
        if call.endpoint.body is BodyKind.PARAMETERS:
            if body.too_long:
                return _refuse(ErrorAnswer(400, "Request body too large", typed=False))
            try:
                call.values = parse_request(call.endpoint.schema, call.content_type, call.query, body.content)
            except PbsError as error:
                return _refuse(refusal(error))
        return _guarded(call.endpoint.run(call.values, body))


def components(path: str) -> list[str]:
    """Path components, decoded; empty ones are dropped. Raises HttpError 400 for one that begins with a dot."""
    found = []
    for part in path.split("/"):
        if part.startswith("."):
            raise HttpError(400, "path contains illegal components")
        if part:
            found.append(unquote_to_bytes(part).decode("utf-8", "replace"))
    return found


def refusal(error: Exception) -> ErrorAnswer:
    """The answer that an error becomes. Only parameter errors and bad paths have no content type."""
    if isinstance(error, FormatError):
        return ErrorAnswer(400, str(error))
    found = failure(error)
    untyped = isinstance(error, ParameterErrors) or (isinstance(error, HttpError) and error.status == 400)
    return ErrorAnswer(found.status, found.message, typed=not untyped)


def _refuse(answer: ErrorAnswer) -> Steps:
    return answer
    yield  # makes this a generator, which ends at once


def _guarded(steps: Steps) -> Steps:
    try:
        return (yield from steps)
    except (PbsError, FormatError, HttpError) as error:
        return refusal(error)


def require_extension(name: str, extension: str, text: str) -> None:
    """Refuse a file name that does not end in ``.<extension>``."""
    if not name.endswith(f".{extension}"):
        raise InvalidArgument(f"{text}: '{name}'")
