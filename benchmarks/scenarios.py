"""The figures: each scenario moves a known amount of wire bytes and reads clocks before and after."""

import asyncio
import hashlib
import json
import secrets
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from testkit.product import ProductServer

from benchmarks.cpu import difference, tree_seconds
from benchmarks.data import CHUNK, Chunk, encrypted_chunks
from benchmarks.frames import header_block
from benchmarks.listing import LIST_PAUSE, Shape, asking_for_lists, fetch_snapshots, multiply_snapshot
from benchmarks.load import LoadSession, Request
from benchmarks.yardstick import raw_tls
from pbs_cloud.formats import blob

_FORM = "application/x-www-form-urlencoded"
IN_FLIGHT = 16


@dataclass(slots=True)
class Figure:
    """What one scenario took."""

    name: str
    wire_bytes: int
    seconds: float
    server: dict[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def rate(self) -> float:
        """MB/s on the wire (10^6 bytes)."""
        return self.wire_bytes / self.seconds / 1e6

    @property
    def server_seconds_per_gb(self) -> float:
        """CPU seconds of all processes of the product for 10^9 wire bytes."""
        return sum(self.server.values()) / self.wire_bytes * 1e9


class Bench:
    """A started product and what the scenarios share."""

    def __init__(self, product: ProductServer) -> None:
        self.product = product
        self._time = int(time.time()) - 100_000

    def session(self, kind: str, backup_id: str, backup_time: int, more: str = "") -> LoadSession:
        """An upgraded connection on datastore ``default``."""
        query = f"store=default&backup-type=host&backup-id={backup_id}&backup-time={backup_time}{more}"
        protocol = "proxmox-backup-protocol-v1" if kind == "backup" else "proxmox-backup-reader-protocol-v1"
        target = f"/api2/json/{kind}?{query}"
        return LoadSession("127.0.0.1", self.product.port, target, protocol, self.product.authorization)

    def measure(self, name: str, work: Callable[[], int]) -> Figure:
        """Run ``work``, which returns wire bytes, between two readings of all clocks."""
        named = {**self.product.pids(), "supervisor": self.product.supervisor_pid}
        before, started = tree_seconds(named), time.monotonic()
        moved = work()
        seconds = time.monotonic() - started
        time.sleep(0.3)  # what follows an answer (events, task ends) belongs to it
        return Figure(name, moved, seconds, difference(before, tree_seconds(named)))

    def yardstick(self, total: int) -> Figure:
        """Raw TLS with the product's own certificate."""
        folder: Path = self.product.data_dir / "data" / "tls"
        seconds, sender, receiver = raw_tls(folder / "cert.pem", folder / "key.pem", total)
        figure = Figure("raw TLS over loopback", total, seconds, {"receiver": receiver})
        figure.note = f"sender {sender / total * 1e9:.2f} s/GB"
        return figure

    def discarded(self, total: int) -> Figure:
        """`speedtest`: bodies of 4 MiB that the server throws away."""
        body = memoryview(struct.pack(f"<{CHUNK // 4}I", *range(CHUNK // 4)))
        request = Request(header_block("POST", "/speedtest", _FORM), body)
        session = self.session("backup", "benchmark", self._next(), "&benchmark=true")
        figure = self.measure(
            "upload, discarded (speedtest)",
            lambda: session.run([request] * (total // CHUNK), IN_FLIGHT).sent,
        )
        session.close()
        return figure

    def upload(self, name: str, chunks: list[Chunk]) -> tuple[Figure, str, int]:
        """A committed image backup of ``chunks``, from the upgrade to the answer of `finish`."""
        backup_id, backup_time = f"bench{secrets.token_hex(4)}", self._next()
        return self.measure(name, lambda: self._backup(backup_id, backup_time, chunks)), backup_id, backup_time

    def _backup(self, backup_id: str, backup_time: int, chunks: list[Chunk]) -> int:
        session = self.session("backup", backup_id, backup_time)
        size = sum(chunk.raw_size for chunk in chunks)
        answer = session.one(
            Request(header_block("POST", f"/fixed_index?archive-name=disk.img.fidx&size={size}", _FORM))
        )
        wid = json.loads(answer)["data"]
        sent = session.run((chunk.upload(wid) for chunk in chunks), IN_FLIGHT).sent
        for start in range(0, len(chunks), 64):
            batch = chunks[start : start + 64]
            offsets = [number * CHUNK for number in range(start, start + len(batch))]
            body = {"wid": wid, "digest-list": [chunk.digest.hex() for chunk in batch], "offset-list": offsets}
            session.one(_with_body("PUT", "/fixed_index", json.dumps(body).encode(), "application/json"))
        csum = hashlib.sha256(b"".join(chunk.digest for chunk in chunks)).hexdigest()
        close = f"/fixed_close?chunk-count={len(chunks)}&csum={csum}&size={size}&wid={wid}"
        session.one(Request(header_block("POST", close, _FORM)))
        entry = {"filename": "disk.img.fidx", "size": size, "csum": csum, "crypt-mode": _mode(chunks[0])}
        manifest = {"backup-type": "host", "backup-id": backup_id, "backup-time": backup_time, "files": [entry]}
        raw = blob.encode(json.dumps(manifest).encode())
        path = f"/blob?encoded-size={len(raw)}&file-name=index.json.blob"
        session.one(_with_body("POST", path, raw, "application/octet-stream"))
        session.one(Request(header_block("POST", "/finish", _FORM)))
        session.close()
        return sent

    def restore(self, backup_id: str, backup_time: int, chunks: list[Chunk]) -> Figure:
        """All chunks of a snapshot, sixteen requests in flight as QEMU restores."""
        session = self.session("reader", backup_id, backup_time)
        index = session.one(Request(header_block("GET", "/download?file-name=disk.img.fidx", _FORM)))
        if index[4096:] != b"".join(chunk.digest for chunk in chunks):
            raise AssertionError("the index is not the one that was written")
        requests = [Request(header_block("GET", f"/chunk?digest={chunk.digest.hex()}", _FORM)) for chunk in chunks]
        figure = self.measure("restore", lambda: session.run(requests, IN_FLIGHT).received)
        if figure.wire_bytes != sum(len(chunk.encoded) for chunk in chunks):
            raise AssertionError("restored another number of bytes than was stored")
        sample = chunks[len(chunks) // 2]
        raw = session.one(Request(header_block("GET", f"/chunk?digest={sample.digest.hex()}", _FORM)))
        if raw != bytes(sample.encoded):
            raise AssertionError("restored other bytes than were stored")
        session.close()
        return figure

    def listings(self, shapes: list[Shape], backup_id: str) -> list[Figure]:
        """`GET snapshots` of namespaces with as many snapshots in other shapes: medians of calls in turn."""
        for shape in shapes:
            asyncio.run(multiply_snapshot(self.product, backup_id, shape))
            fetch_snapshots(self.product, shape)
        measured: dict[Shape, list[Figure]] = {shape: [] for shape in shapes}
        for _ in range(5):
            for shape in shapes:
                measured[shape].append(self.measure("", partial(fetch_snapshots, self.product, shape)))
        figures = []
        for shape, calls in measured.items():
            median = sorted(calls, key=lambda figure: figure.seconds)[2]
            median.name = f"REST list of {shape.groups} x {shape.each} snapshots"
            figures.append(median)
        for figure in figures[1:]:
            figure.note = f"{figure.seconds / figures[0].seconds:.2f} of the first shape's time"
        return figures

    def upload_beside_lists(self, size: int, shape: Shape) -> list[Figure]:
        """The same new image alone and beside one list after the other, in turn: medians of three."""
        alone, beside, lists = [], [], 0
        for _ in range(3):
            alone.append(self.upload("upload, encrypted, alone", encrypted_chunks(size // CHUNK))[0])
            with asking_for_lists(self.product, shape) as done:
                before = done.value
                beside.append(self.upload("upload, encrypted, beside lists", encrypted_chunks(size // CHUNK))[0])
                lists += done.value - before
        figures = [sorted(found, key=lambda figure: figure.seconds)[1] for found in (alone, beside)]
        slower = figures[1].seconds / figures[0].seconds - 1
        figures[1].note = f"{100 * slower:.0f} % slower; one list every {LIST_PAUSE:.0f} s, {lists} in three runs"
        return figures

    def later_start(self) -> float:
        """Seconds until a product that has been there before answers again."""
        self.product.stop()
        began = time.monotonic()
        self.product.start()
        return time.monotonic() - began

    def _next(self) -> int:
        self._time += 1
        return self._time


def _mode(chunk: Chunk) -> str:
    return "encrypt" if blob.parse_header(chunk.encoded)[0].encrypted else "none"


def _with_body(method: str, path: str, body: bytes, content_type: str) -> Request:
    return Request(header_block(method, path, content_type), memoryview(body))
