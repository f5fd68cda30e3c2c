"""The reader session in memory: what may be read, and when."""

import hashlib

from pbs_cloud.contracts import errors as e
from pbs_cloud.formats.index import parse_index
from pbs_cloud.formats.index_builder import DynamicIndexBuilder
from pbs_cloud.gateway.protocol import effects as do
from pbs_cloud.gateway.protocol.answers import BytesAnswer, ChunkAnswer, ErrorAnswer, FileAnswer, IndexAnswer
from pbs_cloud.gateway.protocol.endpoints import Body
from pbs_cloud.gateway.protocol.reader import ReaderSessionMachine

FIRST, SECOND = hashlib.sha256(b"1").digest(), hashlib.sha256(b"2").digest()


def index_of(*digests: bytes) -> bytes:
    builder, offset, csum = DynamicIndexBuilder(), 0, hashlib.sha256()
    for digest in digests:
        builder.append(digest, offset, 1000)
        offset += 1000
        csum.update(offset.to_bytes(8, "little") + digest)
    builder.close(len(digests), offset, csum.digest())
    return b"".join(builder.pieces(bytes(16), 0))


class Loaded:
    def __init__(self, raw: bytes) -> None:
        self.index, self.data, self.closed = parse_index(raw), memoryview(raw), False

    def close(self) -> None:
        self.closed = True


def call(machine: ReaderSessionMachine, target: str, files: dict[str, bytes], method: str = "GET"):
    path, _, query = target.partition("?")
    steps = machine.steps(machine.begin(method, path, query, None), Body())
    result, error = None, None
    while True:
        try:
            effect = steps.throw(error) if error else steps.send(result)
        except StopIteration as stop:
            return stop.value
        result, error = None, None
        if isinstance(effect, do.LoadIndex):
            if effect.name in files:
                result = Loaded(files[effect.name])
            else:
                error = e.NotFound("gone")
        else:
            result = effect.call()


def test_chunks_are_readable_after_their_index_was_downloaded():
    machine, files = ReaderSessionMachine(lambda line: None), {"a.didx": index_of(FIRST), "b.didx": index_of(SECOND)}
    refused = call(machine, f"/chunk?digest={FIRST.hex()}", files)
    assert isinstance(refused, ErrorAnswer) and refused.status == 401 and refused.delay_seconds == 3
    assert isinstance(call(machine, "/download?file-name=a.didx", files), IndexAnswer)
    answer = call(machine, f"/chunk?digest={FIRST.hex()}", files)
    assert answer == ChunkAnswer(FIRST, 1064), "header, IV and tag fit"
    assert call(machine, f"/chunk?digest={SECOND.hex()}", files).status == 401
    call(machine, "/download?file-name=b.didx", files)
    assert isinstance(call(machine, f"/chunk?digest={SECOND.hex()}", files), ChunkAnswer)


def test_files_and_errors():
    machine = ReaderSessionMachine(lambda line: None)
    assert call(machine, "/download?file-name=client.log.blob", {}) == FileAnswer("client.log.blob")
    assert call(machine, "/download?file-name=nix.didx", {}).status == 400
    assert call(machine, "/download?file-name=x.txt", {}).status == 400
    for wrong in (
        "/download?file-name=.hidden.blob",
        "/download?file-name=..%2Fowner.blob",
        "/download",
        "/chunk?digest=xyz",
    ):
        answer = call(machine, wrong, {})
        assert answer.status == 400 and not answer.typed
    assert call(machine, "/finish", {}, "POST").status == 404
    speed = call(machine, "/speedtest", {})
    assert isinstance(speed, BytesAnswer) and bytes(speed.body) == b"A" * 1_048_576
