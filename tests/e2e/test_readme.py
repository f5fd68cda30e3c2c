"""The README, followed literally: what the first start prints is all that a backup needs."""

import re
import subprocess
from pathlib import Path

import pytest
from testkit.client import Backup, Endpoint, Rest, Restore, Snapshot, Token
from testkit.product import ProductServer
from testkit.pxar_tree import summarise_archive, summarise_tree
from testkit.pxar_writer import encode_v1, tree_from_directory
from testkit.servers import wait_until
from testkit.sources import make_directory, open_archive

from pbs_cloud.runtime.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
EXPORT = re.compile(r"export (PBS_\w+)='([^']*)'")


@pytest.mark.xdist_group("e2e-local")
async def test_quick_start(tmp_path: Path) -> None:
    """Repository, password and fingerprint as printed: back up a directory, list it, restore it."""
    product = ProductServer().start()
    try:
        wait_until(lambda: "proxmox-backup-client" in product.log.read_text(), seconds=15, what="announcement")
        printed = dict(EXPORT.findall(product.log.read_text()))
        assert printed.keys() == dict(EXPORT.findall(README)).keys()
        match = re.fullmatch(r"(.+)@([^@:]+):(\d+):(\w+)", printed["PBS_REPOSITORY"])
        assert match, printed
        assert printed["PBS_PASSWORD"].startswith("pbs_")
        endpoint = Endpoint(match[2], int(match[3]), printed["PBS_FINGERPRINT"])
        token, snapshot = Token(match[1], printed["PBS_PASSWORD"]), Snapshot(match[4], "this-host")
        tree = tree_from_directory(make_directory(tmp_path / "etc"))
        async with await Backup.open(endpoint, token, snapshot) as backup:
            await backup.directory("etc", encode_v1(tree))
            await backup.finish()
        rest = Rest(endpoint, token)
        (listed,) = await rest.get(f"/admin/datastore/{snapshot.store}/snapshots")
        await rest.close()
        assert listed["backup-id"] == "this-host"
        async with await Restore.open(endpoint, token, snapshot) as restore:
            restored = await restore.archive("etc.pxar.didx")
        assert summarise_archive(open_archive(restored)) == summarise_tree(tree)
        assert product.status("/ready") == 200

        secret, fingerprint = product.token_secret, product.fingerprint
        assert product.stop() == 0
        product.start()
        assert (product.token_secret, product.fingerprint) == (secret, fingerprint)
        async with await Restore.open(endpoint, token, snapshot) as restore:
            assert await restore.archive("etc.pxar.didx") == restored
    finally:
        product.close()


def test_every_variable_of_the_readme_exists() -> None:
    """The table of settings names nothing that the product does not read."""
    known = {f"PBS_{name.upper()}" for name in Settings.model_fields}
    known |= {str(field.validation_alias) for field in Settings.model_fields.values() if field.validation_alias}
    client = {"PBS_REPOSITORY", "PBS_PASSWORD", "PBS_FINGERPRINT", "PBS_API_URL", "PBS_API_TOKEN"}
    named = set(re.findall(r"\b(?:PBS|AWS)_[A-Z0-9_]*[A-Z0-9]\b", README)) - client
    assert {name for name in named if name not in known and not name.startswith("PBS_WORM")} <= {"PBS_ENCRYPTION_KEY"}


def test_every_make_target_of_the_readme_is_listed() -> None:
    """`make help` shows what the README promises, each with a line of its own."""
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = {line.split()[0] for line in shown.splitlines() if len(line.split()) > 1}
    wanted = {"run", "test", "lint", "format", "typecheck", "proto", "bench", "fuzz", "clean", "help"}
    assert wanted <= listed
    assert set(re.findall(r"^make (\w+)", README, re.MULTILINE)) <= listed
