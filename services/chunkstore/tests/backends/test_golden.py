"""Byte for byte what a real PBS wrote: its bucket made again through the backend, its directory read (spec/golden)."""

import csv
import shutil
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from testkit.servers import S3Server

from pbs_cloud.chunkstore.backends.local import LocalBackend
from pbs_cloud.chunkstore.backends.s3 import S3Backend
from pbs_cloud.chunkstore.backends.s3_client import S3Settings
from pbs_cloud.contracts.errors import AlreadyExists, Conflict
from pbs_cloud.formats import blob

GOLDEN = Path(__file__).parents[4] / "tests" / "data" / "golden"
STORE = "golden-s3"


def members(archive: str) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(GOLDEN / archive) as tar:
        for member in tar:
            if member.isfile():
                content = tar.extractfile(member)
                assert content is not None
                yield member.name.partition("/")[2], content.read()


async def test_the_bucket_of_a_real_pbs_made_again(
    s3: S3Server, s3_settings: S3Settings, executor: ThreadPoolExecutor
) -> None:
    made = S3Backend(s3_settings, STORE, executor, mark="pbs-cloud-test")
    await made.create()
    for key, content in members("bucket.tar.gz"):
        name = key.removeprefix(f"{STORE}/")
        if name.startswith(".chunks/"):
            await made.write_chunk(bytes.fromhex(name[-64:]), [content], only_new=True)
        elif name.endswith("/.namespace"):
            await made.make_namespace(name.removeprefix(".cnt/").removesuffix(".namespace"))
        elif name.startswith(".cnt/"):
            await made.put_file(name.removeprefix(".cnt/"), content)
    with (GOLDEN / "bucket.tsv").open() as listing:
        expected = {row["key"]: row for row in csv.DictReader(listing, delimiter="\t") if row["key"].startswith(STORE)}
    client = s3.client()
    found = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=s3_settings.bucket, Prefix=f"{STORE}/"):
        found |= {entry["Key"]: entry for entry in page.get("Contents", ())}
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        if not key.endswith("/.in-use"):
            assert (str(found[key]["Size"]), found[key]["ETag"].strip('"')) == (row["bytes"], row["etag"]), key
    head = client.head_object(Bucket=s3_settings.bucket, Key=next(iter(expected)))
    assert head["ContentType"] == "application/octet-stream"
    listed = {key async for key, _size in made.list_files()}
    assert listed == {
        key.removeprefix(f"{STORE}/.cnt/")
        for key in expected
        if key.startswith(f"{STORE}/.cnt/") and not key.endswith("/.namespace")
    }
    await made.destroy()
    assert client.list_objects_v2(Bucket=s3_settings.bucket, Prefix=f"{STORE}/")["KeyCount"] == 0


async def test_a_foreign_mark_in_the_bucket_is_honoured(s3_settings: S3Settings, executor: ThreadPoolExecutor) -> None:
    theirs = S3Backend(s3_settings, "shared-name", executor, mark="pbs.example.com")
    await theirs.create()
    ours = S3Backend(s3_settings, "shared-name", executor, mark="pbs-cloud-test")
    for reuse in (False, True):
        with pytest.raises(Conflict, match=r"pbs\.example\.com"):
            await ours.create(reuse=reuse)
    with pytest.raises(Conflict):
        await ours.check()
    await theirs.put_file("vm/1/owner", b"root@pam\n")
    await theirs.release()
    with pytest.raises(AlreadyExists):
        await ours.create()
    await ours.create(reuse=True)
    await ours.check()


async def test_the_directory_of_a_real_pbs_is_read(store_folder: Path, executor: ThreadPoolExecutor) -> None:
    with tarfile.open(GOLDEN / "datastore.tar.gz") as tar:
        tar.extractall(store_folder, filter="data")
    made = LocalBackend(store_folder / "golden", executor, mark="pbs-cloud-test")
    files, chunks = {}, {}
    for name, content in members("datastore.tar.gz"):
        if name.startswith(".chunks/") and len(name.rpartition("/")[2]) == 64:
            chunks[bytes.fromhex(name[-64:])] = content
        elif not name.startswith("."):
            files[name] = content
    assert files
    assert {key async for key, _size in made.list_files()} == files.keys()
    for name, content in files.items():
        assert b"".join([piece async for piece in made.read_file(name)]) == content
    for digest, content in chunks.items():
        data = await made.read_chunk(digest)
        assert data == content
        blob.check_crc(data)
    await made.close()
    shutil.rmtree(store_folder / "golden")
