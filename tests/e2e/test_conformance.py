"""What a real PBS answered, played against the product with the unmodified tools in `tests/conformance`."""

import asyncio
import json
import re
import secrets
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from testkit.client import Rest
from testkit.product import ProductServer
from testkit.world import Tenant, endpoint_of, fresh, root_token

TOOLS = Path(__file__).resolve().parents[1] / "conformance"
RECORDINGS = sorted((TOOLS / "recordings").glob("*.json"))


async def _run(*command: str | Path, seconds: float) -> tuple[int, str]:
    """Exit code and output of one of the tools."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        process.kill()
        raise
    return process.returncode or 0, output.decode()


async def _accounts(tenant: Tenant) -> list[str]:
    """The three identities that the recordings need, as arguments of the replay tool."""
    rest, arguments = tenant.rest, []
    password = secrets.token_hex(12)
    roles = {"auth": "DatastoreAdmin", "other-auth": "DatastoreBackup", "powerless-auth": None}
    for number, (option, role) in enumerate(roles.items()):
        user = f"conf{number}@{tenant.realm}"
        await rest.post("/access/users", userid=user, password=password)
        made = await rest.post(f"/access/users/{quote(user)}/token/ci")
        for auth_id in (user, made["tokenid"]):
            if role:
                await rest.call("PUT", "/access/acl", {"path": "/datastore", "role": role, "auth-id": auth_id})
        arguments.append(f"--{option}=PBSAPIToken={made['tokenid']}:{made['value']}")
    return [*arguments, f"--user=conf0@{tenant.realm}", f"--password={password}"]


@pytest.mark.timeout(400)
async def test_recordings(server: ProductServer, tenant: Tenant) -> None:
    """All recorded sessions, in one namespace and in name order, as they rely on each other."""
    options = [f"--url={server.url}", f"--fingerprint={server.fingerprint}", f"--datastore={tenant.store}"]
    code, output = await _run(TOOLS / "replay.py", *options, *await _accounts(tenant), *RECORDINGS, seconds=380)
    exchanges = [exchange for path in RECORDINGS for exchange in json.loads(path.read_text())["exchanges"]]
    answered = sum(bool(exchange["answered"]) for exchange in exchanges)
    assert (code, output.splitlines()[-1]) == (0, f"{answered} passed, 0 failed"), output
    assert re.search("^namespace .* removed$", output, re.MULTILINE), output


async def test_recordings_in_the_root_namespace(server: ProductServer, own_tenant: Tenant) -> None:
    """The same for a short list in the root of an empty datastore."""
    tenant = own_tenant
    names = ("01-login", "02-dir-first", "03-dir-incremental", "04-dir-restore", "07-image-first", "24-benchmark")
    played = [path for path in RECORDINGS if path.stem in names]
    options = [f"--url={server.url}", f"--fingerprint={server.fingerprint}", f"--datastore={tenant.store}"]
    accounts = await _accounts(tenant)
    code, output = await _run(TOOLS / "replay.py", *options, "--namespace=", *accounts, *played, seconds=120)
    assert code == 0, output


async def _administrator(server: ProductServer) -> tuple[str, str]:
    """A user with a password and role `Admin` on `/`, made with the operator's token (rest-api D.13)."""
    operator = Rest(endpoint_of(server), root_token(server))
    user, password = f"{fresh('adm')}@pbs", secrets.token_hex(12)
    await operator.post("/access/users", userid=user, password=password)
    await operator.call("PUT", "/access/acl", {"path": "/", "role": "Admin", "auth-id": user})
    await operator.close()
    return user, password


def _cases() -> int:
    """Number of cases of levels must and should."""
    suites = [json.loads(path.read_text()) for path in (TOOLS / "rest").glob("*.json")]
    return sum(case.get("level", "must") in ("must", "should") for suite in suites for case in suite.get("cases", []))


@pytest.mark.timeout(400)
async def test_rest_cases(server: ProductServer) -> None:
    """The recorded answers of the REST interface, levels must and should."""
    user, password = await _administrator(server)
    options = [f"--url={server.url}", f"--fingerprint={server.fingerprint}", f"--user={user}", f"--password={password}"]
    code, output = await _run(TOOLS / "rest.py", *options, "--levels=must,should", seconds=380)
    assert (code, output.splitlines()[-1]) == (0, f"{_cases()} passed, 0 failed"), output
