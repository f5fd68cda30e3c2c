"""The table of damages of formats 11.1, row by row, on a snapshot with one archive of one chunk and one blob."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import zstandard
from testkit.chunk_world import Chunk, encrypted_chunk, plain_chunk
from testkit.maintenance import ADMIN, FIRST_TIME, STORE, Archive, Maintained

from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.jobs import VerifyOptions, VerifyScope
from pbs_cloud.formats import blob

pytestmark = pytest.mark.asyncio(loop_scope="module")
_numbers = itertools.count(1)
CONTENT = b"conf" * 100
BLOB = blob.encode(CONTENT)


@dataclass
class Subject:
    """A snapshot to damage."""

    world: Maintained
    key: t.SnapshotKey
    chunk: Chunk

    def change_chunk(self, change: Callable[[bytes], bytes]) -> None:
        path = self.world.chunk_file(self.chunk)
        path.write_bytes(change(path.read_bytes()))

    def change(self, name: str, change: Callable[[bytes], bytes]) -> None:
        path = self.world.file(self.key, name)
        path.write_bytes(change(path.read_bytes()))


@dataclass
class Row:
    """What is done, and what must come of it. ``make``: how the backup is made."""

    damage: Callable[[Subject], object]
    state: str | None
    bad: int = 0
    chunk: Callable[[], Chunk] = lambda: plain_chunk(3000, compress=True, content=_content())
    mode: str = "none"
    blob: bytes = BLOB
    manifest: dict[str, Any] = field(default_factory=dict)


def _content() -> bytes:
    return f"content {next(_numbers)} ".encode() * 200


def flip(at: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[at] ^= 1
        return bytes(changed)

    return change


def nothing(_: Subject) -> None:
    return


def chunk(change: Callable[[bytes], bytes]) -> Callable[[Subject], None]:
    return lambda subject: subject.change_chunk(change)


def index(change: Callable[[bytes], bytes]) -> Callable[[Subject], None]:
    return lambda subject: subject.change("a.didx", change)


def conf(change: Callable[[bytes], bytes]) -> Callable[[Subject], None]:
    return lambda subject: subject.change("b.blob", change)


def manifest(change: Callable[[bytes], bytes]) -> Callable[[Subject], None]:
    return lambda subject: subject.change("index.json.blob", change)


def recoded(**options: Any) -> Callable[[Subject], None]:
    """The same content in other zstd frames."""

    def damage(subject: Subject) -> None:
        content = blob.decode(subject.world.chunk_file(subject.chunk).read_bytes())
        coder = zstandard.ZstdCompressor(write_content_size=options.get("sized", True))
        cut = len(content) // 2 if options.get("frames") == 2 else len(content)
        body = coder.compress(content[:cut]) + (coder.compress(content[cut:]) if cut < len(content) else b"")
        body += options.get("behind", b"")
        subject.change_chunk(lambda _: blob.assemble(blob.BlobKind.ZSTD, body))

    return damage


def secret() -> Chunk:
    return encrypted_chunk(2000)


def recomputed(data: bytes) -> bytes:
    return bytes(blob.with_crc(flip(-1)(data)))


def add_file(**member: Any) -> dict[str, Any]:
    entry = {"size": len(BLOB), "csum": "00" * 32, "crypt-mode": "none", **member}
    return {"edit": lambda members: members["files"].append(entry)}


def twice(members: dict[str, Any]) -> None:
    members["files"] *= 2


def other(**changes: Any) -> dict[str, Any]:
    return {"edit": lambda members: members["files"][1].update(changes)}


def clutter(subject: Subject) -> None:
    folder = subject.world.file(subject.key, "x").parent
    (folder / "client.log.blob").write_bytes(b"garbage")
    (folder / "unlisted.didx").write_bytes(b"garbage")
    (folder / "sub").mkdir()


ROWS = {
    "sound": Row(nothing, "ok"),
    "plain: bit flip": Row(chunk(flip(-1)), "failed", 1),
    "plain: wrong CRC": Row(chunk(flip(8)), "failed", 1),
    "plain: wrong magic": Row(chunk(flip(0)), "failed", 1),
    "plain: truncated": Row(chunk(lambda data: data[:-3]), "failed", 1),
    "plain: empty file": Row(chunk(lambda data: b""), "failed", 1),
    "plain: missing": Row(lambda s: s.world.chunk_file(s.chunk).unlink(), "failed", 0),
    "plain: blob of other content": Row(chunk(lambda data: blob.encode(b"other" * 600)), "failed", 1),
    "plain: bytes behind the frame": Row(recoded(behind=b"trailing"), "failed", 1),
    "plain: wrong length": Row(chunk(lambda data: blob.encode(blob.decode(data) + b"x")), "failed", 1),
    "plain: two frames": Row(recoded(frames=2), "ok"),
    "plain: frame without content size": Row(recoded(sized=False), "ok"),
    "encrypted: bit flip": Row(chunk(flip(-1)), "failed", 1, secret, "encrypt"),
    "encrypted: short": Row(chunk(lambda data: data[:43]), "failed", 1, secret, "encrypt"),
    "encrypted: IV": Row(chunk(flip(12)), "ok", 0, secret, "encrypt"),
    "encrypted: tag": Row(chunk(flip(28)), "ok", 0, secret, "encrypt"),
    "encrypted: body with its CRC": Row(chunk(recomputed), "ok", 0, secret, "encrypt"),
    "encrypted under none": Row(nothing, "failed", 0, secret),
    "plain under encrypt": Row(nothing, "failed", 0, mode="encrypt"),
    "plain blob under an encrypted digest": Row(
        chunk(lambda data: blob.encode(b"plain" * 400)), "failed", 1, secret, "encrypt"
    ),
    "index: header csum": Row(index(flip(32)), "ok"),
    "index: uuid": Row(index(flip(8)), "ok"),
    "index: reserved bytes": Row(index(flip(200)), "ok"),
    "index: magic": Row(index(flip(0)), "failed"),
    "index: end offset": Row(index(flip(4096)), "failed"),
    "index: digest": Row(index(flip(4096 + 8)), "failed"),
    "index: truncated": Row(index(lambda data: data[:4096]), "failed"),
    "index: missing": Row(lambda s: s.world.file(s.key, "a.didx").unlink(), "failed"),
    "blob: bit flip": Row(conf(flip(-1)), "failed"),
    "blob: missing": Row(lambda s: s.world.file(s.key, "b.blob").unlink(), "failed"),
    "blob: other size": Row(nothing, "failed", manifest=other(size=len(BLOB) + 1)),
    "blob: longer": Row(conf(lambda data: blob.encode(CONTENT * 2)), "failed"),
    "blob: other csum": Row(nothing, "failed", manifest=other(csum="11" * 32)),
    "blob: not to be decoded": Row(nothing, "failed", blob=blob.assemble(blob.BlobKind.ZSTD, b"no frame")),
    "blob: plain under encrypt": Row(nothing, "ok", manifest=other(**{"crypt-mode": "encrypt"})),
    "entry of unknown extension": Row(nothing, "failed", manifest=add_file(filename="c.exe")),
    "entry without extension": Row(nothing, "failed", manifest=add_file(filename="c")),
    "entry with a path": Row(nothing, "failed", manifest=add_file(filename="../c.blob")),
    "no file": Row(nothing, "ok", manifest={"edit": lambda members: members.update(files=[])}),
    "a file twice": Row(nothing, "ok", manifest={"edit": twice}),
    "another id": Row(nothing, "ok", manifest={"backup-id": "other"}),
    "another time": Row(nothing, "ok", manifest={"backup-time": 5}),
    "a senseless signature": Row(nothing, "ok", manifest={"signature": "nonsense"}),
    "manifest: encrypted": Row(
        manifest(lambda data: blob.assemble(blob.BlobKind.ENCRYPTED, data, bytes(16), bytes(16))), None
    ),
    "manifest: wrong CRC": Row(manifest(flip(8)), None),
    "manifest: no JSON": Row(manifest(lambda data: blob.encode(b"{nonsense")), None),
    "clutter": Row(clutter, "ok"),
}


@pytest.mark.parametrize("name", ROWS)
async def test_damage(world: Maintained, name: str) -> None:
    row = ROWS[name]
    subject_chunk = row.chunk()
    group = t.GroupRef(STORE, "", "host", f"d{next(_numbers)}")
    files: dict[str, Archive | bytes] = {"a.didx": Archive([subject_chunk], row.mode), "b.blob": row.blob}
    key = await world.backup(group, FIRST_TIME, files, **row.manifest)
    row.damage(Subject(world, key, subject_chunk))

    scope = VerifyScope(STORE, backup_type="host", backup_id=group.backup_id, backup_time=FIRST_TIME)
    upid = await world.gc.verify(ADMIN, scope, VerifyOptions())
    status, log = await world.ended(upid), await world.log(upid)

    assert (status == "OK") is (row.state == "ok"), log
    assert await world.verdict(key) == row.state, log
    assert world.bad_files(subject_chunk) == row.bad, log
    if row.bad:
        assert f"corrupt chunk {subject_chunk.digest.hex()}" in log
    if row.state != "ok":
        assert f"host/{group.backup_id}/" in status, "the result names what failed"
