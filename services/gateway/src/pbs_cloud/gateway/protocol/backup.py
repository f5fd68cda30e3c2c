"""The backup session: writers, known chunks, blobs, finish (wire-protocol 4.5-4.16)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from pbs_cloud.contracts.chunkstore.types import BaseSnapshot, StoredChunk
from pbs_cloud.contracts.errors import Conflict, InvalidArgument, NotFound
from pbs_cloud.formats.entry_store import Allocate, anonymous
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.index import FIXED_CHUNK_SIZE, DynamicIndex, FixedIndex
from pbs_cloud.formats.index_builder import DynamicIndexBuilder, FixedIndexBuilder, require_reusable
from pbs_cloud.formats.known_chunks import KnownChunks
from pbs_cloud.gateway.errors import HttpError
from pbs_cloud.gateway.protocol import effects as do
from pbs_cloud.gateway.protocol.answers import Answer, FileAnswer, IndexAnswer, JsonAnswer
from pbs_cloud.gateway.protocol.endpoints import (
    Body,
    BodyKind,
    Call,
    Endpoint,
    Router,
    Steps,
    Values,
    require_extension,
)
from pbs_cloud.gateway.protocol.parameters import (
    APPEND,
    BLOB,
    CHUNK,
    DYNAMIC_CLOSE,
    DYNAMIC_INDEX,
    EMPTY,
    FIXED_CLOSE,
    FIXED_INDEX,
    INDEX_LISTING,
    PREVIOUS,
)
from pbs_cloud.gateway.protocol.writers import MAX_SESSION_ENTRIES, MAX_WRITERS, Statistics, Writer, WriterKind

EXTENSION: Final = {WriterKind.DYNAMIC: "didx", WriterKind.FIXED: "fidx"}


class State(Enum):
    """Where the session stands; ACTIVE is left only by ``finish``."""

    ACTIVE = "active"
    FINISHING = "finishing"
    FINISHED = "finished"


class BackupSessionMachine:
    """One backup session. ``log`` takes lines of the task log."""

    def __init__(
        self,
        base: BaseSnapshot | None,
        log: Callable[[str], None],
        *,
        debug: bool = False,
        snapshot_path: str = "",
        now: Callable[[], int] = lambda: int(time.time()),
        new_uuid: Callable[[], bytes] = lambda: os.urandom(16),
        allocate: Allocate = anonymous,
    ) -> None:
        self.state = State.ACTIVE
        self.known = KnownChunks()
        self.statistics = Statistics()
        self.file_count = 0
        self._base = base
        self._log = log
        self._debug = debug
        self._path = snapshot_path
        self._now = now
        self._new_uuid = new_uuid
        self._allocate = allocate
        self._writers: dict[int, Writer] = {}
        self._last_wid = 0
        self._router = Router(self._endpoints())

    def begin(self, method: str, path: str, query: str, content_type: str | None) -> Call:
        """A request arrived; its body is still to come."""
        return self._router.begin(method, path, query, content_type)

    def steps(self, call: Call, body: Body) -> Steps:
        """What the request does, now that its body is there."""
        return self._router.steps(call, body)

    @property
    def finished(self) -> bool:
        """Whether the snapshot was committed."""
        return self.state is State.FINISHED

    def _endpoints(self) -> dict[tuple[str, str], Endpoint]:
        found = {
            ("GET", ""): Endpoint(INDEX_LISTING, self._listing),
            ("POST", "blob"): Endpoint(BLOB, self._blob, BodyKind.BLOB),
            ("POST", "fixed_index"): Endpoint(FIXED_INDEX, self._create_fixed),
            ("POST", "dynamic_index"): Endpoint(DYNAMIC_INDEX, self._create_dynamic),
            ("GET", "previous"): Endpoint(PREVIOUS, self._previous, BodyKind.DISCARD),
            ("GET", "previous_backup_time"): Endpoint(EMPTY, self._previous_backup_time),
            ("POST", "finish"): Endpoint(EMPTY, self._finish),
            ("POST", "speedtest"): Endpoint(EMPTY, self._speedtest, BodyKind.DISCARD),
        }
        closes = {WriterKind.FIXED: FIXED_CLOSE, WriterKind.DYNAMIC: DYNAMIC_CLOSE}
        for kind in WriterKind:
            found["POST", f"{kind}_chunk"] = Endpoint(CHUNK, self._for(kind, self._chunk), BodyKind.CHUNK)
            found["PUT", f"{kind}_index"] = Endpoint(APPEND, self._for(kind, self._append))
            found["POST", f"{kind}_close"] = Endpoint(closes[kind], self._for(kind, self._close))
        return found

    @staticmethod
    def _for(kind: WriterKind, run: Callable[[WriterKind, Values, Body], Steps]) -> Callable[[Values, Body], Steps]:
        return lambda values, body: run(kind, values, body)

    # ------------------------------------------------------------------------------------------------ small ones
    def _listing(self, _values: Values, _body: Body) -> Steps:
        names = sorted({path for _, path in self._endpoints() if path})
        return _done([{"subdir": name} for name in names])

    def _previous_backup_time(self, _values: Values, _body: Body) -> Steps:
        return _done(self._base.backup_time if self._base else None)

    def _speedtest(self, _values: Values, _body: Body) -> Steps:
        return _done(None)

    def _require_active(self) -> None:
        if self.state is State.FINISHED:
            raise Conflict("backup already marked as finished.")
        if self.state is State.FINISHING:
            raise Conflict("backup is already in the process of finishing.")

    def _writer(self, kind: WriterKind, wid: int) -> Writer:
        writer = self._writers.get(wid)
        if writer is None or writer.kind is not kind:
            raise InvalidArgument(f"{kind} writer '{wid}' not registered", field="wid")
        return writer

    # --------------------------------------------------------------------------------------------------- writers
    def _create_dynamic(self, values: Values, _body: Body) -> Steps:
        self._require_active()
        name = values["archive-name"]
        require_extension(name, "didx", "wrong archive extension")
        return self._register(WriterKind.DYNAMIC, name, DynamicIndexBuilder(allocate=self._allocate))
        yield

    def _create_fixed(self, values: Values, _body: Body) -> Steps:
        self._require_active()
        name, size = values["archive-name"], values.get("size")
        require_extension(name, "fidx", "wrong archive extension")
        if "reuse-csum" not in values:
            return self._register(WriterKind.FIXED, name, FixedIndexBuilder(size, allocate=self._allocate))
        if size is None:
            raise InvalidArgument("size is required for incremental backups", field="size")
        if self._base is None:
            raise Conflict("cannot reuse index - no valid previous backup exists")
        if name not in self._base.files:
            raise Conflict("cannot reuse index - no previous backup exists for archive")
        loaded: do.LoadedIndex = yield do.LoadIndex(name)
        try:
            builder = yield do.Compute(lambda: self._reuse(loaded.index, size, bytes.fromhex(values["reuse-csum"])))
        finally:
            loaded.close()
        self._require_active()
        self._log(f"reusing index {name} of snapshot {self._base.backup_time}")
        return self._register(WriterKind.FIXED, name, builder)

    def _reuse(self, index: FixedIndex | DynamicIndex, size: int, csum: bytes) -> FixedIndexBuilder:
        if not isinstance(index, FixedIndex):
            raise FormatError("reuse-csum: the previous index is not fixed")
        require_reusable(index, csum)
        return FixedIndexBuilder(size, base=index, allocate=self._allocate)

    def _register(self, kind: WriterKind, name: str, builder: DynamicIndexBuilder | FixedIndexBuilder) -> Answer:
        if self._last_wid >= MAX_WRITERS:
            raise Conflict(f"a session has at most {MAX_WRITERS} indexes")
        if sum(len(writer.builder) for writer in self._writers.values()) + len(builder) > MAX_SESSION_ENTRIES:
            raise Conflict(f"the open indexes of a session have at most {MAX_SESSION_ENTRIES} chunks")
        self._last_wid += 1
        self._writers[self._last_wid] = Writer(self._last_wid, kind, name, builder, self._new_uuid())
        self._log(f"created new {kind} index {self._last_wid} ({self._path}/{name})")
        return JsonAnswer(self._last_wid)

    def _chunk(self, kind: WriterKind, values: Values, body: Body) -> Steps:
        self._require_active()
        if body.too_long:
            raise InvalidArgument("uploaded chunk is larger than announced.", field="encoded-size")
        if body.length != values["encoded-size"]:
            raise InvalidArgument("uploaded chunk has unexpected size.", field="encoded-size")
        size, wid = values["size"], values["wid"]
        writer = self._writer(kind, wid)
        writer.require_open("register chunk")
        if kind is WriterKind.FIXED and size > FIXED_CHUNK_SIZE:
            raise InvalidArgument(
                f"fixed writer '{writer.name}' - got large chunk ({size} > {FIXED_CHUNK_SIZE})", field="size"
            )
        digest = bytes.fromhex(values["digest"])
        stored: StoredChunk = yield do.PutChunk(digest, size)
        self._require_active()
        self._writer(kind, wid).uploaded(size, stored)
        self.known.add(digest, size)
        if self._debug:
            self._log(f"upload_chunk done: {size} bytes, {values['digest']}")
        return JsonAnswer(values["digest"])

    def _append(self, kind: WriterKind, values: Values, _body: Body) -> Steps:
        self._require_active()
        writer = self._writer(kind, values["wid"])
        writer.append(values["digest-list"], values["offset-list"], self.known.get)
        if self._debug:
            self._log(f"appended {len(values['digest-list'])} chunks to {writer.name}")
        return _done_answer()
        yield

    def _close(self, kind: WriterKind, values: Values, _body: Body) -> Steps:
        self._require_active()
        writer = self._writer(kind, values["wid"])
        writer.require_open("close")
        csum = _csum(values["csum"])
        writer.closing = True
        try:
            yield do.Compute(lambda: writer.close(values["chunk-count"], values["size"], csum))
        finally:
            writer.closing = False
        yield do.Flush()
        pieces = writer.builder.pieces(writer.uuid, self._now())
        yield do.CloseIndex(writer.name, csum, writer.builder.size, pieces)
        self._require_active()
        self._writers.pop(writer.wid, None)
        self.file_count += 1
        self.statistics.merge(writer.statistics)
        for line in writer.report():
            self._log(line)
        return _done_answer()

    # ----------------------------------------------------------------------------------------------------- files
    def _blob(self, values: Values, body: Body) -> Steps:
        self._require_active()
        name, announced = values["file-name"], values["encoded-size"]
        require_extension(name, "blob", "wrong blob file extension")
        if body.too_long or body.length != announced:
            raise InvalidArgument(
                f"got blob with unexpected length ({announced} != {body.length})", field="encoded-size"
            )
        yield do.PutBlob(name)
        self._require_active()
        self.file_count += 1
        self.statistics.size += announced
        self._log(f"add blob {self._path}/{name} ({announced} bytes)")
        return _done_answer()

    def _previous(self, values: Values, _body: Body) -> Steps:
        name = values["archive-name"]
        if self._base is None:
            raise Conflict("no valid previous backup")
        extension = name.rpartition(".")[2]
        if extension == "blob":
            if name not in self._base.files:
                raise HttpError(404, f"file '{name}' not found in the previous snapshot")
            self._log(f"download '{name}' from previous backup.")
            return FileAnswer(name)
        if extension not in EXTENSION.values():
            raise InvalidArgument(f"unknown archive type: '{name}'", field="archive-name")
        self._require_active()
        if name not in self._base.files:
            raise NotFound(f"unable to open index '{name}' - not in the previous snapshot")
        loaded: do.LoadedIndex = yield do.LoadIndex(name)
        try:
            yield do.Compute(lambda: self.known.register_index(loaded.index))
            self._require_active()
        except BaseException:
            loaded.close()
            raise
        self._log(f"registered chunks of '{name}' from previous backup and sent it.")
        return IndexAnswer(loaded)

    def _finish(self, _values: Values, _body: Body) -> Steps:
        self._require_active()
        if self._writers:
            raise Conflict("found open index writer - unable to finish backup")
        if self.file_count == 0:
            raise Conflict("backup does not contain valid files (file count == 0)")
        self.state = State.FINISHING
        yield do.Flush()
        yield do.Finish(self.statistics.frozen())
        self.state = State.FINISHED
        self._log("successfully finished backup")
        return _done_answer()


def _done(data: Any) -> Steps:
    return JsonAnswer(data)
    yield


def _done_answer() -> Answer:
    return JsonAnswer(None)


def _csum(text: str) -> bytes:
    try:
        csum = bytes.fromhex(text)
    except ValueError:
        csum = b""
    if len(csum) != 32 or len(text) != 64:
        raise InvalidArgument("csum: expected 64 hexadecimal digits", field="csum")
    return csum
