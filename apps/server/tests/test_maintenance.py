"""`adopt`, `rebuild` and `fsck` as an operator types them, with the product stopped and its own database."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from testkit.product import ProductServer
from testkit.server_command import server_command
from testkit.servers import temporary_folder

from pbs_cloud.chunkstore.backends import local_layout, prefix_folders


@pytest.fixture
def folder() -> Iterator[Path]:
    made = temporary_folder("maintenance")
    yield made
    shutil.rmtree(made, ignore_errors=True)


def empty_store(path: Path) -> None:
    """A datastore of a real PBS before its first backup."""
    owner = local_layout.store_owner()
    local_layout.create_layout(path, owner, "x")
    ids = () if owner is None else (str(owner.uid), str(owner.gid))
    subprocess.run([sys.executable, "-m", prefix_folders.__name__, str(path), *ids], check=True)
    for name in (local_layout.MARK_NAME, local_layout.PENDING_NAME):
        (path / name).unlink()


@pytest.mark.timeout(300)
def test_the_commands_with_the_product_stopped(folder: Path) -> None:
    data, store = folder / "data", folder / "old-store"
    nothing = server_command("fsck", PBS_DATA_DIR=str(data))
    assert (nothing.returncode, "holds no database" in nothing.stderr) == (2, True), nothing.stderr
    refused = server_command("adopt", str(folder), PBS_DATA_DIR=str(data))
    assert (refused.returncode, refused.stdout) == (1, ""), refused.stderr
    empty_store(store)
    adopted = server_command("adopt", str(store), "--tenant", "acme", "--output-format", "json", PBS_DATA_DIR=str(data))
    assert adopted.returncode == 0, adopted.stderr
    answer = json.loads(adopted.stdout)
    assert (answer["tenant"], answer["name"], answer["already"]) == ("acme", "old-store", False)
    again = server_command("adopt", str(store), "--tenant", "acme", PBS_DATA_DIR=str(data))
    assert (again.returncode, "already" in again.stdout) == (0, True)
    sound = server_command("fsck", "--read-data", PBS_DATA_DIR=str(data))
    assert (sound.returncode, "datastore 'old-store' of tenant 'acme': ok" in sound.stdout) == (0, True), sound.stderr
    (store / "host" / "h" / "2026-01-01T00:00:00Z").mkdir(parents=True)
    (store / "host" / "h" / "2026-01-01T00:00:00Z" / "index.json.blob").write_bytes(b"stranger")
    found = server_command("fsck", "--output-format", "json", "--store", "old-store", PBS_DATA_DIR=str(data))
    assert found.returncode == 1, found.stderr
    assert json.loads(found.stdout)[0]["totals"] == {"object without row": 1}
    none = server_command("rebuild", PBS_DATA_DIR=str(data))
    assert (none.returncode, "no such datastore" in none.stderr) == (1, True)
    assert not (data / "postgres" / "postmaster.pid").exists(), "its database was stopped again"


@pytest.mark.timeout(300)
def test_beside_the_running_product(product: ProductServer, folder: Path) -> None:
    data, store = product.data_dir / "data", folder / "beside"
    empty_store(store)
    adopted = server_command("adopt", str(store), "--name", "beside", PBS_DATA_DIR=str(data))
    assert adopted.returncode == 0, adopted.stderr
    compared = server_command("fsck", "--store", "beside", PBS_DATA_DIR=str(data))
    assert (compared.returncode, "'beside' of tenant 'default': ok" in compared.stdout) == (0, True), compared.stderr
    assert product.pid("postgres"), "its database goes on"
