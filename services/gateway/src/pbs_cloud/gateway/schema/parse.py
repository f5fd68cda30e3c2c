"""Parameters of a request: from query, form, JSON body and path to checked values (rest-api A.3, wire-protocol 1.7)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn
from urllib.parse import unquote_plus

from pbs_cloud.contracts.errors import InvalidArgument
from pbs_cloud.gateway.schema.errors import (
    DUPLICATE,
    MISSING_JSON,
    MISSING_TEXT,
    UNKNOWN_JSON,
    UNKNOWN_TEXT,
    Invalid,
    ParameterErrors,
)
from pbs_cloud.gateway.schema.types import Schema

FORM_TYPE = "application/x-www-form-urlencoded"
JSON_TYPE = "application/json"
_IGNORED = "_dc"
_NO_PATH: Mapping[str, str] = {}


def parse_query(schema: Schema, query: str | bytes, path_params: Mapping[str, str] = _NO_PATH) -> dict[str, Any]:
    """Values from the query string and the path alone (kind P2 of wire-protocol 1.7).

    Raises:
        ParameterErrors: something is missing, unknown, given twice or malformed.
        InvalidArgument: a value that is checked only when it is decoded.
    """
    return _from_texts(schema, [*path_params.items(), *_pairs(query)])


def parse_request(
    schema: Schema,
    content_type: str | None,
    query: str | bytes,
    body: bytes,
    path_params: Mapping[str, str] = _NO_PATH,
) -> dict[str, Any]:
    """Values of an ordinary request (kinds P1, P3). A form body that begins with ``{`` counts as JSON (rest-api D.1).

    Raises:
        ParameterErrors: something is missing, unknown, given twice or malformed.
        InvalidArgument: unsupported content type, body that is no JSON object, late check of a value.
    """
    if _is_json(content_type, body):
        return _from_json(schema, parse_json_object(body), path_params)
    if _media_type(content_type) != FORM_TYPE:
        raise InvalidArgument(f"unsupported content type {content_type!r}")
    return _from_texts(schema, [*path_params.items(), *_pairs(query), *_pairs(body)])


def names_parameter(content_type: str | None, query: str | bytes, body: bytes, name: str) -> bool:
    """Whether a request gives the parameter ``name``, wherever its kind of body would put it."""
    if _is_json(content_type, body):
        return name in parse_json_object(body)
    return any(found == name for found, _ in (*_pairs(query), *_pairs(body)))


def _is_json(content_type: str | None, body: bytes) -> bool:
    kind = _media_type(content_type)
    return kind == JSON_TYPE or (kind == FORM_TYPE and body.lstrip()[:1] == b"{")


def _media_type(content_type: str | None) -> str:
    return (content_type or FORM_TYPE).split(";", 1)[0].strip()


def parse_json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body; an empty body is an empty object. Raises InvalidArgument for anything else."""
    if not body.strip():
        return {}
    try:
        found = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidArgument("unable to parse parameters: the body is not valid JSON") from None
    if not isinstance(found, dict):
        raise InvalidArgument("unable to parse parameters: expected a JSON object")
    return found


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(text)


def _pairs(encoded: str | bytes) -> Iterable[tuple[str, str]]:
    """Form-urlencoded pairs in order; bytes that are no UTF-8 become U+FFFD."""
    text = encoded.decode("utf-8", "replace") if isinstance(encoded, bytes) else encoded
    for part in text.split("&"):
        if part:
            name, _, value = part.partition("=")
            yield unquote_plus(name), unquote_plus(value)


def _from_texts(schema: Schema, pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        if name != _IGNORED:
            given.setdefault(schema.named(name), []).append(value)
    values: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, texts in given.items():
        param = schema.params.get(name)
        try:
            if param is not None:
                values[name] = param.type.from_texts(texts)
            elif not schema.open:
                errors[name] = UNKNOWN_TEXT if len(texts) == 1 else DUPLICATE
        except Invalid as error:
            errors[name] = str(error)
    return _complete(schema, values, errors, MISSING_TEXT)


def _from_json(schema: Schema, given: dict[str, Any], path_params: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for written, value in {**given, **path_params}.items():
        name = schema.named(written)
        param = schema.params.get(name)
        try:
            if name != written and name in given:
                errors[name] = DUPLICATE
            elif param is None:
                if not schema.open:
                    errors[_printable(name)] = UNKNOWN_JSON
            elif name in path_params:
                values[name] = param.type.from_text(value)
            else:
                values[name] = param.type.from_json(value)
        except Invalid as error:
            errors[name] = str(error)
    return _complete(schema, values, errors, MISSING_JSON)


def _printable(name: str) -> str:
    return name.encode("utf-8", "replace").decode()


def _complete(schema: Schema, values: dict[str, Any], errors: dict[str, str], missing: str) -> dict[str, Any]:
    for name, param in schema.params.items():
        if name in values or name in errors:
            continue
        if not param.optional:
            errors[name] = missing
        elif param.default is not None:
            values[name] = param.default
    if errors:
        raise ParameterErrors(errors)
    for name, value in values.items():
        if value is not None:
            values[name] = schema.params[name].type.decode(value)
    return values
