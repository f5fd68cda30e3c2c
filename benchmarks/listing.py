"""Namespaces with very many snapshots, and the call that lists them."""

import json
import multiprocessing
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from testkit.product import ProductServer

LIST_PAUSE = 10.0
"""Seconds between lists beside an upload: more often than any exporter or GUI polls."""
_CONTEXT = ssl._create_unverified_context()
_PROCESSES = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Shape:
    """How the snapshots of a namespace are spread."""

    groups: int
    each: int

    @property
    def ns(self) -> str:
        """A namespace of its own."""
        return f"list{self.groups}x{self.each}"


@dataclass(frozen=True, slots=True)
class Access:
    """Where a product is called, and as whom."""

    url: str
    authorization: str


def call(product: ProductServer | Access, method: str, path: str) -> bytes:
    """Body of a call below ``/api2/json`` on datastore ``default``."""
    url = f"{product.url}/api2/json/admin/datastore/default/{path}"
    request = urllib.request.Request(url, headers={"authorization": product.authorization}, method=method)
    with urllib.request.urlopen(request, context=_CONTEXT, timeout=120) as answer:
        body: bytes = answer.read()
    return body


def fetch_snapshots(product: ProductServer | Access, shape: Shape) -> int:
    """One `GET snapshots` of the shape's namespace: bytes of the answer, which must list them all."""
    body = call(product, "GET", f"snapshots?ns={shape.ns}")
    listed = len(json.loads(body)["data"])
    if listed != shape.groups * shape.each:
        raise AssertionError(f"{listed} snapshots listed instead of {shape}")
    return len(body)


@contextmanager
def asking_for_lists(product: ProductServer, shape: Shape) -> Iterator[Any]:
    """Meanwhile another process asks for the list every `LIST_PAUSE` seconds; yields how often it did (``value``)."""
    stop, done = _PROCESSES.Event(), _PROCESSES.Value("i", 0)
    access = Access(product.url, product.authorization)
    process = _PROCESSES.Process(target=_ask, args=(access, shape, stop, done))
    process.start()
    while not done.value:  # the first list is the start of the new process too, and does not count
        if process.exitcode is not None:
            raise AssertionError("the lists cannot be read")
        stop.wait(0.05)
    try:
        yield done
    finally:
        stop.set()
        process.join()
    if process.exitcode:
        raise AssertionError("the lists cannot be read")


def _ask(access: Access, shape: Shape, stop: Any, done: Any) -> None:
    while not stop.is_set():
        fetch_snapshots(access, shape)
        done.value += 1
        stop.wait(LIST_PAUSE if done.value > 1 else 0.0)


async def multiply_snapshot(product: ProductServer, backup_id: str, shape: Shape) -> None:
    """Copy the rows of a committed snapshot, with its files, into a new namespace of that shape."""
    call(product, "POST", f"namespace?name={shape.ns}")
    socket = product.data_dir / "data" / "run" / "pg"
    connection = await asyncpg.connect(host=str(socket), port=5432, user="pbs_admin", database="postgres")
    try:
        await connection.execute("SET search_path TO chunkstore; SET pbs.tenant TO '*'")
        template = await connection.fetchrow(
            "SELECT s.* FROM snapshot s JOIN backup_group g ON g.id = s.group_id WHERE g.backup_id = $1", backup_id
        )
        file = await connection.fetchrow("SELECT * FROM snapshot_file WHERE snapshot_id = $1", template["id"])
        columns = ", ".join(f"t.{name}" for name in dict(template) if name not in ("id", "group_id", "backup_time"))
        others = ", ".join(f"f.{name}" for name in dict(file) if name != "snapshot_id")
        async with connection.transaction():
            await connection.execute(
                "INSERT INTO backup_group (tenant_id, datastore_id, namespace_id, backup_type, backup_id, owner) "
                "SELECT g.tenant_id, g.datastore_id, n.id, g.backup_type, 'g' || k, g.owner "
                "FROM backup_group g, namespace n, generate_series(1, $3::int) k "
                "WHERE g.id = $1 AND n.datastore_id = g.datastore_id AND n.path = $2",
                template["group_id"], shape.ns, shape.groups,
            )  # fmt: skip
            await connection.execute(
                f"INSERT INTO snapshot (group_id, backup_time, {columns.replace('t.', '')}) "
                f"SELECT g.id, 1000000 + k, {columns} FROM snapshot t, generate_series(1, $3::int) k, backup_group g "
                "JOIN namespace n ON n.id = g.namespace_id WHERE t.id = $1 AND n.path = $2",
                template["id"], shape.ns, shape.each,
            )  # fmt: skip
            await connection.execute(
                f"INSERT INTO snapshot_file (snapshot_id, {others.replace('f.', '')}) SELECT s.id, {others} "
                "FROM snapshot s JOIN backup_group g ON g.id = s.group_id JOIN namespace n ON n.id = g.namespace_id, "
                "snapshot_file f WHERE f.snapshot_id = $1 AND n.path = $2",
                template["id"], shape.ns,
            )  # fmt: skip
        await connection.execute("ANALYZE backup_group; ANALYZE snapshot; ANALYZE snapshot_file")
    finally:
        await connection.close()
