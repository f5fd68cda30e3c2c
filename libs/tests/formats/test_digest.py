"""Digests and fingerprints against the vectors (conformance 11)."""

import hashlib

import pytest
from testkit.crypto import EncryptionKey

from pbs_cloud.formats import digest
from pbs_cloud.formats.errors import FormatError


def test_vectors(vectors):
    data = vectors("digest")
    key = EncryptionKey(bytes.fromhex(data["key_hex"]))
    assert key.id_key.hex() == data["id_key_hex"]
    assert key.fingerprint.hex() == data["fingerprint_hex"]
    assert digest.format_fingerprint(key.fingerprint) == data["fingerprint_text"]
    assert digest.short_fingerprint(key.fingerprint) == data["fingerprint_short"]
    assert digest.parse_fingerprint(data["fingerprint_text"].upper()) == key.fingerprint
    zeros = bytes(4 * 1024 * 1024)
    assert hashlib.sha256(zeros).digest() == digest.ZERO_CHUNK_DIGEST
    assert key.digest(zeros).hex() == data["zero_chunk_4mib"]["encrypted_digest"]
    assert key.digest(b"Hello, PBS Cloud!\n").hex() == (
        "ccf5ce08f056900a7ee691c999ce1adeb8ff7dea38c082087ab6555b1ed324fd"
    )


@pytest.mark.parametrize("bad", ["", "A" * 64, "a" * 63, "a" * 65, "g" * 64, "a" * 64 + "\n", " " + "a" * 63, 5, None])
def test_bad_digests_are_refused_by_name(bad):
    with pytest.raises(FormatError, match="csum"):
        digest.parse_digest(bad, "csum")
    with pytest.raises(FormatError, match=r"digest-list\[1\]"):
        digest.parse_digest_list(["a" * 64, bad])


def test_lists():
    assert digest.parse_digest_list([]) == b""
    assert digest.parse_digest_list(["ab" * 32, "cd" * 32]) == b"\xab" * 32 + b"\xcd" * 32


@pytest.mark.parametrize("bad", ["", "ab:cd", "zz" * 32, None])
def test_bad_fingerprints_are_refused(bad):
    with pytest.raises(FormatError, match="fingerprint"):
        digest.parse_fingerprint(bad)
