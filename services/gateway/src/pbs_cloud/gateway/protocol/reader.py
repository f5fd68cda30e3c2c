"""The reader session: files of one snapshot and the chunks of its opened indexes (wire-protocol 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pbs_cloud.contracts.errors import InvalidArgument, NotFound
from pbs_cloud.formats.known_chunks import KnownChunks
from pbs_cloud.gateway.protocol import effects as do
from pbs_cloud.gateway.protocol.answers import (
    BytesAnswer,
    ChunkAnswer,
    ErrorAnswer,
    FileAnswer,
    IndexAnswer,
    JsonAnswer,
)
from pbs_cloud.gateway.protocol.endpoints import Body, BodyKind, Call, Endpoint, Router, Steps, Values
from pbs_cloud.gateway.protocol.parameters import DOWNLOAD, EMPTY, INDEX_LISTING, READ_CHUNK

SPEEDTEST: Final = b"A" * 1_048_576
MAX_OVERHEAD: Final = 64
"""Bytes that a stored chunk may have beyond its plaintext: header, IV and tag are 44."""
REFUSAL_DELAY_SECONDS: Final = 3.0


class ReaderSessionMachine:
    """One reader session. ``log`` takes lines of the task log."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self.readable = KnownChunks()
        self._log = log
        self._router = Router(
            {
                ("GET", ""): Endpoint(INDEX_LISTING, self._listing),
                ("GET", "download"): Endpoint(DOWNLOAD, self._download, BodyKind.DISCARD),
                ("GET", "chunk"): Endpoint(READ_CHUNK, self._chunk, BodyKind.DISCARD),
                ("GET", "speedtest"): Endpoint(EMPTY, self._speedtest, BodyKind.DISCARD),
            }
        )

    def begin(self, method: str, path: str, query: str, content_type: str | None) -> Call:
        """A request arrived."""
        return self._router.begin(method, path, query, content_type)

    def steps(self, call: Call, body: Body) -> Steps:
        """What the request does."""
        return self._router.steps(call, body)

    def _listing(self, _values: Values, _body: Body) -> Steps:
        return JsonAnswer([{"subdir": name} for name in ("chunk", "download", "speedtest")])
        yield

    def _speedtest(self, _values: Values, _body: Body) -> Steps:
        return BytesAnswer(SPEEDTEST)
        yield

    def _download(self, values: Values, _body: Body) -> Steps:
        name = values["file-name"]
        extension = name.rpartition(".")[2]
        if extension == "blob":
            self._log(f"download '{name}'")
            return FileAnswer(name)
        if extension not in ("didx", "fidx"):
            raise InvalidArgument(f"unknown archive type: '{name}'", field="file-name")
        try:
            loaded: do.LoadedIndex = yield do.LoadIndex(name)
        except NotFound:
            raise NotFound(f"unable to open index '{name}' - no such file") from None
        try:
            yield do.Compute(lambda: self.readable.register_index(loaded.index))
        except BaseException:
            loaded.close()
            raise
        self._log(f"register chunks in '{name}' as downloadable and download it.")
        return IndexAnswer(loaded)

    def _chunk(self, values: Values, _body: Body) -> Steps:
        digest = bytes.fromhex(values["digest"])
        size = self.readable.get(digest)
        if size is None:
            text = f"download chunk {values['digest']} not allowed"
            self._log(text)
            return ErrorAnswer(401, text, delay_seconds=REFUSAL_DELAY_SECONDS)
        return ChunkAnswer(digest, size + MAX_OVERHEAD)
        yield
