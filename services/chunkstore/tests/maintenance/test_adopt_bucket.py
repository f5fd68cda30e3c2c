"""A datastore that a real PBS wrote into our bucket becomes one of ours, where it lies."""

import json
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from testkit.golden import GOLDEN
from testkit.servers import S3Server

from pbs_cloud.chunkstore.maintenance import running
from pbs_cloud.chunkstore.maintenance.adopt_bucket import BucketAdoption, WantedPrefix
from pbs_cloud.contracts.errors import AlreadyExists, Conflict, InvalidArgument, NotFound
from pbs_cloud.runtime.database import Database
from pbs_cloud.runtime.settings import Settings

from .conftest import services_on

TENANT = "acme"


def put_golden(settings: Settings, s3: S3Server) -> Any:
    """The golden bucket as it is, but for its mark: its server has given it up."""
    client = s3.client()
    with tarfile.open(GOLDEN / "bucket.tar.gz") as tar:
        for member in tar:
            name = member.name.partition("/")[2]
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None and name.startswith("golden-s3/") and not name.endswith("/.in-use"):
                client.put_object(Bucket=settings.s3_bucket, Key=name, Body=content.read())
    return client


def objects(client: Any, settings: Settings) -> set[str]:
    return {entry["Key"] for entry in client.list_objects_v2(Bucket=settings.s3_bucket)["Contents"]}


async def test_the_golden_bucket_is_adopted_where_it_lies(
    database: Database, threads: ThreadPoolExecutor, s3_settings: Settings, s3: S3Server
) -> None:
    client = put_golden(s3_settings, s3)
    before = objects(client, s3_settings)
    wanted = WantedPrefix.of(s3_settings, "s3:golden-s3/", TENANT, None)
    command = BucketAdoption(s3_settings, database, threads)
    with pytest.raises(NotFound):
        await command.run(WantedPrefix.of(s3_settings, "s3:nothing", TENANT, None))
    client.put_object(Bucket=s3_settings.s3_bucket, Key="golden-s3/.in-use", Body=b'{"hostname":"pbs.example.com"}')
    with pytest.raises(Conflict, match=r"pbs\.example\.com"):
        await command.run(wanted)
    client.delete_object(Bucket=s3_settings.s3_bucket, Key="golden-s3/.in-use")
    report = await command.run(wanted)
    assert (report.name, report.snapshots, report.missing_chunks, report.warnings) == ("golden-s3", 19, 0, [])
    assert (await command.run(wanted)).already
    mark = client.get_object(Bucket=s3_settings.s3_bucket, Key="golden-s3/.in-use")["Body"].read()
    assert json.loads(mark)["hostname"].startswith("pbs-cloud-")
    for other in (
        WantedPrefix.of(s3_settings, "s3:golden-s3/sub", TENANT, "another"),
        WantedPrefix("golden-s3", TENANT, "another"),
    ):
        with pytest.raises(InvalidArgument):
            await command.run(other)
    async with services_on(database, s3_settings, threads, TENANT, "golden-s3") as world:
        listed = [s async for s in world.services.listings.snapshots(world.ctx, "golden-s3", "", None, None)]
        assert listed
    with pytest.raises(AlreadyExists):
        await command.run(WantedPrefix("elsewhere", TENANT, "golden-s3"))
    assert objects(client, s3_settings) == before | {"golden-s3/.in-use"}


async def test_an_adoption_that_was_cut_off_is_repeated(
    database: Database, database_url: str, threads: ThreadPoolExecutor, s3_settings: Settings, s3: S3Server
) -> None:
    """The mark was written, the rows were not."""
    put_golden(s3_settings, s3)
    wanted = WantedPrefix.of(s3_settings, "s3:golden-s3", TENANT, "taken")
    mark = json.dumps({"hostname": f"pbs-cloud-{wanted.identity(s3_settings)}"}).encode()
    s3.client().put_object(Bucket=s3_settings.s3_bucket, Key="golden-s3/.in-use", Body=mark)
    settings = s3_settings.model_copy(update={"chunkstore_database_url": database_url})
    settings = type(s3_settings).model_validate(settings.model_dump())
    report = await running.adopt(settings, Path("s3:golden-s3"), tenant_id=TENANT, name="taken")
    assert (report.already, report.snapshots) == (False, 19)


def test_where_a_prefix_may_lie(s3_settings: Settings) -> None:
    below = s3_settings.model_copy(update={"s3_prefix": "backups"})
    assert WantedPrefix.of(below, "s3:backups/pbs", TENANT, None).location == "pbs"
    for settings, text in ((below, "s3:pbs"), (s3_settings, "s3:"), (s3_settings, "s3:a/../b")):
        with pytest.raises(InvalidArgument):
            WantedPrefix.of(settings, text, TENANT, None)
    with pytest.raises(InvalidArgument):
        WantedPrefix.of(s3_settings.model_copy(update={"s3_bucket": None}), "s3:pbs", TENANT, None)
