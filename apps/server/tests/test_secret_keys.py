"""`reseal` and `rotate-ticket-keys` as an operator types them, beside the running product."""

import json
from pathlib import Path

import pytest
from testkit.client import Rest
from testkit.product import ProductServer
from testkit.server_command import server_command
from testkit.world import new_tenant


def test_without_an_installation(tmp_path: Path) -> None:
    nothing = server_command("reseal", "--new-key", PBS_DATA_DIR=str(tmp_path))
    assert (nothing.returncode, "holds no database" in nothing.stderr) == (2, True), nothing.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.timeout(300)
async def test_keys_are_replaced_beside_the_product(product: ProductServer) -> None:
    """That of stored secrets in one step, then the old one goes; that of tickets with overlap. Nothing is restarted."""
    data = product.data_dir / "data"
    keys = data / "secrets.key"
    async with new_tenant(product) as tenant:
        login = await Rest.login(tenant.endpoint, tenant.admin.auth_id.partition("!")[0], tenant.password)
        far = {"name": "far", "host": "pbs.example.com", "auth-id": "sync@pbs", "password": "remote-password"}
        await tenant.rest.call("POST", "/config/remote", far)
        answer = server_command("reseal", "--new-key", "--output-format", "json", PBS_DATA_DIR=str(data))
        assert answer.returncode == 0, answer.stderr
        found = json.loads(answer.stdout)
        assert found["unreadable"] == []
        assert (found["services"]["auth"]["renewed"] >= 2, found["services"]["gc"]["renewed"] >= 1) == (True, True)
        first, _ = keys.read_text().split()
        keys.write_text(f"{'ab' * 32}\n")
        refused = server_command("reseal", PBS_DATA_DIR=str(data))
        assert (refused.returncode, "put their key back into the file" in refused.stdout) == (1, True), refused.stderr
        assert "config_entry.secret of" in refused.stdout
        keys.write_text(f"{first}\n")
        overlap = server_command("rotate-ticket-keys", PBS_DATA_DIR=str(data))
        assert (overlap.returncode, "a new key signs from 2" in overlap.stdout) == (0, True), overlap.stderr
        assert await login.get("/access/permissions")
        await tenant.rest.call("POST", "/config/remote", {**far, "name": "farther"})
        await login.close()
