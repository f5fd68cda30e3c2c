"""DataBlob against the vectors and by property (conformance 1 to 3)."""

import hashlib
import random
import threading
import tracemalloc

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from testkit.crypto import CryptoError, EncryptionKey, decode_blob

from pbs_cloud.formats import blob
from pbs_cloud.formats.blob import BlobKind
from pbs_cloud.formats.errors import FormatError
from pbs_cloud.formats.zstd_frames import check_frames


@pytest.fixture(scope="module")
def key(vectors):
    return EncryptionKey(bytes.fromhex(vectors("blob")["key_hex"]))


def test_every_record_decodes_to_its_plaintext(vectors, key):
    data = vectors("blob")
    records = data["records"] + data["real_records"]
    assert len(records) == 17
    for record in records:
        raw = bytes.fromhex(record["raw_hex"])
        assert (len(raw), hashlib.sha256(raw).hexdigest()) == (record["raw_size"], record["raw_sha256"])
        assert blob.body_crc(raw).to_bytes(4, "little").hex() == record["crc32_le_hex"]
        kind = blob.check_crc(raw)
        if kind.encrypted and record in data["real_records"]:
            continue
        plain = decode_blob(raw, key)
        assert (len(plain), hashlib.sha256(plain).hexdigest()) == (record["plain_size"], record["plain_sha256"])
        if not kind.encrypted:
            assert blob.verify_plain_chunk(raw, hashlib.sha256(plain).digest(), len(plain)) is kind


def test_encrypting_reproduces_the_vectors(vectors, key):
    for record in vectors("blob")["records"]:
        raw = bytes.fromhex(record["raw_hex"])
        if blob.parse_header(raw)[0] is BlobKind.ENCRYPTED:
            plain = key.decrypt_blob(raw)
            assert key.encrypt_blob(plain, compress=False, iv=raw[12:28]) == raw


def test_damaged_blobs_react_as_stated(vectors, key):
    records = vectors("blob-invalid")["records"]
    assert len(records) == 9
    for record in records:
        raw, expect = bytes.fromhex(record["raw_hex"]), record["expect"]
        if expect.startswith("reject: "):
            with pytest.raises(FormatError, match="too small" if "too small" in expect else "magic"):
                blob.parse_header(raw)
        elif expect.startswith(("reject on load", "blob upload")):
            with pytest.raises(FormatError, match="CRC"):
                blob.check_crc(raw)
        elif expect.startswith("structurally valid"):
            assert decode_blob(raw, key) == b""
        elif expect.startswith("server: accept"):
            assert blob.check_crc(raw).encrypted
            with pytest.raises(CryptoError):
                decode_blob(raw, key)
        else:
            assert expect.startswith("passes CRC")
            assert blob.check_crc(raw) is BlobKind.ZSTD
            with pytest.raises(FormatError, match="zstd"):
                blob.decode(raw)


def test_a_wrong_crc_is_replaced_and_nothing_else():
    raw = blob.encode(b"hello" * 100)
    damaged = raw[:8] + b"\0\0\0\0" + raw[12:]
    assert blob.with_crc(damaged) == raw
    view = memoryview(bytearray(damaged))
    assert blob.fix_crc_in_place(view) is BlobKind.ZSTD
    assert view == raw
    assert blob.stored_crc(raw) == blob.body_crc(raw)


def test_the_crc_of_an_encrypted_blob_starts_behind_the_tag(key):
    raw = bytearray(key.encrypt_blob(b"secret"))
    raw[20] ^= 1
    raw[40] ^= 1
    assert blob.check_crc(raw).encrypted
    with pytest.raises(FormatError, match="encrypted"):
        blob.decode(raw)


@given(st.binary(max_size=5000), st.booleans())
def test_round_trip(data, compress):
    raw = blob.encode(data, compress)
    assert blob.decode(raw, len(data)) == data
    kind = blob.verify_plain_chunk(memoryview(raw), hashlib.sha256(data).digest(), len(data))
    assert len(raw) <= len(data) + 12
    assert kind is BlobKind.PLAIN or compress


@given(st.binary(max_size=2000))
def test_encrypted_round_trip(data):
    key = EncryptionKey(b"k" * 32)
    assert key.decrypt_blob(key.encrypt_blob(data)) == data


def compressed(*bodies: bytes) -> bytes:
    return blob.assemble(BlobKind.ZSTD, b"".join(bodies))


def frame(data: bytes, size_known: bool = True) -> bytes:
    return zstandard.ZstdCompressor(level=1, write_content_size=size_known, write_checksum=True).compress(data)


def streamed(data: bytes) -> bytes:
    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    return compressor.compress(data) + compressor.flush()


def test_frames_without_size_and_concatenated_frames_decode():
    parts = (frame(b"a" * 1000), streamed(b"b" * 300_000), frame(b""), frame(b"c", size_known=False))
    data = b"a" * 1000 + b"b" * 300_000 + b"c"
    assert blob.decode(compressed(*parts)) == data
    skippable = bytes.fromhex("502a4d18") + (3).to_bytes(4, "little") + b"xyz"
    assert blob.decode(compressed(skippable, *parts)) == data


def test_incompressible_data_of_many_blocks():
    data = random.Random(1).randbytes(700_000)
    for body in (frame(data), streamed(data), frame(data) + streamed(data[:200_000])):
        plain = data if len(body) < 800_000 else data + data[:200_000]
        assert blob.decode(compressed(body)) == plain
        assert blob.verify_plain_chunk(compressed(body), hashlib.sha256(plain).digest(), len(plain))


def test_frame_headers_of_every_form():
    empty_last_block = (1).to_bytes(3, "little")
    magic = bytes.fromhex("28b52ffd")
    accepted = [
        b"\x00\x00",
        b"\x20\x00",
        b"\x40\x00\x00\x01",
        b"\x60\x00\x01",
        b"\x80\x00" + bytes(4),
        b"\xe0" + bytes(8),
    ]
    for header in accepted:
        check_frames(memoryview(magic + header + empty_last_block))
        check_frames(memoryview((magic + header + empty_last_block) * 2))
        with pytest.raises(FormatError):
            check_frames(memoryview(magic + header + empty_last_block[:-1]))
        with pytest.raises(FormatError):
            check_frames(memoryview(magic + header + empty_last_block + b"x"))
    with pytest.raises(FormatError, match="reserved"):
        check_frames(memoryview(magic + b"\x00\x00" + (7).to_bytes(3, "little")))
    with pytest.raises(FormatError, match="no frame"):
        check_frames(memoryview(b""))
    empty_skippable = bytes.fromhex("5f2a4d18") + bytes(4)
    check_frames(memoryview(empty_skippable))
    with pytest.raises(FormatError):
        check_frames(memoryview(empty_skippable[:-1]))


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 17])
def test_a_cut_off_frame_is_refused(cut):
    data = bytes(range(256)) * 2000
    for body in (frame(data), streamed(data)):
        raw = compressed(body[:-cut])
        with pytest.raises(FormatError):
            blob.decode(raw)
        with pytest.raises(FormatError):
            blob.verify_plain_chunk(raw, hashlib.sha256(data).digest(), len(data))


def test_trailing_garbage_is_refused():
    for garbage in (b"\0", b"garbage garbage", frame(b"x")[:7]):
        with pytest.raises(FormatError):
            blob.decode(compressed(frame(b"data"), garbage))
    with pytest.raises(FormatError):
        blob.decode(compressed())


def test_a_bomb_is_refused_without_using_that_memory():
    bomb = compressed(streamed(bytes(256 * 1024 * 1024)))
    declared = compressed(frame(bytes(256 * 1024 * 1024)))
    blob.decode(compressed(frame(b"warm up")))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="larger than"):
            blob.decode(bomb, 1024 * 1024)
        with pytest.raises(FormatError, match="announced"):
            blob.verify_plain_chunk(bomb, bytes(32), 1000)
        with pytest.raises(FormatError):
            blob.decode(declared, 1024 * 1024)
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_a_body_of_many_empty_blocks_is_refused():
    empty_block = (0).to_bytes(3, "little")
    body = bytes.fromhex("28b52ffd0000") + empty_block * 70_000 + (1).to_bytes(3, "little")
    with pytest.raises(FormatError, match="blocks"):
        blob.decode(compressed(body))


@pytest.mark.parametrize("compress", [False, True])
def test_wrong_digest_and_wrong_length_are_told_apart(compress):
    data = b"x" * 5000
    raw, digest = blob.encode(data, compress), hashlib.sha256(data).digest()
    for size in (4999, 5001, 0):
        with pytest.raises(FormatError, match="announced"):
            blob.verify_plain_chunk(raw, digest, size)
    with pytest.raises(FormatError, match="wrong digest"):
        blob.verify_plain_chunk(raw, bytes(32), 5000)
    with pytest.raises(FormatError, match="encrypted"):
        blob.verify_plain_chunk(EncryptionKey.generate().encrypt_blob(data), digest, 5000)


def test_threads_do_not_share_a_buffer():
    blobs = [(blob.encode(bytes([n]) * 3_000_000), bytes([n]) * 3_000_000) for n in range(4)]
    failures = []

    def work(raw: bytes, data: bytes) -> None:
        digest = hashlib.sha256(data).digest()
        try:
            for _ in range(10):
                blob.verify_plain_chunk(raw, digest, len(data))
        except FormatError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=item) for item in blobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_size_limits():
    assert (blob.MIN_ENCODED_CHUNK_SIZE, blob.MAX_ENCODED_SIZE) == (13, 16_777_260)
    with pytest.raises(FormatError, match="too large"):
        blob.encode(bytes(blob.MAX_BLOB_SIZE + 1))
    with pytest.raises(FormatError, match="larger than 3"):
        blob.decode(blob.encode(b"abcd", compress=False), 3)
    with pytest.raises(FormatError, match="IV and tag"):
        blob.assemble(BlobKind.ENCRYPTED, b"x")
