"""The same services with their files in a bucket."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import obstore
import pytest
from testkit.servers import S3Server

from pbs_cloud.chunkstore.backends.opening import open_backend
from pbs_cloud.chunkstore.catalogue.parts import Backends, FileWrites, Parts
from pbs_cloud.chunkstore.catalogue.rows import find_store
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Conflict
from pbs_cloud.formats import blob
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.settings import Settings

from .conftest import Bench, caller

TIME = 1_700_000_000
FOLDER = "2023-11-14T22:13:20Z"


@pytest.fixture
async def cloud(
    database: Database, threads: ThreadPoolExecutor, data_folder: Path, s3: S3Server
) -> AsyncIterator[Bench]:
    settings = Settings(
        data_dir=data_folder,
        s3_bucket=s3.new_bucket(),
        s3_region=s3.region,
        s3_endpoint=s3.endpoint,
        AWS_ACCESS_KEY_ID=s3.access_key,
        AWS_SECRET_ACCESS_KEY=s3.secret_key,
    )
    backends = Backends(lambda place: open_backend(settings, place, threads))
    yield Bench(Parts(database, backends, settings, FileWrites()), data_folder)
    await backends.close()


async def keys(bench: Bench, ctx: CallContext) -> list[str]:
    async with bench.database.tenant(ctx.tenant_id) as connection:
        store = await find_store(connection, ctx.tenant_id, "tank")
    assert (store.backend_type, store.location) == ("s3", "in-bucket/tank")
    return sorted([key async for key, _ in bench.parts.backends.of(store).list_files()])


async def test_what_lies_in_the_bucket(cloud: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    conditional: dict[str, bool] = {}
    put = obstore.put_async

    def noted(store: object, key: str, *args: object, **more: object) -> object:
        conditional[key.rpartition("/")[2]] = more["mode"] == "create"
        return put(store, key, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(obstore, "put_async", noted)
    ctx = caller("in-bucket")
    await cloud.services.datastores.ensure("in-bucket", "tank")
    await cloud.services.namespaces.create(ctx, "tank", "a")
    first, second = t.GroupRef("tank", "a", "vm", "10"), t.GroupRef("tank", "a", "vm", "100")
    for ref in (first, second):
        await cloud.backup(ctx, ref, TIME, {"x.conf.blob": b"x"})
    key = t.SnapshotKey(second, TIME)
    await cloud.services.snapshots.set_notes(ctx, key, "kept")
    for _ in range(2):
        await cloud.services.snapshots.set_protected(ctx, key, True)
    assert conditional[".protected"] and conditional[".namespace"] and not conditional["index.json.blob"]
    await cloud.services.groups.set_notes(ctx, second, "group")
    running = await cloud.open(ctx, first, TIME + 1)
    await cloud.services.files.put_blob(ctx, running.session_id, "y.blob", blob.encode(b"y"))
    await cloud.close(ctx, running.session_id)
    await cloud.services.groups.delete(ctx, first, error_on_protected=True)
    kept = ("notes", "owner", *(f"{FOLDER}/{name}" for name in (".protected", "index.json.blob", "x.conf.blob")))
    assert [k for k in await keys(cloud, ctx) if "/vm/" in k] == sorted(f"ns/a/vm/100/{name}" for name in kept)
    with pytest.raises(Conflict):
        await cloud.services.namespaces.delete(ctx, "tank", "a", delete_groups=True, error_on_protected=True)
    await cloud.services.snapshots.set_protected(ctx, key, False)
    await cloud.services.namespaces.delete(ctx, "tank", "a", delete_groups=True, error_on_protected=True)
    assert [k for k in await keys(cloud, ctx) if k.startswith("ns/")] == []
    upid = await cloud.services.datastores.delete(ctx, "tank", destroy_data=True, digest=None)
    assert (await cloud.ended(ctx, upid)).status == "OK"
