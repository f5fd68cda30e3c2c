"""A datastore with very many snapshots, and the call that lists them."""

import json
import ssl
import urllib.request

import asyncpg
from testkit.product import ProductServer

_CONTEXT = ssl._create_unverified_context()


def fetch_snapshots(product: ProductServer, at_least: int) -> int:
    """One `GET snapshots` of datastore ``default``: bytes of the answer, which must list so many."""
    url = f"{product.url}/api2/json/admin/datastore/default/snapshots"
    request = urllib.request.Request(url, headers={"authorization": product.authorization})
    with urllib.request.urlopen(request, context=_CONTEXT, timeout=120) as answer:
        body = answer.read()
    listed = len(json.loads(body)["data"])
    if listed < at_least:
        raise AssertionError(f"{listed} snapshots listed instead of {at_least}")
    return len(body)


async def multiply_snapshot(product: ProductServer, backup_id: str, wanted: int) -> int:
    """Copy the rows of a committed snapshot: ``wanted`` more of its group, all with its files; rows added."""
    socket = product.data_dir / "data" / "run" / "pg"
    connection = await asyncpg.connect(host=str(socket), port=5432, user="pbs_admin", database="postgres")
    try:
        await connection.execute("SET search_path TO chunkstore; SET pbs.tenant TO '*'")
        template = await connection.fetchrow(
            "SELECT s.* FROM snapshot s JOIN backup_group g ON g.id = s.group_id WHERE g.backup_id = $1", backup_id
        )
        files = await connection.fetch("SELECT * FROM snapshot_file WHERE snapshot_id = $1", template["id"])
        columns = ", ".join(name for name in dict(template) if name not in ("id", "backup_time"))
        others = ", ".join(f"f.{name}" for name in dict(files[0]) if name != "snapshot_id")
        async with connection.transaction():
            await connection.execute(
                f"INSERT INTO snapshot (backup_time, {columns}) SELECT 1000000 + n, {columns} "
                "FROM snapshot, generate_series(1, $2::int) n WHERE id = $1",
                template["id"],
                wanted,
            )
            await connection.execute(
                f"INSERT INTO snapshot_file (snapshot_id, {others.replace('f.', '')}) SELECT s.id, {others} "
                "FROM snapshot s, snapshot_file f WHERE f.snapshot_id = $1 AND s.group_id = $2 AND s.id <> $1",
                template["id"],
                template["group_id"],
            )
        await connection.execute("ANALYZE snapshot; ANALYZE snapshot_file")
        return wanted * (1 + len(files))
    finally:
        await connection.close()
