"""The reference follows from the schemas."""

from __future__ import annotations

import json
from pathlib import Path

from pbs_cloud.gateway.rest.endpoints import all_endpoints
from pbs_cloud.gateway.rest.openapi import document, page

REFERENCE = Path(__file__).parents[4] / "docs" / "reference"


def test_the_committed_reference_is_the_present_one() -> None:
    hint = "run python -m pbs_cloud.gateway.rest.openapi"
    assert (REFERENCE / "rest.md").read_text() == page(), hint
    assert json.loads((REFERENCE / "openapi.json").read_text()) == json.loads(json.dumps(document())), hint


def test_every_endpoint_and_parameter_is_in_the_document() -> None:
    paths = document()["paths"]
    for endpoint in all_endpoints():
        operation = paths[f"/api2/json/{endpoint.path}"][endpoint.method.lower()]
        shown = {parameter["name"] for parameter in operation["parameters"]}
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        shown |= set(body.get("properties", {})) | {
            name for schema in body.get("anyOf", ()) for name in schema["properties"]
        }
        assert set(endpoint.schema.params) <= shown, endpoint.path
