"""The API's reference from its schemas: an OpenAPI document and a page for people.

python -m pbs_cloud.gateway.rest.openapi [FOLDER]     (default: docs/reference)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pbs_cloud.gateway.rest.answers import answer_type, shape_schemas
from pbs_cloud.gateway.rest.endpoint import Area, Endpoint
from pbs_cloud.gateway.rest.endpoints import AREAS
from pbs_cloud.gateway.schema.types import Param, describe

PREFIX = "/api2/json"
_INTRODUCTION = """# REST API

All calls below `/api2/json` (or `/api2/extjs`). Parameters come from query and form body, or from a JSON body; calls
marked *raw* take them from the query only. Names in braces are path segments. Errors, envelopes and authentication are
those of Proxmox Backup Server 4.2; calls marked *own* are this project's, with errors as `{"error": …}`.

This page and `openapi.json` are made from the schemas by `python -m pbs_cloud.gateway.rest.openapi`; do not edit them.
"""


def document(areas: Iterable[Area] = AREAS) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    paths: dict[str, dict[str, Any]] = {}
    for area in areas:
        for endpoint in area.endpoints:
            paths.setdefault(f"{PREFIX}/{endpoint.path}", {})[endpoint.method.lower()] = _operation(area, endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "PBS Cloud", "version": version("pbs-cloud-gateway")},
        "tags": [{"name": area.title} for area in areas],
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": shape_schemas(), "securitySchemes": _security(), "responses": _responses()},
    }


def _security() -> dict[str, Any]:
    return {
        "token": {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "PBSAPIToken=<id>:<secret>",
        },
        "bearer": {"type": "http", "scheme": "bearer"},
        "ticket": {"type": "apiKey", "in": "cookie", "name": "PBSAuthCookie"},
    }


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/responses/{name}"}


def _in_path(endpoint: Endpoint, name: str) -> bool:
    return "{" + name + "}" in endpoint.path


def _operation(area: Area, endpoint: Endpoint) -> dict[str, Any]:
    params = endpoint.schema.params
    body = not endpoint.raw and endpoint.method in ("POST", "PUT")
    shown = [_parameter(endpoint, name, p) for name, p in params.items() if _in_path(endpoint, name) or not body]
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.method.lower()} {endpoint.path}",
        "summary": endpoint.summary,
        "description": f"Access: {endpoint.access.describe()}.",
        "tags": [area.title],
        "parameters": shown,
        "responses": {"2XX": _answer(endpoint), "default": _reference("OwnError" if endpoint.extra else "Error")},
        "security": [] if endpoint.access.public else [{"token": []}, {"bearer": []}, {"ticket": []}],
    }
    if body:
        operation["requestBody"] = _request_body(endpoint)
    return operation


def _answer(endpoint: Endpoint) -> dict[str, Any]:
    kind = answer_type(endpoint)
    if kind is None:
        return _reference("Content")
    envelope = {"type": "object", "properties": {"data": kind}, "required": ["data"]}
    return {"description": "done", "content": {"application/json": {"schema": envelope}}}


def _parameter(endpoint: Endpoint, name: str, param: Param) -> dict[str, Any]:
    in_path = _in_path(endpoint, name)
    return {
        "name": name,
        "in": "path" if in_path else "query",
        "required": in_path or not param.optional,
        "schema": describe(param),
    }


def _request_body(endpoint: Endpoint) -> dict[str, Any]:
    fields = {name: param for name, param in endpoint.schema.params.items() if not _in_path(endpoint, name)}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {name: describe(param) for name, param in fields.items()},
        "required": [name for name, param in fields.items() if not param.optional],
        "additionalProperties": False,
    }
    if endpoint.alternative is not None:
        schema = {"anyOf": [schema, endpoint.alternative[1].schema.json_schema()]}
    kinds = ("application/json", "application/x-www-form-urlencoded")
    return {"content": {kind: {"schema": schema} for kind in kinds}}


def _responses() -> dict[str, Any]:
    return {
        "Content": {"description": "the content itself, without an envelope"},
        "Error": {"description": "refused, or something the call needs is away; the body is the message as text"},
        "OwnError": {"description": 'the same; the body is `{"error": …}`'},
    }


def page(areas: Iterable[Area] = AREAS) -> str:
    """The reference in Markdown."""
    lines = [_INTRODUCTION]
    for area in areas:
        lines.append(f"## {area.title}\n")
        for endpoint in area.endpoints:
            lines += _section(endpoint)
            if endpoint.alternative is not None:
                lines += _section(endpoint.alternative[1])
    return "\n".join(lines).rstrip() + "\n"


def _section(endpoint: Endpoint) -> list[str]:
    marks = [word for word, is_set in (("raw", endpoint.raw), ("own", endpoint.extra)) if is_set]
    kind = f" ({', '.join(f'*{mark}*' for mark in marks)})" if marks else ""
    lines = [f"### `{endpoint.method} {endpoint.path}`{kind}\n", endpoint.summary, ""]
    lines += [f"Access: {endpoint.access.describe()}.", ""]
    shown = {name: param for name, param in endpoint.schema.params.items() if not _in_path(endpoint, name)}
    if shown:
        lines += ["| Parameter | Type | | Meaning |", "|---|---|---|---|"]
        lines += [_row(name, param) for name, param in shown.items()]
        lines.append("")
    return lines


def _row(name: str, param: Param) -> str:
    need = "required" if not param.optional else _default(param)
    return f"| `{name}` | {_type_text(param)} | {need} | {param.description.replace('|', chr(92) + '|')} |"


def _default(param: Param) -> str:
    return "" if param.default in (None, "") else f"default `{json.dumps(param.default)}`"


def _type_text(param: Param) -> str:
    schema = param.type.json_schema()
    if "anyOf" in schema:
        return f"{schema['anyOf'][0].get('type', 'value')} or null"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return "list of " + (", ".join(f"`{v}`" for v in schema["items"].get("enum", ())) or "text")
    limits = [str(schema[key]) if key in schema else "" for key in ("minimum", "maximum")]
    lengths = [str(schema[key]) if key in schema else "" for key in ("minLength", "maxLength")]
    span = "…".join(limits) if any(limits) else ""
    chars = f"{'…'.join(lengths)} characters" if any(lengths) else ""
    return " ".join(part for part in (str(schema.get("type", "never accepted")), span or chars) if part)


def main(folder: Path) -> None:
    """Write ``rest.md`` and ``openapi.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rest.md").write_text(page())
    (folder / "openapi.json").write_text(json.dumps(document(), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference"))
