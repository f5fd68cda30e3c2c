"""TCP between services: both sides have to show a certificate of the installation's authority."""

import datetime
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pbs_cloud.runtime.grpc_channel import is_serving, open_channel
from pbs_cloud.runtime.grpc_options import INTERNAL_NAME
from pbs_cloud.runtime.grpc_server import GrpcServer
from pbs_cloud.runtime.settings import Settings, load_settings


def certify(name: str, issuer: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None = None):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer_name, signer_key = issuer or (subject, key)
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(INTERNAL_NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(signer_key, hashes.SHA256())
    )
    return subject, key, made


def write(folder: Path, name: str, issuer: tuple[x509.Name, ec.EllipticCurvePrivateKey], authority: Path) -> Settings:
    _, key, made = certify(name, issuer)
    (folder / f"{name}.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / f"{name}.key").write_bytes(pem)
    return load_settings(
        data_dir=folder, mtls_cert=folder / f"{name}.crt", mtls_key=folder / f"{name}.key", mtls_ca=authority
    )


@pytest.fixture
def peers(tmp_path: Path) -> tuple[Settings, Settings, Settings]:
    """Settings of a server, of a peer, and of a stranger that another authority certified."""
    own, other = certify("authority"), certify("stranger's authority")
    authority = tmp_path / "ca.crt"
    authority.write_bytes(own[2].public_bytes(serialization.Encoding.PEM))
    return (
        write(tmp_path, "server", own[:2], authority),
        write(tmp_path, "peer", own[:2], authority),
        write(tmp_path, "stranger", other[:2], authority),
    )


async def test_only_certified_peers_are_served(peers: tuple[Settings, Settings, Settings]) -> None:
    server = GrpcServer("auth", "127.0.0.1:0", peers[0], grace=0.1)
    await server.start()
    async with open_channel(f"127.0.0.1:{server.port}", peers[1]) as known:
        assert await is_serving(known, timeout=5)
    async with open_channel(f"127.0.0.1:{server.port}", peers[2]) as unknown:
        assert not await is_serving(unknown, timeout=1)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as plain:
        assert not await is_serving(plain, timeout=1)
    await server.stop()
