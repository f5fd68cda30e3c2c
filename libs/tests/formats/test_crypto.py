"""Key files, fingerprints and the master key of the test client against the vectors (formats 2)."""

import json

import pytest
from testkit import golden
from testkit.crypto import CryptoError, EncryptionKey, KeyFile, unwrap_key, wrap_key


def test_key_files(vectors):
    data = vectors("keyfile")
    for record in data["records"] + data["real_records"]:
        parsed = KeyFile.parse(record["json"])
        passphrase = record["passphrase"].encode() if record["passphrase"] else None
        key = parsed.unlock(passphrase)
        assert key.key.hex() == record.get("key_hex", data["key_hex"])
        assert record.get("id_key_hex", key.id_key.hex()) == key.id_key.hex()
        assert parsed.to_json() == record["json"]
        if passphrase:
            for wrong in (b"wrong phrase", b"abc", None):
                with pytest.raises(CryptoError):
                    parsed.unlock(wrong)


def test_derived_keys_of_the_golden_data():
    derived = json.loads((golden.GOLDEN / "keys" / "derived.json").read_text())
    keys = golden.GoldenStore.keys.func(None)
    for name, wanted in derived.items():
        key = keys[name]
        found = (key.key.hex(), key.id_key.hex(), key.fingerprint.hex(":"))
        assert found == (wanted["key"], wanted["id_key"], wanted["fingerprint"])


@pytest.mark.parametrize("kdf", ["Scrypt", "PBKDF2"])
def test_new_key_files_unlock(kdf):
    key = EncryptionKey.generate()
    made = KeyFile.create(key, b"passphrase", kdf, n=1024)
    assert KeyFile.parse(made.to_json()).unlock(b"passphrase") == key
    assert KeyFile.create(key).unlock() == key


def test_a_foreign_fingerprint_is_refused():
    key, other = EncryptionKey.generate(), EncryptionKey.generate()
    made = json.loads(KeyFile.create(key).to_json()) | {"fingerprint": other.fingerprint.hex(":")}
    with pytest.raises(CryptoError, match="fingerprint"):
        KeyFile.parse(json.dumps(made)).unlock()


def test_master_key_round_trip():
    public = (golden.GOLDEN / "keys" / "master-public.pem").read_bytes()
    private = (golden.GOLDEN / "keys" / "master-private.pem").read_bytes()
    key = EncryptionKey.generate()
    assert unwrap_key(private, b"master-pass-1", wrap_key(public, key)) == key
