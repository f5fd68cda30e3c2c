"""Lists of many groups and snapshots come in pages, each item once and in order."""

import json

import pytest

from pbs_cloud.chunkstore.catalogue import listing
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext

from .conftest import Bench, caller

GROUPS = [("host", "a"), ("host", "b"), ("vm", "10"), ("vm", "9"), ("vm", "a")]


@pytest.fixture
async def filled(bench: Bench) -> list[tuple[str, str, int]]:
    """Rows of a tenant of its own, without files: 5 groups of 1 to 9 snapshots."""
    rows = [(kind, name, time) for n, (kind, name) in enumerate(GROUPS) for time in range(1, 2 * n + 2)]
    async with bench.database.tenant("listing") as connection:
        if await connection.fetchval("SELECT count(*) FROM datastore"):
            return rows
        store = await connection.fetchval(
            "INSERT INTO datastore (tenant_id, name, backend_type, location)"
            " VALUES ('listing', 'tank', 'filesystem', 'none') RETURNING id"
        )
        namespace = await connection.fetchval(
            "INSERT INTO namespace (tenant_id, datastore_id, path) VALUES ('listing', $1, '') RETURNING id", store
        )
        for kind, name in GROUPS:
            await connection.execute(
                "INSERT INTO backup_group (tenant_id, datastore_id, namespace_id, backup_type, backup_id, owner)"
                " VALUES ('listing', $1, $2, $3, $4, $5)",
                store, namespace, kind, name, f"{kind}@pbs",
            )  # fmt: skip
        for kind, name, time in rows:
            await connection.execute(
                "INSERT INTO snapshot (tenant_id, datastore_id, group_id, backup_time, state, manifest, size)"
                " SELECT 'listing', $1, id, $4, 'committed', $5, 1 FROM backup_group"
                " WHERE datastore_id = $1 AND backup_type = $2 AND backup_id = $3",
                store, kind, name, time, _manifest(time),
            )  # fmt: skip
    return rows


def _manifest(time: int) -> str:
    return json.dumps({"files": [], "unprotected": {"notes": f"n{time}"}, "signature": None})


@pytest.mark.parametrize("page", [1, 2, 3, 5, 200])
@pytest.mark.parametrize("page_bytes", [1, 200, 1 << 20])
async def test_every_item_comes_once_and_in_order(
    bench: Bench,
    filled: list[tuple[str, str, int]],
    monkeypatch: pytest.MonkeyPatch,
    page: int,
    page_bytes: int,
) -> None:
    monkeypatch.setattr(listing, "PAGE", page)
    monkeypatch.setattr(listing, "PAGE_BYTES", page_bytes)
    ctx = caller("listing")
    listed = await bench.snapshots(ctx, "tank")
    assert [(s.backup_type, s.backup_id, s.backup_time) for s in listed] == filled
    assert [s.comment for s in listed] == [f"n{time}" for _, _, time in filled]
    assert [(g.backup_type, g.backup_id, g.backup_count) for g in await bench.groups(ctx, "tank")] == [
        (kind, name, 2 * n + 1) for n, (kind, name) in enumerate(GROUPS)
    ]
    limited = caller("listing", "vm@pbs", "DatastoreBackup")
    owned = [(s.backup_id, s.backup_time) for s in await bench.snapshots(limited, "tank")]
    assert owned == [(name, time) for kind, name, time in filled if kind == "vm"]
    assert [g.backup_id for g in await bench.groups(limited, "tank")] == ["10", "9", "a"]


async def test_the_filters(bench: Bench, filled: list[tuple[str, str, int]]) -> None:
    ctx = caller("listing")
    by_id = await bench.snapshots(ctx, "tank", backup_id="a")
    assert [(s.backup_type, s.backup_time) for s in by_id] == [(k, time) for k, name, time in filled if name == "a"]
    by_type = await bench.snapshots(ctx, "tank", backup_type="host")
    assert [(s.backup_id, s.backup_time) for s in by_type] == [(n, time) for k, n, time in filled if k == "host"]
    both = await bench.snapshots(ctx, "tank", backup_type="host", backup_id="a")
    assert [s.backup_time for s in both] == [1]
    assert await bench.snapshots(ctx, "tank", backup_type="ct", backup_id="a") == []


@pytest.mark.parametrize(
    ("manifest", "files", "comment"),
    [
        ("{}", ("x.blob",), None),
        ("no json", ("x.blob",), None),
        (_manifest(7), ("index.json.blob", "x.blob"), "n7"),
    ],
)
async def test_a_snapshot_without_readable_manifest_shows_bare_names(
    bench: Bench, filled: list[tuple[str, str, int]], manifest: str, files: tuple[str, ...], comment: str | None
) -> None:
    ctx = caller("listing")
    async with bench.database.tenant("listing") as connection:
        row = await connection.fetchrow(
            "UPDATE snapshot SET manifest = $1 FROM backup_group g WHERE g.id = group_id AND g.backup_type = 'host'"
            " AND g.backup_id = 'a' RETURNING snapshot.id, snapshot.datastore_id",
            manifest,
        )
        for name in ("x.blob", "index.json.blob"):
            await connection.execute(
                "INSERT INTO snapshot_file (snapshot_id, name, tenant_id, datastore_id, kind, size, stored_size)"
                " VALUES ($1, $2, 'listing', $3, 'blob', 1, 1) ON CONFLICT DO NOTHING",
                row["id"], name, row["datastore_id"],
            )  # fmt: skip
    [listed] = await bench.snapshots(ctx, "tank", backup_type="host", backup_id="a")
    assert (tuple(f.filename for f in listed.files), listed.comment) == (files, comment)
    assert (listed.size is None) == (comment is None)
    async with bench.database.tenant("listing") as connection:
        await connection.execute("DELETE FROM snapshot_file")
        await connection.execute("UPDATE snapshot SET manifest = $2 WHERE id = $1", row["id"], _manifest(1))


async def test_verification_and_fingerprint(bench: Bench, admin: CallContext, group: t.GroupRef) -> None:
    upid = "UPID:a:00000001:00000001:00000001:00000001:verify:x:root@pam:"
    fingerprint = ":".join(["ab"] * 32)
    cases: list[tuple[dict[str, object], t.Verification | None, str | None]] = [
        ({"verify_state": {"state": "ok", "upid": upid}, "key-fingerprint": fingerprint}, t.Verification(upid, "ok"),
         fingerprint),
        ({"verify_state": {"state": "good", "upid": upid}, "key-fingerprint": "x"}, None, None),
        ({"verify_state": {"state": "ok", "upid": "x"}, "key-fingerprint": 7}, None, None),
        ({"verify_state": 1, "notes": 2}, None, None),
    ]  # fmt: skip
    for number, (unprotected, verification, shown) in enumerate(cases):
        await bench.backup(admin, group, 1_700_000_000 + number, unprotected=unprotected)
        listed = (await bench.snapshots(admin, "tank", backup_id=group.backup_id))[-1]
        assert (listed.verification, listed.fingerprint, listed.comment) == (verification, shown, None)
