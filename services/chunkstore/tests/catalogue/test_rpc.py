"""The process through its socket: raw messages, streams, errors by class, events on the bus."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from testkit.servers import NatsServer

from pbs_cloud.chunkstore.catalogue.main import components
from pbs_cloud.contracts.chunkstore import CatalogueClient
from pbs_cloud.contracts.chunkstore import types as t
from pbs_cloud.contracts.context import CallContext
from pbs_cloud.contracts.errors import Conflict, InvalidArgument, NotFound, PermissionDenied, Unauthenticated
from pbs_cloud.formats import blob
from pbs_cloud.proto.common.v1 import common_pb2
from pbs_cloud.runtime.grpc_channel import open_channel
from pbs_cloud.runtime.settings import Settings

from .conftest import caller, dynamic_index, manifest_blob, pieces

TIME = 1_700_000_000


@dataclass
class Served:
    client: CatalogueClient
    settings: Settings


@pytest.fixture
async def served(database_url: str, data_folder: Path, nats: NatsServer) -> AsyncIterator[Served]:
    run = Path(tempfile.mkdtemp(prefix="pbs-run-"))
    settings = Settings(data_dir=data_folder, run_dir=run, chunkstore_database_url=database_url, nats_url=nats.url)
    parts = components(settings)
    for part in parts:
        await part.start()
    channel = open_channel(settings.services.catalogue, settings)
    yield Served(CatalogueClient(channel), settings)
    await channel.close()
    for part in reversed(parts):
        await part.stop()
    shutil.rmtree(run)


async def test_every_call_through_the_socket(served: Served, tenant: str, group: t.GroupRef) -> None:
    client, admin = served.client, caller(tenant)
    await client.ensure_datastore(tenant, "tank")
    await client.ensure_datastore(tenant, "tank")
    await _backup(client, admin, group)
    key = t.SnapshotKey(group, TIME)
    [listed] = [s async for s in client.list_snapshots(admin, "tank", "", backup_id=group.backup_id)]
    assert [f.filename for f in listed.files] == ["root.pxar.didx", "index.json.blob"]
    assert await client.list_files(admin, key) == listed.files
    await client.upload_log(admin, key, pieces(blob.encode(b"log"), 5))
    await client.set_notes(admin, key, "hello\nworld")
    assert await client.notes(admin, key) == "hello\nworld"
    await client.set_protected(admin, key, True)
    assert await client.protected(admin, key) is True
    await client.set_protected(admin, key, False)
    await client.set_group_notes(admin, group, "group")
    assert await client.group_notes(admin, group) == "group"
    await client.change_owner(admin, group, "x@pbs")
    [found] = [g async for g in client.list_groups(admin, "tank", "") if g.backup_id == group.backup_id]
    assert (found.owner, found.comment, found.last_backup, found.backup_count) == ("x@pbs", "group", TIME, 1)
    assert found.files == ("client.log.blob", "index.json.blob", "root.pxar.didx")
    await _read(client, admin, group)
    await client.delete_snapshot(admin, key)
    with pytest.raises(NotFound):
        await client.list_files(admin, key)


async def _backup(client: CatalogueClient, admin: CallContext, group: t.GroupRef) -> None:
    opened = await client.open_backup(admin, group, TIME, benchmark=False, process_id="gw")
    assert (opened.base, opened.lease_seconds) == (None, 60)
    session = opened.session_id
    index, csum, size = dynamic_index([(n + 1, bytes([n % 250]) * 32) for n in range(100_000)])
    await client.close_index(admin, session, "root.pxar.didx", csum, size, pieces(index, 100_000))
    entry: dict[str, object] = {"filename": "root.pxar.didx", "size": size, "csum": csum.hex()}
    await client.put_blob(admin, session, "index.json.blob", memoryview(manifest_blob(group, TIME, [entry])))
    assert (await client.renew_leases("gw", [session])).lost_session_ids == ()
    await client.append_task_log(admin, opened.upid, ["a line"])
    await client.finish(admin, session, t.UploadStatistics(1, 2, 3, 0))
    await client.close_session(admin, session)
    assert (await client.get_task(admin, opened.upid)).status == "OK"
    log = await client.read_task_log(admin, opened.upid, 0, 0)
    assert [line.text[27:] for line in log.lines] == ["a line", "TASK OK"]


async def _read(client: CatalogueClient, admin: CallContext, group: t.GroupRef) -> None:
    reader = await client.open_reader(admin, t.SnapshotKey(group, TIME), process_id="gw")
    read = [p async for p in client.read_session_file(admin, reader.session_id, "root.pxar.didx")]
    assert len(b"".join(read)) == 4096 + 40 * 100_000
    with pytest.raises(NotFound):
        await anext(client.read_session_file(admin, reader.session_id, "none.blob"))
    await client.close_session(admin, reader.session_id, bytes_sent=10)
    tasks, total = await client.list_tasks(admin, t.TaskFilter(limit=1))
    assert (len(tasks), total) == (1, 2)
    await client.stop_task(admin, reader.upid)


async def test_stores_and_namespaces_through_the_socket(served: Served, tenant: str) -> None:
    client, admin = served.client, caller(tenant)
    await client.ensure_datastore(tenant, "tank")
    await client.create_namespace(admin, "tank", "rpc")
    assert "rpc" in await client.list_namespaces(admin, "tank", "", None)
    assert await client.list_namespaces(admin, "tank", "", 0) == ("",)
    done = await client.delete_namespace(admin, "tank", "rpc", delete_groups=True, error_on_protected=True)
    assert done == t.DeleteStatistics(0, 0, 0)
    stores, digest = await client.list_datastores(admin)
    assert [store.name for store in stores] == ["tank"]
    await client.update_datastore(admin, "tank", {"comment": "x"}, digest=digest)
    with pytest.raises(Conflict):
        await client.update_datastore(admin, "tank", {"comment": "x"}, ["comment"], digest)
    assert (await client.datastore_status(admin, "tank", verbose=True)).used >= 0
    assert (await client.tenant_usage(admin)).storage_bytes >= 0


async def test_errors_keep_their_class(served: Served, tenant: str, group: t.GroupRef) -> None:
    client = served.client
    nobody = caller(tenant, "n@pbs", "Audit", "/system")
    with pytest.raises(PermissionDenied):
        _ = [s async for s in client.list_snapshots(nobody, "tank", "")]
    with pytest.raises(InvalidArgument) as wrong:
        await client.open_backup(caller(tenant), group, 0, benchmark=False, process_id="gw")
    assert wrong.value.field == "backup-time"
    with pytest.raises(InvalidArgument) as wrong:
        await client.close_session(caller(tenant), "no-session")
    assert wrong.value.field == "session_id"
    with pytest.raises(Unauthenticated):
        await client._unary(client._stub.GetTenantUsage, common_pb2.Empty(), None)
