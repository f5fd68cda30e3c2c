"""The backup session in memory: requests are generators, their effects are answered by the test."""

import hashlib
import json
import random
import urllib.parse

import pytest

from pbs_cloud.contracts import errors as e
from pbs_cloud.contracts.chunkstore.types import BaseSnapshot, StoredChunk, UploadStatistics
from pbs_cloud.formats.index import FixedIndex, parse_index
from pbs_cloud.gateway.protocol import effects as do
from pbs_cloud.gateway.protocol.answers import ErrorAnswer, FileAnswer, IndexAnswer, JsonAnswer
from pbs_cloud.gateway.protocol.backup import BackupSessionMachine
from pbs_cloud.gateway.protocol.endpoints import Body

UUID = bytes(range(16))
NOW = 1767225600
MIB4 = 4 << 20
HELLO, WORLD = b"hello", b"world!"
ZERO = bytes.fromhex("bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8")
A4 = bytes.fromhex("a58789e910e5f939afc433a00fef5930702927dc192cb237fd9e7449bd6ffe1d")
B1000 = bytes.fromhex("9a5670771141349931d69d6eb982faa01def544dc17a161ef83b3277fb7c0c3c")
CSUM_B3 = "b50baa415eff4db0906acf6205c1ae89ebf44d667f7777db12972526eb2b0f76"
CSUM_B4 = "ee0e5c97e59f6e6229e734032815738af16da528a12cad033b456ea6cc96e455"
CSUM_B4_INCREMENTAL = "fbb3c2a1860071e119688e76e241ee2c5d14d0e03d230d3fc8813b9d85f0a6ea"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Loaded:
    def __init__(self, raw: bytes) -> None:
        self.index, self.data, self.closed = parse_index(raw), memoryview(raw), False

    def close(self) -> None:
        self.closed = True


class Session:
    """Drives a machine; keeps what it asked for."""

    def __init__(self, base: BaseSnapshot | None = None, base_files: dict[str, bytes] | None = None) -> None:
        self.lines: list[str] = []
        self.machine = BackupSessionMachine(
            base, self.lines.append, snapshot_path="host/h1/t", now=lambda: NOW, new_uuid=lambda: UUID
        )
        self.base_files = base_files or {}
        self.indexes: dict[str, bytes] = {}
        self.blobs: list[str] = []
        self.statistics: UploadStatistics | None = None
        self.loaded: list[Loaded] = []
        self.stored: set[bytes] = set()
        self.effects: list[do.Effect] = []
        self.fail: dict[type, Exception] = {}

    def call(self, method: str, target: str, body: bytes = b"", content_type: str | None = None, length: int = 0):
        """The answer of a request."""
        path, _, query = target.partition("?")
        call = self.machine.begin(method, path, query, content_type)
        steps = self.machine.steps(call, Body(length or len(body), body, len(body) > 524_287))
        return self.drive(steps)

    def drive(self, steps):
        result, error = None, None
        while True:
            try:
                effect = steps.throw(error) if error else steps.send(result)
            except StopIteration as stop:
                return stop.value
            self.effects.append(effect)
            error, result = self.fail.pop(type(effect), None), None
            if error is None:
                try:
                    result = self.perform(effect)
                except e.PbsError as raised:
                    error = raised
                except Exception as raised:
                    error = raised

    def perform(self, effect):
        if isinstance(effect, do.PutChunk):
            duplicate = effect.digest in self.stored
            self.stored.add(effect.digest)
            return StoredChunk(duplicate, effect.size + 12)
        if isinstance(effect, do.Compute):
            return effect.call()
        if isinstance(effect, do.CloseIndex):
            self.indexes[effect.name] = b"".join(effect.pieces)
        if isinstance(effect, do.PutBlob):
            self.blobs.append(effect.name)
        if isinstance(effect, do.Finish):
            self.statistics = effect.statistics
        if isinstance(effect, do.LoadIndex):
            self.loaded.append(Loaded(self.base_files[effect.name]))
            return self.loaded[-1]
        return None

    def ok(self, method: str, target: str, **more):
        answer = self.call(method, target, **more)
        assert isinstance(answer, JsonAnswer), answer
        return answer.data

    def bad(self, method: str, target: str, status: int = 400, **more) -> str:
        answer = self.call(method, target, **more)
        assert isinstance(answer, ErrorAnswer) and answer.status == status, answer
        return answer.message

    def chunk(self, kind: str, wid: int, digest_: bytes | str, size: int, length: int | None = None):
        text = digest_ if isinstance(digest_, str) else digest_.hex()
        length = size + 12 if length is None else length
        query = f"digest={text}&encoded-size={length}&size={size}&wid={wid}"
        return self.call("POST", f"/{kind}_chunk?{query}", length=length, content_type="application/octet-stream")

    def append(self, kind: str, wid: int, digests, offsets):
        texts = [d if isinstance(d, str) else d.hex() for d in digests]
        body = json.dumps({"wid": wid, "digest-list": texts, "offset-list": offsets}).encode()
        return self.call("PUT", f"/{kind}_index", body, "application/json")

    def close(self, kind: str, wid: int, count: int, size: int, csum: str):
        return self.call("POST", f"/{kind}_close?chunk-count={count}&csum={csum}&size={size}&wid={wid}")

    def blob(self, name: str = "index.json.blob", size: int = 324):
        return self.ok("POST", f"/blob?encoded-size={size}&file-name={name}", length=size)


def test_dynamic_session_of_appendix_b3():
    """Ids, checksum, index bytes, statistics and log as a real server has them."""
    session = Session()
    assert session.ok("GET", "/previous_backup_time") is None
    assert session.ok("POST", "/dynamic_index?archive-name=data.pxar.didx") == 1
    assert session.chunk("dynamic", 1, digest(HELLO), 5) == JsonAnswer(digest(HELLO))
    assert session.chunk("dynamic", 1, digest(WORLD), 6) == JsonAnswer(digest(WORLD))
    entries = [digest(HELLO), digest(WORLD), digest(HELLO)]
    assert session.append("dynamic", 1, entries, [0, 5, 11]) == JsonAnswer(None)
    assert session.close("dynamic", 1, 3, 16, CSUM_B3) == JsonAnswer(None)
    session.blob()
    assert session.ok("POST", "/finish") is None
    assert session.statistics == UploadStatistics(count=2, size=335, compressed_size=35, duplicates=0)
    raw = session.indexes["data.pxar.didx"]
    assert len(raw) == 4216
    expected = "1c914ea519bab3cd000102030405060708090a0b0c0d0e0f00b9556900000000" + CSUM_B3
    assert raw[:64].hex() == expected
    assert "Upload size: 11 (68%)" in session.lines
    assert "Duplicates: 1+0 (33%)" in session.lines
    assert "Compression: 318%" in session.lines
    kinds = [type(effect) for effect in session.effects]
    assert kinds.index(do.Flush) < kinds.index(do.CloseIndex)
    assert kinds[-2:] == [do.Flush, do.Finish]


def fixed_b4() -> Session:
    session = Session()
    assert session.ok("POST", "/fixed_index?archive-name=disk.img.fidx&size=8389608") == 1
    for found, size in ((ZERO, MIB4), (A4, MIB4), (B1000, 1000)):
        session.chunk("fixed", 1, found, size)
    assert session.append("fixed", 1, [B1000, A4, ZERO], [2 * MIB4, 0, MIB4]) == JsonAnswer(None)
    assert session.close("fixed", 1, 3, 8389608, CSUM_B4) == JsonAnswer(None)
    return session


def test_fixed_index_of_appendix_b4_in_any_order():
    raw = fixed_b4().indexes["disk.img.fidx"]
    expected = "2f7f41ed91fd0fcd000102030405060708090a0b0c0d0e0f00b9556900000000" + CSUM_B4
    assert raw[:80].hex() == expected + "e803800000000000" + "0000400000000000"
    assert len(raw) == 4192


def incremental() -> Session:
    base = BaseSnapshot(NOW - 1, ("disk.img.fidx", "index.json.blob", "other.didx"))
    return Session(base, {"disk.img.fidx": fixed_b4().indexes["disk.img.fidx"]})


def test_incremental_fixed_index():
    """B.4, second run: one slot changes; and a run without any change."""
    session = incremental()
    wid = session.ok("POST", f"/fixed_index?archive-name=disk.img.fidx&reuse-csum={CSUM_B4}&size=8389608")
    session.chunk("fixed", wid, A4, MIB4)
    assert session.append("fixed", wid, [A4], [MIB4]) == JsonAnswer(None)
    assert session.close("fixed", wid, 1, MIB4, CSUM_B4_INCREMENTAL) == JsonAnswer(None)
    other = session.ok("POST", f"/fixed_index?archive-name=disk.img.fidx&reuse-csum={CSUM_B4}&size=8389608")
    assert session.close("fixed", other, 0, 0, CSUM_B4) == JsonAnswer(None)
    assert FixedIndex(session.indexes["disk.img.fidx"]).compute_csum().hex() == CSUM_B4
    assert all(loaded.closed for loaded in session.loaded)


@pytest.mark.parametrize(
    "query",
    [
        f"archive-name=disk.img.fidx&reuse-csum={'0' * 64}&size=8389608",
        f"archive-name=disk.img.fidx&reuse-csum={CSUM_B4}&size=12582913",
        f"archive-name=disk.img.fidx&reuse-csum={CSUM_B4}",
        f"archive-name=new.img.fidx&reuse-csum={CSUM_B4}&size=8389608",
    ],
)
def test_refused_reuse_leaves_the_session_usable(query):
    session = incremental()
    session.bad("POST", f"/fixed_index?{query}")
    assert session.ok("POST", "/fixed_index?archive-name=disk.img.fidx&size=8389608") == 1, "a refusal takes no id"
    session.bad("POST", "/finish")


def test_reuse_does_not_register_but_previous_does():
    session = incremental()
    wid = session.ok("POST", f"/fixed_index?archive-name=disk.img.fidx&reuse-csum={CSUM_B4}&size=8389608")
    assert "no such chunk" in session.append("fixed", wid, [A4], [0]).message
    answer = session.call("GET", "/previous?archive-name=disk.img.fidx")
    assert isinstance(answer, IndexAnswer) and not answer.loaded.closed
    assert session.append("fixed", wid, [A4], [0]) == JsonAnswer(None)
    assert session.append("fixed", wid, [B1000], [2 * MIB4]) == JsonAnswer(None), "the tail has its short size"


def test_previous_errors():
    assert "no valid previous backup" in Session().bad("GET", "/previous?archive-name=index.json.blob")
    session = incremental()
    assert session.call("GET", "/previous?archive-name=index.json.blob") == FileAnswer("index.json.blob")
    session.bad("GET", "/previous?archive-name=gone.blob", status=404)
    session.bad("GET", "/previous?archive-name=gone.didx")
    session.bad("GET", "/previous?archive-name=x.txt")
    assert session.ok("GET", "/previous_backup_time") == NOW - 1


def test_writers_share_ids_and_known_chunks():
    session = Session()
    assert session.ok("POST", "/dynamic_index?archive-name=a.didx") == 1
    assert session.ok("POST", "/fixed_index?archive-name=f.fidx&size=5") == 2
    body = b'{"archive-name": "b.didx"}'
    assert session.ok("POST", "/dynamic_index", body=body, content_type="application/json; charset=UTF-8") == 3
    session.chunk("dynamic", 1, digest(HELLO), 5)
    assert session.append("dynamic", 3, [digest(HELLO)], [0]) == JsonAnswer(None)
    assert session.append("fixed", 2, [digest(HELLO)], [0]) == JsonAnswer(None)
    for kind, wid in (("fixed", 1), ("dynamic", 2), ("dynamic", 99)):
        assert "not registered" in session.chunk(kind, wid, digest(HELLO), 5).message


def test_append_rules():
    session = Session()
    session.ok("POST", "/dynamic_index?archive-name=a.didx")
    session.chunk("dynamic", 1, digest(HELLO), 5)
    hello, unknown = digest(HELLO), "f" * 64
    for digests, offsets in (
        ([hello], [1]),
        ([unknown], [0]),
        ([hello], [0, 5]),
        ([hello.upper()], [0]),
        ([hello], [-1]),
    ):
        assert isinstance(session.append("dynamic", 1, digests, offsets), ErrorAnswer)
    assert session.append("dynamic", 1, [hello, unknown], [0, 5]).message.startswith("no such chunk")
    assert session.append("dynamic", 1, [hello], [5]) == JsonAnswer(None), "what stood before the wrong entry stays"
    assert session.append("dynamic", 1, [], []) == JsonAnswer(None)
    query = urllib.parse.urlencode({"wid": 1, "digest-list": hello, "offset-list": 10})
    assert session.ok("PUT", f"/dynamic_index?{query}") is None
    assert session.append("dynamic", 1, [hello] * 512, [15 + 5 * n for n in range(512)]) == JsonAnswer(None)
    assert "too large" in session.bad(
        "PUT", "/dynamic_index", body=b'{"x":"' + b"a" * 524_288 + b'"}', content_type="application/json"
    )
    session.bad("PUT", "/dynamic_index", body=b"[1]", content_type="application/json")
    session.bad("PUT", "/dynamic_index", body=b"{}", content_type="text/plain")


def test_close_rules_and_wrong_csum():
    session = Session()
    session.ok("POST", "/dynamic_index?archive-name=a.didx")
    session.chunk("dynamic", 1, digest(HELLO), 5)
    session.append("dynamic", 1, [digest(HELLO)], [0])
    csum = hashlib.sha256((5).to_bytes(8, "little") + bytes.fromhex(digest(HELLO))).hexdigest()
    assert "chunk-count" in session.close("dynamic", 1, 2, 5, csum).message
    assert isinstance(session.close("dynamic", 1, 1, 6, csum), ErrorAnswer)
    assert isinstance(session.close("dynamic", 1, 1, 5, "abc"), ErrorAnswer)
    assert session.append("dynamic", 1, [], []) == JsonAnswer(None), "still open"
    assert isinstance(session.close("dynamic", 1, 1, 5, "0" * 64), ErrorAnswer)
    assert "already closed" in session.close("dynamic", 1, 1, 5, csum).message
    assert "already closed" in session.chunk("dynamic", 1, digest(HELLO), 5).message
    session.blob()
    assert "open index writer" in session.bad("POST", "/finish")


def test_short_chunks_of_fixed_writers():
    session = Session()
    session.ok("POST", "/fixed_index?archive-name=a.fidx&size=8388613")
    assert isinstance(session.chunk("fixed", 1, digest(HELLO), 5), JsonAnswer)
    assert isinstance(session.chunk("fixed", 1, digest(HELLO), 5), ErrorAnswer)
    assert isinstance(session.chunk("fixed", 1, ZERO, MIB4 + 1), ErrorAnswer)
    assert isinstance(session.append("fixed", 1, [digest(HELLO)], [0]), ErrorAnswer)
    assert isinstance(session.chunk("fixed", 1, ZERO, MIB4), JsonAnswer)
    assert isinstance(session.append("fixed", 1, [ZERO], [1]), ErrorAnswer)


def test_chunk_body_lengths_and_parameters():
    session = Session()
    session.ok("POST", "/dynamic_index?archive-name=a.didx")
    query = f"digest={digest(HELLO)}&size=5&wid=1"
    assert "unexpected size" in session.bad("POST", f"/dynamic_chunk?{query}&encoded-size=20", length=17)
    for wrong in ("encoded-size=12", "encoded-size=16777261", "encoded-size=17&wid=2", "encoded-size=17&foo=1"):
        answer = session.call("POST", f"/dynamic_chunk?{query}&{wrong}", length=17)
        assert isinstance(answer, ErrorAnswer) and answer.status == 400 and not answer.typed
    assert not session.stored
    missing = session.call("POST", "/dynamic_chunk?wid=1", length=17)
    assert missing.message.count("parameter is missing") == 3


def test_unknown_paths_and_methods():
    session = Session()
    for method, path in (("GET", "/nothing"), ("GET", "/finish"), ("PATCH", "/blob"), ("GET", "/chunk")):
        assert session.bad(method, path, status=404) == f"Path '{path}' not found."
    session.bad("GET", "/.x")
    assert {"subdir": "finish"} in session.ok("GET", "/?any=1")
    assert session.ok("POST", "//speedtest", length=4 << 20) is None


def test_state_machine():
    """Nothing modifies a finished session; a failed manifest cannot be tried again."""
    session = Session()
    assert "file count == 0" in session.bad("POST", "/finish")
    session.blob()
    session.fail[do.Finish] = e.Conflict("unable to update manifest blob")
    session.bad("POST", "/finish")
    assert "in the process" in session.bad("POST", "/finish")
    assert not session.machine.finished
    done = Session()
    done.blob()
    done.ok("POST", "/finish")
    assert done.machine.finished
    for method, target in (
        ("POST", "/finish"),
        ("POST", "/dynamic_index?archive-name=a.didx"),
        ("POST", "/blob?encoded-size=14&file-name=x.conf.blob"),
    ):
        assert "finished" in done.bad(method, target, length=14)
    assert done.ok("GET", "/previous_backup_time") is None
    assert done.ok("POST", "/speedtest") is None


@pytest.mark.parametrize(
    ("error", "status"),
    [(e.QuotaExceeded("Quota exceeded"), 507), (e.Unavailable("away"), 503), (e.InvalidArgument("wrong digest"), 400)],
)
def test_refused_chunks_are_not_registered(error, status):
    session = Session()
    session.ok("POST", "/dynamic_index?archive-name=a.didx")
    session.fail[do.PutChunk] = error
    assert session.chunk("dynamic", 1, digest(HELLO), 5).status == status
    assert "no such chunk" in session.append("dynamic", 1, [digest(HELLO)], [0]).message


def test_chunk_stored_while_its_writer_is_closed_meanwhile():
    session = Session()
    session.ok("POST", "/dynamic_index?archive-name=a.didx")
    session.chunk("dynamic", 1, digest(HELLO), 5)
    session.append("dynamic", 1, [digest(HELLO)], [0])
    call = session.machine.begin("POST", "/dynamic_chunk", f"digest={digest(WORLD)}&encoded-size=18&size=6&wid=1", None)
    late = session.machine.steps(call, Body(18))
    assert isinstance(next(late), do.PutChunk)
    csum = hashlib.sha256((5).to_bytes(8, "little") + bytes.fromhex(digest(HELLO))).hexdigest()
    assert session.close("dynamic", 1, 1, 5, csum) == JsonAnswer(None)
    with pytest.raises(StopIteration) as stop:
        late.send(StoredChunk(False, 18))
    assert stop.value.value.status == 400


def test_image_of_unknown_size():
    session = Session()
    session.ok("POST", "/fixed_index?archive-name=n.img.fidx")
    session.chunk("fixed", 1, ZERO, MIB4)
    session.chunk("fixed", 1, digest(HELLO), 5)
    assert session.append("fixed", 1, [ZERO, digest(HELLO)], [0, MIB4]) == JsonAnswer(None)
    assert isinstance(session.append("fixed", 1, [ZERO], [2 * MIB4]), ErrorAnswer)
    csum = hashlib.sha256(ZERO + bytes.fromhex(digest(HELLO))).hexdigest()
    assert session.close("fixed", 1, 2, MIB4 + 5, csum) == JsonAnswer(None)


def test_random_appends_of_a_large_image_match_its_checksum():
    """Slots in any order over several requests."""
    dice = random.Random(5)
    slots = 40_000
    digests = [dice.randbytes(32) for _ in range(50)]
    session = Session()
    session.ok("POST", f"/fixed_index?archive-name=big.img.fidx&size={slots * MIB4}")
    for found in digests:
        session.chunk("fixed", 1, found, MIB4)
    order = list(range(slots))
    dice.shuffle(order)
    chosen = [dice.choice(digests) for _ in range(slots)]
    for start in range(0, slots, 4000):
        part = order[start : start + 4000]
        assert session.append("fixed", 1, [chosen[at] for at in part], [at * MIB4 for at in part]) == JsonAnswer(None)
    assert session.close("fixed", 1, slots, slots * MIB4, hashlib.sha256(b"".join(chosen)).hexdigest()) == JsonAnswer(
        None
    )


def test_indexes_that_are_too_many_are_refused():
    """Announced sizes cost memory only as far as they are written, and are bounded for a session."""
    session = Session()
    largest = (1 << 24) * MIB4
    session.ok("POST", f"/fixed_index?archive-name=a.fidx&size={largest // 2}")
    session.ok("POST", f"/fixed_index?archive-name=b.fidx&size={largest // 2}")
    assert "at most" in session.bad("POST", "/fixed_index?archive-name=c.fidx&size=1")
