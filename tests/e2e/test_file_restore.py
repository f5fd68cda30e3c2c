"""Single files and folders out of archives, as PVE's file browser and its file restore ask for them (rest-api C.8)."""

import base64
import io
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import zstandard
from testkit.chunker import dynamic_chunks
from testkit.client import Backup
from testkit.pxar_writer import encode_catalog, encode_split, encode_v1, tree_from_directory
from testkit.sources import MIB, make_directory, make_image
from testkit.world import Tenant

from pbs_cloud.formats.index import DYNAMIC_MAGIC, FIXED_MAGIC

MAGICS = {"fidx": FIXED_MAGIC, "didx": DYNAMIC_MAGIC, "blob": bytes.fromhex("42ab3807be8370a1")}
WAYS = ("plain", "split")


def _encoded(path: str) -> str:
    return base64.b64encode(path.encode()).decode()


class Browser:
    """Calls about one snapshot; ``way``: how the archive is stored and named."""

    def __init__(self, tenant: Tenant, way: str) -> None:
        self._tenant = tenant
        self._where = tenant.snapshot("files").parameters()
        self._archive = None if way == "plain" else "root.mpxar.didx"

    def _parameters(self, path: str, **more: object) -> dict[str, object]:
        """Paths inside an archive that is named begin with a slash; else the archive is the first part."""
        if self._archive is not None:
            return {**self._where, "filepath": _encoded(path), "archive-name": self._archive, **more}
        return {**self._where, "filepath": _encoded(f"root.pxar.didx{path}"), **more}

    async def entries(self, path: str) -> dict[str, dict[str, Any]]:
        """One level, by name."""
        listed = await self._tenant.rest.call("GET", f"{self._tenant.base}/catalog", self._parameters(path))
        return {item["text"]: item for item in listed}

    async def download(self, path: str, **more: object) -> bytes:
        """Body of a successful download."""
        parameters = self._parameters(path, **more)
        answer = await self._tenant.rest.exchange("GET", f"{self._tenant.base}/pxar-file-download", parameters)
        assert answer.status == 200, answer.body
        assert answer.headers["content-type"] == "application/octet-stream"
        return answer.body

    async def refusal(self, path: str) -> str:
        """Text of a refused download."""
        parameters = self._parameters(path)
        answer = await self._tenant.rest.exchange("GET", f"{self._tenant.base}/pxar-file-download", parameters)
        assert answer.status == 400
        return answer.body.decode()


async def _back_up(tenant: Tenant, root: Path, way: str) -> None:
    tree = tree_from_directory(root)
    where = tenant.snapshot("files")
    async with await Backup.open(tenant.endpoint, tenant.admin.credential, where) as backup:
        if way == "plain":
            await backup.directory("root", encode_v1(tree), encode_catalog({"root.pxar.didx": tree}))
        else:
            metadata, payload = encode_split(tree)
            await backup.split("root", metadata, dynamic_chunks([payload], 128 << 10))
        await backup.image("disk", make_image(1, 77))
        await backup.blob("a.conf.blob", b"a = b\n")
        await backup.finish()


@pytest.mark.parametrize("way", WAYS)
async def test_files_and_folders(tenant: Tenant, tmp_path: Path, way: str) -> None:
    """What the browser shows and gives is what was backed up: by listing, as a file, as zip and as tar.zst."""
    root = make_directory(tmp_path / "source", size=2 * MIB)
    await _back_up(tenant, root, way)
    browser = Browser(tenant, way)

    top = await browser.entries("/" if way != "plain" else "")
    assert {name for name in top if name.isascii()} >= {"etc", "data", "link", "dangling", "fifo", "n" * 200}
    assert {name: top[name]["type"] for name in ("etc", "link", "fifo")} == {"etc": "d", "link": "l", "fifo": "p"}
    data = await browser.entries("/data")
    assert (data["large"]["size"], data["large"]["leaf"]) == ((root / "data" / "large").stat().st_size, True)

    for name in ("data/large", "data/random", "data/sparse", "etc/hosts", "etc/nothing", "etc/hardlink"):
        assert await browser.download(f"/{name}") == (root / name).read_bytes(), name

    with zipfile.ZipFile(io.BytesIO(await browser.download("/data"))) as archive:
        assert archive.testzip() is None
        found = {name.removeprefix("data/"): archive.read(name) for name in archive.namelist() if name[-1] != "/"}
    assert found == {path.name: path.read_bytes() for path in (root / "data").iterdir()}

    packed = await browser.download("/", tar=True)
    with tarfile.open(fileobj=io.BytesIO(zstandard.ZstdDecompressor().decompressobj().decompress(packed))) as tar:
        members = {member.name.strip("/").removeprefix("./"): member for member in tar.getmembers()}
        for name in ("data/text", "etc/hosts", "data/random"):
            taken = tar.extractfile(members[name])
            assert taken is not None
            assert taken.read() == (root / name).read_bytes()
    assert stat.S_IMODE(members["data/text"].mode) == 0o4750
    assert members["link"].linkname == "etc/hosts"
    assert members["fifo"].isfifo()
    assert members["etc/hosts"].mtime == int((root / "etc" / "hosts").stat().st_mtime)

    if way == "split":
        for name in ("root.ppxar.didx", "root.pxar", "root.mpxar"):
            content = await browser.download("/etc/hosts", **{"archive-name": name})
            assert content == (root / "etc" / "hosts").read_bytes(), name
    for path in ("/fifo", "/no/such", "/etc/hosts/"):
        assert await browser.refusal(path)


async def test_whole_files(tenant: Tenant, tmp_path: Path) -> None:
    """`download` gives what is stored, `download-decoded` what was backed up."""
    root = make_directory(tmp_path / "source", size=MIB)
    await _back_up(tenant, root, "plain")
    where = tenant.snapshot("files").parameters()
    decoded = {
        "disk.img.fidx": bytes(make_image(1, 77)),
        "root.pxar.didx": encode_v1(tree_from_directory(root)),
        "a.conf.blob": b"a = b\n",
    }
    for name, content in decoded.items():
        answer = await tenant.rest.exchange("GET", f"{tenant.base}/download-decoded", {**where, "file-name": name})
        assert (answer.status, answer.body) == (200, content), name
        stored = await tenant.rest.exchange("GET", f"{tenant.base}/download", {**where, "file-name": name})
        assert stored.status == 200
        assert stored.body[:8] == MAGICS[name.rpartition(".")[2]]
    answer = await tenant.rest.exchange("GET", f"{tenant.base}/download", {**where, "file-name": "no.blob"})
    assert (answer.status, answer.body.startswith(b"File open failed")) == (400, True)
