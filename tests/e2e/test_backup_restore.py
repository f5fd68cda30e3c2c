"""Backup, restore, compare: every way in which the stock clients write a snapshot."""

import asyncio
import hashlib
import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from testkit.chunker import dynamic_chunks
from testkit.client import (
    T1,
    T2,
    T3,
    Backup,
    BackupSession,
    EncryptingCodec,
    KnownChunk,
    PlainCodec,
    ReaderSession,
    Refused,
    Restore,
    SigningCodec,
)
from testkit.crypto import EncryptionKey, unwrap_key, wrap_key
from testkit.pxar_tree import summarise_archive, summarise_tree
from testkit.pxar_writer import encode_catalog, encode_split, encode_v1, tree_from_directory
from testkit.sources import MIB, make_directory, make_image, open_archive, reader_of
from testkit.world import Tenant, eventually

from pbs_cloud.formats.blob import encode
from pbs_cloud.formats.catalog import CatalogReader
from pbs_cloud.formats.digest import ZERO_CHUNK_DIGEST
from pbs_cloud.formats.index import DynamicIndex, FixedIndex

CHUNK = 4 * MIB


async def test_directory_first_and_incremental(tenant: Tenant, tmp_path: Path) -> None:
    """A tree comes back entry by entry; the second run sends only what changed."""
    caller, group = await tenant.token(), tenant.snapshot()
    root = make_directory(tmp_path / "source")
    first = tree_from_directory(root)
    expected = summarise_tree(first)
    archives = {T1: encode_v1(first)}
    async with await Backup.open(tenant.endpoint, caller.credential, group) as backup:
        assert backup.previous is None
        result = await backup.directory("root", archives[T1], encode_catalog({"root.pxar.didx": first}))
        assert result.uploaded > 3
        await backup.blob("etc.conf.blob", b"name = value\n" * 50)
        await backup.finish()

    (root / "data" / "text").write_bytes(b"changed\n" * 1000)
    (root / "new").write_bytes(b"new file")
    archives[T2] = encode_v1(tree_from_directory(root))
    async with await Backup.open(tenant.endpoint, caller.credential, group.at(T2)) as backup:
        assert backup.previous is not None
        result = await backup.directory("root", archives[T2], encode_catalog({"root.pxar.didx": first}))
        assert result.reused >= result.uploaded > 0
        await backup.finish()

    for time, archive in archives.items():
        async with await Restore.open(tenant.endpoint, caller.credential, group.at(time)) as restore:
            restored = await restore.archive("root.pxar.didx")
            assert hashlib.sha256(restored).digest() == hashlib.sha256(archive).digest()
            catalog = await restore.archive("catalog.pcat1.didx")
            if time == T1:
                assert summarise_archive(open_archive(restored)) == expected
                assert await restore.blob("etc.conf.blob") == b"name = value\n" * 50
                names = {path.lstrip(b"/") for path, _ in CatalogReader(reader_of(catalog), len(catalog)).walk()}
                assert b"root.pxar.didx/etc/hosts" in names


async def test_image_first_incremental_and_resized(tenant: Tenant) -> None:
    """Images: one changed chunk is one upload; a longer image reuses what it had."""
    caller, group = await tenant.token(), tenant.snapshot("100", backup_type="vm")
    image = make_image(6, 1000)
    versions = {T1: bytes(image)}
    image[2 * CHUNK : 3 * CHUNK] = bytes(CHUNK)
    versions[T2] = bytes(image)
    versions[T3] = bytes(image[: 6 * CHUNK]) + random.Random(9).randbytes(CHUNK + 77)
    uploads = {}
    for time, content in versions.items():
        async with await Backup.open(tenant.endpoint, caller.credential, group.at(time)) as backup:
            uploads[time] = (await backup.image("drive-scsi0", content)).uploaded
            await backup.blob("qemu-server.conf.blob", b"memory: 512\n")
            await backup.finish()
    assert uploads == {T1: 7, T2: 1, T3: 2}
    for time, content in versions.items():
        async with await Restore.open(tenant.endpoint, caller.credential, group.at(time)) as restore:
            assert await restore.archive("drive-scsi0.img.fidx", parallel=16) == content
    listed = await tenant.snapshots(backup_id="100", backup_type="vm")
    assert sorted(item["backup-time"] for item in listed) == [T1, T2, T3]


async def test_many_uploads_in_flight(tenant: Tenant) -> None:
    """66 unanswered chunk uploads of one archive, as the stock client has them, answered in any order."""
    caller, group, codec = await tenant.token(), tenant.snapshot(), PlainCodec(compress=False)
    pieces = [random.Random(number).randbytes(CHUNK) for number in range(66)]
    digests = [codec.digest(piece) for piece in pieces]
    async with await Backup.open(tenant.endpoint, caller.credential, group, codec) as backup:
        session = backup.session
        wid = await session.create("fixed", "disk.img.fidx", 66 * CHUNK)
        uploads = [
            session.send_chunk("fixed", wid, digest, CHUNK, codec.encode(piece))
            for digest, piece in zip(digests, pieces, strict=True)
        ]
        assert session.connection.http2 is not None
        assert session.connection.http2.open_streams == 66
        assert [answer.status for answer in await asyncio.gather(*uploads)] == [200] * 66
        await session.append("fixed", wid, digests, range(0, 66 * CHUNK, CHUNK))
        csum = hashlib.sha256(b"".join(digests)).digest()
        await session.close_index("fixed", wid, 66, 66 * CHUNK, csum)
        backup.add_file("disk.img.fidx", 66 * CHUNK, csum)
        await backup.finish()
    async with await Restore.open(tenant.endpoint, caller.credential, group) as restore:
        assert await restore.archive("disk.img.fidx", parallel=20) == b"".join(pieces)


async def test_encrypted(tenant: Tenant, tmp_path: Path) -> None:
    """Encrypted archive, catalog, image and blob, the wrapped key, and what another key may reuse."""
    caller, group = await tenant.token(), tenant.snapshot("enc")
    key, other = EncryptionKey.generate(), EncryptionKey.generate()
    master = rsa.generate_private_key(65537, 3072)
    public = master.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    private = master.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    tree = tree_from_directory(make_directory(tmp_path / "source", size=MIB))
    archive, image = encode_v1(tree), bytes(make_image(2, 5))
    uploads = []
    for time, used in ((T1, key), (T2, key), (T3, other)):
        async with await Backup.open(
            tenant.endpoint, caller.credential, group.at(time), EncryptingCodec(used)
        ) as backup:
            result = await backup.directory("root", archive, encode_catalog({"root.pxar.didx": tree}))
            uploads.append(result.uploaded + (await backup.image("disk", image)).uploaded)
            await backup.blob("a.conf.blob", b"secret")
            await backup.raw_blob("rsa-encrypted.key.blob", wrap_key(public, used))
            await backup.finish()
    assert uploads[1] == 0
    assert uploads[2] == uploads[0] > 0

    async with await Restore.open(tenant.endpoint, caller.credential, group.at(T2), EncryptingCodec(key)) as restore:
        assert restore.manifest.signature == restore.manifest.compute_signature(key.id_key)
        assert restore.manifest.key_fingerprint == key.fingerprint
        assert await restore.archive("root.pxar.didx") == archive
        assert await restore.archive("disk.img.fidx", parallel=4) == image
        assert await restore.blob("a.conf.blob") == b"secret"
        wrapped = await restore.session.download("rsa-encrypted.key.blob")
        assert unwrap_key(private, None, wrapped).id_key == key.id_key
    listed = await tenant.snapshots(backup_id="enc")
    by_time = {item["backup-time"]: item for item in listed}
    assert by_time[T1]["fingerprint"] == key.fingerprint.hex(":")
    modes = {file["filename"]: file.get("crypt-mode") for file in by_time[T1]["files"]}
    assert modes["root.pxar.didx"] == "encrypt"
    assert modes["index.json.blob"] == "sign-only"


async def test_sign_only(tenant: Tenant) -> None:
    """Plain chunks under a signature, shared with an unsigned backup of the same data."""
    caller, image = await tenant.token(), bytes(make_image(2))
    key = EncryptionKey.generate()
    async with await Backup.open(tenant.endpoint, caller.credential, tenant.snapshot("plain")) as backup:
        await backup.image("disk", image)
        await backup.finish()
    signed = tenant.snapshot("signed")
    async with await Backup.open(tenant.endpoint, caller.credential, signed, SigningCodec(key)) as backup:
        await backup.image("disk", image)
        await backup.finish()
    async with await Restore.open(tenant.endpoint, caller.credential, signed) as restore:
        assert await restore.archive("disk.img.fidx") == image
        assert restore.manifest.signature == restore.manifest.compute_signature(key.id_key)
        stats = restore.manifest.unprotected["chunk_upload_stats"]
        assert (stats["count"], stats["duplicates"]) == (2, 2)


async def test_split_archive_data_and_metadata_mode(tenant: Tenant, tmp_path: Path) -> None:
    """Metadata mode: a reader on the previous snapshot beside the backup, payload chunks by digest alone."""
    caller, group = await tenant.token(), tenant.snapshot("split")
    tree = tree_from_directory(make_directory(tmp_path / "source"))
    metadata, payload = encode_split(tree)
    async with await Backup.open(tenant.endpoint, caller.credential, group) as backup:
        await backup.split("root", metadata, dynamic_chunks([payload], 512 << 10))
        await backup.finish()

    async with (
        await Backup.open(tenant.endpoint, caller.credential, group.at(T2)) as backup,
        await ReaderSession.open(tenant.endpoint, caller.credential, group) as reader,
    ):
        await reader.download("root.mpxar.didx")
        index = await backup.session.previous("root.ppxar.didx")
        reused = [KnownChunk(chunk.digest, chunk.end - chunk.start) for chunk in DynamicIndex(index)]
        # An old tail and a new marker behind it, as a client writes them when nothing changed.
        marker = bytes.fromhex("6c72b78b984c81b5")[::-1] + (16).to_bytes(8, "little")
        result = await backup.split("root", metadata, [*reused, marker])
        assert result.uploaded == 1
        await backup.finish()

    for time in (T1, T2):
        async with await Restore.open(tenant.endpoint, caller.credential, group.at(time)) as restore:
            first = await restore.archive("root.mpxar.didx")
            second = await restore.archive("root.ppxar.didx")
            assert summarise_archive(open_archive(first, second)) == summarise_tree(tree)


async def test_namespaces_hold_the_same_group_apart(tenant: Tenant) -> None:
    """One group name in three namespaces: three contents, three listings."""
    caller, base, top = await tenant.token(), tenant.base, tenant.ns
    await tenant.rest.post(f"{base}/namespace", name="a", parent=top)
    await tenant.rest.post(f"{base}/namespace", name="b", parent=f"{top}/a")
    contents = {top: b"top", f"{top}/a": b"first", f"{top}/a/b": b"second"}
    for ns, content in contents.items():
        async with await Backup.open(tenant.endpoint, caller.credential, tenant.snapshot("h1", ns=ns)) as backup:
            assert backup.previous is None
            await backup.blob("a.conf.blob", content)
            await backup.finish()
    for ns, content in contents.items():
        async with await Restore.open(tenant.endpoint, caller.credential, tenant.snapshot("h1", ns=ns)) as restore:
            assert await restore.blob("a.conf.blob") == content
        groups = await tenant.rest.get(f"{base}/groups", ns=ns)
        assert [(group["backup-id"], group["backup-count"]) for group in groups] == [("h1", 1)]
    listed = await tenant.rest.get(f"{base}/namespace", parent=top)
    assert [item["ns"] for item in listed] == list(contents)
    with pytest.raises(Refused) as refused:
        await Backup.open(tenant.endpoint, caller.credential, tenant.snapshot("h1", ns="nosuch"))
    assert refused.value.status == 404


async def test_several_archives_and_blobs(tenant: Tenant, tmp_path: Path) -> None:
    """Two trees, two images, three blobs in one snapshot."""
    caller, group = await tenant.token(), tenant.snapshot("several")
    trees = [encode_v1(tree_from_directory(make_directory(tmp_path / str(n), seed=n, size=MIB))) for n in range(2)]
    images = [bytes(make_image(1, 100 + n, seed=n)) for n in range(2)]
    async with await Backup.open(tenant.endpoint, caller.credential, group) as backup:
        for number in range(2):
            await backup.directory(f"tree{number}", trees[number])
            await backup.image(f"disk{number}", images[number])
        for size in (0, 1, 100_000):
            await backup.blob(f"b{size}.conf.blob", bytes(size))
        await backup.finish()
    async with await Restore.open(tenant.endpoint, caller.credential, group) as restore:
        for number in range(2):
            assert await restore.archive(f"tree{number}.pxar.didx") == trees[number]
            assert await restore.archive(f"disk{number}.img.fidx") == images[number]
        for size in (0, 1, 100_000):
            assert await restore.blob(f"b{size}.conf.blob") == bytes(size)
    files = await tenant.rest.call("GET", f"{tenant.base}/files", group.parameters())
    assert len(files) == 8


async def test_dirty_bitmap_backup(tenant: Tenant) -> None:
    """The QEMU library's sequence: zero chunk, shared digests, unsorted offsets, then ``reuse-csum``."""
    caller, group, codec = await tenant.token(), tenant.snapshot("900", backup_type="vm"), PlainCodec()
    image = bytearray(make_image(3)) + bytearray(2 * CHUNK)
    zero = encode(bytes(CHUNK))

    async with await Backup.open(tenant.endpoint, caller.credential, group) as backup:
        session = backup.session
        for drive in ("drive-scsi0", "drive-scsi1"):
            wid = await session.create("fixed", f"{drive}.img.fidx", len(image))
            await session.upload_chunk("fixed", wid, ZERO_CHUNK_DIGEST, CHUNK, zero)
            entries = []
            for slot in (2, 0, 1):  # in completion order; the second drive references what the first one sent
                data = bytes(image[slot * CHUNK : (slot + 1) * CHUNK])
                if drive == "drive-scsi0":
                    await session.upload_chunk("fixed", wid, codec.digest(data), CHUNK, codec.encode(data))
                entries.append((codec.digest(data), slot * CHUNK))
            entries += [(ZERO_CHUNK_DIGEST, 4 * CHUNK), (ZERO_CHUNK_DIGEST, 3 * CHUNK)]
            await session.append("fixed", wid, *zip(*entries, strict=True))
            csum = _fixed_csum(codec, image)
            await session.close_index("fixed", wid, 5, len(image), csum)
            backup.add_file(f"{drive}.img.fidx", len(image), csum)
        await backup.finish()

    old = _fixed_csum(codec, image)
    image[CHUNK : CHUNK + 8] = b"dirtied!"
    dirty = bytes(image[CHUNK : 2 * CHUNK])
    async with await Backup.open(tenant.endpoint, caller.credential, group.at(T2)) as backup:
        session = backup.session
        await session.previous("drive-scsi0.img.fidx")
        wid = await session.create("fixed", "drive-scsi0.img.fidx", len(image), old.hex())
        await session.upload_chunk("fixed", wid, ZERO_CHUNK_DIGEST, CHUNK, zero)
        await session.upload_chunk("fixed", wid, codec.digest(dirty), CHUNK, codec.encode(dirty))
        await session.append("fixed", wid, [codec.digest(dirty)], [CHUNK])
        await session.close_index("fixed", wid, 1, CHUNK, _fixed_csum(codec, image))
        backup.add_file("drive-scsi0.img.fidx", len(image), _fixed_csum(codec, image))
        wid = await session.create("fixed", "drive-scsi1.img.fidx", len(image), old.hex())
        await session.close_index("fixed", wid, 0, 0, old)
        backup.add_file("drive-scsi1.img.fidx", len(image), old)
        with pytest.raises(Refused) as refused:
            await session.create("fixed", "drive-scsi2.img.fidx", len(image), "00" * 32)
        assert refused.value.status == 400
        await backup.finish()
    async with await Restore.open(tenant.endpoint, caller.credential, group.at(T2)) as restore:
        assert await restore.archive("drive-scsi0.img.fidx", parallel=16) == image
        assert len(FixedIndex(await restore.session.download("drive-scsi1.img.fidx"))) == 5


def _fixed_csum(codec: PlainCodec, image: bytearray) -> bytes:
    slots = (bytes(image[start : start + CHUNK]) for start in range(0, len(image), CHUNK))
    return hashlib.sha256(b"".join(map(codec.digest, slots))).digest()


async def test_next_session_sees_the_finished_one_at_once(tenant: Tenant) -> None:
    """Group lock and new snapshot are there before `finish` is answered, ten times in a row."""
    caller, group = await tenant.token(), tenant.snapshot()
    sessions = []
    for number in range(10):
        backup = await Backup.open(tenant.endpoint, caller.credential, group.at(T1 + number))
        sessions.append(backup)
        assert await backup.session.previous_backup_time() == (T1 + number - 1 if number else None)
        await backup.blob("a.conf.blob", b"%d" % number)
        await backup.upload_manifest()
        await backup.session.finish()
    for backup in sessions:
        await backup.session.close(abort=True)
    listed = await tenant.snapshots()
    assert len(listed) == 10


async def test_aborted_backup_leaves_nothing(tenant: Tenant) -> None:
    """A killed client: no snapshot, no group, and the same time is free again within moments."""
    caller, group = await tenant.token(), tenant.snapshot()

    async def opened() -> object:
        try:
            return await Backup.open(tenant.endpoint, caller.credential, group)
        except Refused as refused:
            assert refused.status == 400
            return None

    async def nothing_is_left() -> bool:
        return not (await tenant.groups() or await tenant.snapshots())

    for _ in range(3):
        async with await eventually(opened, 5, "free group") as backup:
            assert backup.previous is None
            await backup.image("disk", bytes(make_image(1)))
            await backup.upload_manifest()
            await backup.abort()
        await eventually(nothing_is_left, 5, "removal of what was aborted")


async def test_preface_in_the_packet_of_the_upgrade(tenant: Tenant) -> None:
    """Whatever arrives with or right behind the upgrade belongs to HTTP/2: 500 sessions under load, none lost."""
    caller = await tenant.token()
    group = tenant.snapshot("eager")
    async with await Backup.open(tenant.endpoint, caller.credential, group) as backup:
        await backup.blob("a.conf.blob", b"x")
        await backup.finish()

    async def sessions(worker: int) -> int:
        answered = 0
        for number in range(50):
            snapshot = tenant.snapshot(f"w{worker}-{number}")
            session = await BackupSession.open(tenant.endpoint, caller.credential, snapshot, eager=True)
            answered += await session.previous_backup_time() is None
            await session.close()
        return answered

    async with await Backup.open(tenant.endpoint, caller.credential, tenant.snapshot("load")) as load:
        busy = asyncio.create_task(load.image("disk", random.Random(3).randbytes(16 * CHUNK)))
        counts = await asyncio.gather(*(sessions(worker) for worker in range(10)))
        await busy
        await load.finish()
    assert counts == [50] * 10
