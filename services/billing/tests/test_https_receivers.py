"""Webhooks over TLS to a real server: whose certificate is believed, and that nothing is sent to anybody else."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from testkit.authority import Authority

from pbs_cloud.billing.webhooks.sending import DeliveryFailed, Sender
from pbs_cloud.runtime.errors import ConfigError
from pbs_cloud.runtime.outgoing_tls import outgoing_tls
from pbs_cloud.runtime.settings import Settings, load_settings

HEADERS = {"Authorization": "Bearer private"}


@dataclass
class Receiver:
    """An https server; ``names``: what clients called it."""

    received: list[bytes] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None) -> AsyncIterator[str]:
        """Its URL, with the name localhost."""
        if tls is not None:
            tls.sni_callback = lambda _connection, name, _context: self.names.append(name)
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        async with server:
            yield f"https://localhost:{server.sockets[0].getsockname()[1]}/hook"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.received.append(await reader.read(65_536))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()


def sender(**settings: object) -> Sender:
    return Sender(allow_internal=True, tls=outgoing_tls(Settings(**settings)))  # type: ignore[arg-type]


async def test_a_certificate_of_an_authority_that_the_operator_names(tmp_path: Path) -> None:
    receiver, authority = Receiver(), Authority(tmp_path)
    async with receiver.serving(authority.server("localhost", "127.0.0.1")) as url:
        own = sender(trusted_ca_file=authority.file)
        for address in (url, url.replace("localhost", "127.0.0.1")):
            assert await own.post(address, b'{"id":1}', HEADERS, "key") == "204"
    first, second = receiver.received
    assert first.startswith(b"POST /hook HTTP/1.1\r\nHost: localhost:")
    assert second.startswith(b"POST /hook HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"Authorization: Bearer private\r\n" in first
    assert b"X-Signature-256: sha256=" in first
    assert first.endswith(b'\r\n\r\n{"id":1}')
    assert receiver.names == ["localhost", None]


async def test_a_certificate_of_the_systems_authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver, authority = Receiver(), Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    async with receiver.serving(authority.server("localhost")) as url:
        assert await sender().post(url, b"{}", {}, None) == "204"


@pytest.mark.parametrize("case", ["stranger", "other name", "expired", "authority unknown"])
async def test_any_other_certificate_is_refused_before_a_byte_is_sent(tmp_path: Path, case: str) -> None:
    receiver, authority, other = Receiver(), Authority(tmp_path), Authority(tmp_path, "other")
    served, reason = {
        "stranger": (other.server("localhost"), "unable to get local issuer certificate"),
        "other name": (authority.server("hooks.example.com"), "Hostname mismatch"),
        "expired": (authority.server("localhost", expires_in=-datetime.timedelta(hours=1)), "has expired"),
        "authority unknown": (authority.server("localhost"), "unable to get local issuer certificate"),
    }[case]
    trusting = sender() if case == "authority unknown" else sender(trusted_ca_file=authority.file)
    async with receiver.serving(served) as url:
        with pytest.raises(DeliveryFailed, match=f"^TLS failed: the certificate is not accepted: .*{reason}"):
            await trusting.post(url, b"{}", HEADERS, "key")
    assert not any(receiver.received)


async def test_a_server_without_tls_is_refused(tmp_path: Path) -> None:
    receiver, authority = Receiver(), Authority(tmp_path)
    async with receiver.serving(None) as url:
        with pytest.raises(DeliveryFailed, match=r"^(TLS failed|the connection failed)"):
            await sender(trusted_ca_file=authority.file).post(url, b"{}", HEADERS, "key")
    assert all(b"private" not in data for data in receiver.received)


def test_old_protocols_are_not_spoken() -> None:
    trust = outgoing_tls(Settings())
    assert (trust.minimum_version, trust.check_hostname, trust.verify_mode) == (
        ssl.TLSVersion.TLSv1_2,
        True,
        ssl.CERT_REQUIRED,
    )


def test_a_file_that_is_no_good_ends_the_start(tmp_path: Path) -> None:
    missing, empty = tmp_path / "missing.pem", tmp_path / "empty.pem"
    empty.write_text("nothing")
    with pytest.raises(ConfigError, match="PBS_TRUSTED_CA_FILE"):
        load_settings(trusted_ca_file=missing)
    with pytest.raises(ConfigError, match=r"^PBS_TRUSTED_CA_FILE: .*holds no certificate in PEM form$"):
        outgoing_tls(load_settings(trusted_ca_file=empty))
