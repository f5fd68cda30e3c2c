"""The whole product as an operator starts it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from testkit.product import ProductServer
from testkit.server_command import server_command
from testkit.servers import wait_until


@pytest.mark.parametrize("arguments", [("up",), ("run", "auth"), ("check-config",), ("migrate",)])
def test_a_wrong_setting_is_named_and_refused(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = server_command(*arguments, PBS_DATA_DIR=str(tmp_path), PBS_GC_INTERVAL_HOURS="often")
    assert result.returncode == 2
    assert result.stderr.startswith("pbs-cloud: PBS_GC_INTERVAL_HOURS: ")
    assert "Traceback" not in result.stderr


def test_a_service_alone_needs_its_database(tmp_path: Path) -> None:
    result = server_command("run", "auth", PBS_DATA_DIR=str(tmp_path))
    assert result.returncode == 2
    assert "PBS_DATABASE_URL" in result.stderr
    assert "no service 'nonsense'" in server_command("run", "nonsense", PBS_DATA_DIR=str(tmp_path)).stderr


def test_check_config_shows_values_but_no_secret(tmp_path: Path) -> None:
    result = server_command(
        "check-config", PBS_DATA_DIR=str(tmp_path), PBS_DATABASE_URL="postgresql://u:hunter2@h/d", PBS_DATASTORES="tank"
    )
    assert result.returncode == 0
    assert f"PBS_DATA_DIR={tmp_path}" in result.stdout
    assert "hunter2" not in result.stdout + result.stderr


@pytest.mark.timeout(180)
def test_first_start_later_start_and_stop(own_product: Callable[..., ProductServer]) -> None:
    product = own_product()
    wait_until(lambda: "proxmox-backup-client backup " in product.log.read_text(), seconds=10, what="announcement")
    printed = product.log.read_text()
    secret = product.token_secret
    assert re.fullmatch(r"pbs_[0-9a-f]{64}", secret)
    for line in (
        f"Fingerprint: {product.fingerprint}",
        f"export PBS_REPOSITORY='root@pam!root-token@127.0.0.1:{product.port}:default'",
        f"export PBS_PASSWORD='{secret}'",
        f"export PBS_FINGERPRINT='{product.fingerprint}'",
    ):
        assert line in printed
    assert product.token_file.stat().st_mode & 0o777 == 0o600
    unshown = product.data_dir / "data" / "unshown-root-token"
    wait_until(lambda: not unshown.exists(), seconds=5, what="removal of the kept secret")
    second = server_command("up", PBS_DATA_DIR=str(product.data_dir / "data"), PBS_LISTEN_ADDR="127.0.0.1:0")
    assert second.returncode == 2
    assert "another pbs-cloud" in second.stderr
    fingerprint, pids = product.fingerprint, product.pids()
    assert product.stop() == 0
    assert not [pid for pid in pids.values() if _alive(pid)]
    product.start()
    assert product.fingerprint == fingerprint
    assert product.log.read_text().count(secret) == printed.count(secret)


@pytest.mark.timeout(180)
def test_kill_of_the_supervisor_leaves_no_orphan(own_product: Callable[..., ProductServer]) -> None:
    product = own_product()
    pids = product.pids()
    assert {"auth", "chunks", "catalogue", "gc", "billing", "postgres", "nats"} <= set(pids)
    product.kill_supervisor()
    wait_until(lambda: not any(_alive(pid) for pid in pids.values()), seconds=10, what="end of all processes")
    product.start()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", ["auth", "catalogue", "postgres", "nats"])
def test_a_killed_process_comes_back(product: ProductServer, name: str) -> None:
    old = product.pid(name)
    product.kill(name)
    product.wait_restarted(name, old)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
