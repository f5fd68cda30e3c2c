"""The self-signed certificate: made once, kept over restarts, since clients pin its fingerprint."""

import hashlib
import ssl
from dataclasses import dataclass
from pathlib import Path

from pbs_cloud.runtime.errors import ConfigError
from pbs_cloud.runtime.settings import Settings

_VALID_DAYS = 3650 * 2


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files of the public port."""

    chain: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the leaf certificate, lower-case hex pairs with colons, as clients expect it."""
        pem = self.chain.read_text()
        end = "-----END CERTIFICATE-----"
        leaf = ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERTIFICATE-----") : pem.index(end) + len(end)])
        return hashlib.sha256(leaf).digest().hex(":")


def public_certificate(settings: Settings, folder: Path) -> Certificate:
    """The configured certificate, else the self-signed one in `folder`.

    Raises:
        ConfigError: the files do not belong together or are no PEM.
    """
    if settings.tls_cert is not None and settings.tls_key is not None:
        certificate = Certificate(settings.tls_cert, settings.tls_key)
    else:
        certificate = Certificate(folder / "cert.pem", folder / "key.pem")
        if not certificate.chain.exists():
            _create(certificate, settings.host_name)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate.chain, certificate.key)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"PBS_TLS_CERT, PBS_TLS_KEY: cannot be used: {error}") from error
    return certificate


def _create(certificate: Certificate, host: str) -> None:
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host[:64])])
    addresses = [x509.IPAddress(ipaddress.ip_address(text)) for text in ("127.0.0.1", "::1")]
    names = [x509.DNSName(text) for text in dict.fromkeys(("localhost", host))]
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([*names, *addresses]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate.chain.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    write_private(certificate.key, pem)
    write_private(certificate.chain, made.public_bytes(serialization.Encoding.PEM))


def write_private(path: Path, data: bytes) -> None:
    """Write a file of mode 0600, complete or not at all."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600, exist_ok=False)
    fresh.write_bytes(data)
    fresh.rename(path)
