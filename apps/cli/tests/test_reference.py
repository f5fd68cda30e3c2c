"""The commands against the API's own description, and the page that describes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pbs_cloud.cli import reference
from pbs_cloud.cli.build import command, parameters
from pbs_cloud.cli.groups.find import TENANT
from pbs_cloud.cli.index import GROUPS, TOP, load_group, load_top
from pbs_cloud.cli.spec import Command

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = json.loads((ROOT / "docs" / "reference" / "openapi.json").read_text())["paths"]

# Calls without a command of their own; all but the upgrades can be made with `pbs-cloud api`.
WITHOUT_COMMAND = {
    "GET backup": "begins the backup protocol, which clients of it speak",
    "GET reader": "begins the restore protocol, which clients of it speak",
    "POST billing/webhook": "where other services deliver their webhooks",
    "POST access/openid/auth-url": "a step of a login in the browser",
    "POST access/openid/login": "a step of a login in the browser",
    "DELETE access/ticket": "clears the cookie of a browser",
    "GET admin/metrics": "servers that metrics are sent to: there are never any",
    "POST admin/prune": "`prune` makes the same through the stock calls",
}


def _all_commands() -> Iterator[tuple[str, Command]]:
    yield from ((name, load_top(name)) for name in TOP)
    for group in GROUPS:
        yield from ((f"{group} {name}", found) for name, found in load_group(group).items())


COMMANDS = tuple(_all_commands())
OPERATIONS: dict[str, Any] = {
    f"{method.upper()} {path.removeprefix('/api2/json/')}": operation
    for path, methods in DOCUMENT.items()
    for method, operation in methods.items()
    if method in ("get", "post", "put", "delete")
}


def accepted(operation: Any) -> tuple[set[str], set[str]]:
    """Names of all parameters of a call, and of those that it needs."""
    names = {entry["name"] for entry in operation.get("parameters", [])}
    needed = {entry["name"] for entry in operation.get("parameters", []) if entry.get("required")}
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        for variant in schema.get("anyOf", [schema]):
            names |= set(variant["properties"])
        needed |= set(schema.get("required", []))
    return names, needed


def test_every_call_has_a_command_or_a_reason() -> None:
    made = {call for _, found in COMMANDS for call in found.calls}
    assert made - set(OPERATIONS) == set(), "no such call"
    assert set(OPERATIONS) - made == set(WITHOUT_COMMAND)


def test_a_plain_command_sends_what_the_call_knows() -> None:
    for name, found in COMMANDS:
        if found.run is not None:
            continue
        [call] = found.calls
        names, needed = accepted(OPERATIONS[call])
        spread = {"backup-type", "backup-id", "backup-time"} if any(param.spread for param in found.params) else set()
        sent = {"upid" if param.name == "task" else param.name for param in found.params if not param.spread}
        assert (spread & names) | sent <= names, name
        given = {
            param.name
            for param in found.params
            if param.required or param.find or param.ask or param.default is not None
        }
        assert needed <= given | spread | {"node", "upid"}, name


# Follows from an argument or from the command itself; or is about terminals and groups of users, which do not exist.
IMPLIED = {
    "store", "node", "upid", "backup-type", "backup-id", "backup-time", "filepath", "archive-name", "test-status",
    "use-task", "tfa-challenge", "password", "confirmation-password", "http-only", "regenerate", "delete", "protected",
    "path", "privs", "port", "group", "type", "totp", "value", "challenge", "max-depth",
}  # fmt: skip
RENAMED = {"name": "ns", "parent": "ns", "tenant_id": "tenant", "username": "userid", "expires_at": "expire"}


def test_what_a_call_takes_is_an_option_of_one_of_its_commands() -> None:
    missing = set()
    for call in set(OPERATIONS) - set(WITHOUT_COMMAND):
        names, _ = accepted(OPERATIONS[call])
        if call == "PUT config/datastore/{name}":  # refused there: they belong to the datastore's prune job
            names -= {name for name in names if name.startswith("keep-")} | {"prune-schedule"}
        offered = {param.name for _, found in COMMANDS if call in found.calls for param in parameters(found)}
        similar = {name.replace("_", "-") for name in offered} | ({"start-time"} if "since" in offered else set())
        missing |= {
            (call, name)
            for name in names - IMPLIED
            if name.replace("_", "-") not in similar and RENAMED.get(name) not in offered
        }
    assert missing == set()


def test_no_option_meets_a_common_one_and_every_command_builds() -> None:
    for name, found in COMMANDS:
        flags = [
            flag
            for param in parameters(found)
            for flag in (param.flags or (f"--{param.name}",))
            if not param.positional
        ]
        assert not set(flags) & reference.options(), name
        assert len(set(flags)) == len(flags), name
        assert found.help.endswith("."), name
        assert command(found).name == found.name
    assert TENANT.find is not None


def test_the_page_is_current() -> None:
    assert reference.TARGET == ROOT / "docs" / "reference" / "cli.md"
    assert reference.text() == reference.TARGET.read_text(), "run python -m pbs_cloud.cli.reference"
