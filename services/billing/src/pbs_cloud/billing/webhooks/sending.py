"""One delivery over HTTP/1.1: to the address that was judged, without redirects, in bounded time and memory."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import ssl
from collections.abc import Mapping

from pbs_cloud.billing.webhooks.addresses import Destination, Refused, parse_url, resolve
from pbs_cloud.contracts.errors import InvalidArgument

TIMEOUT_SECONDS = 30.0
MAX_ADDRESSES = 3
_MAX_STATUS_LINE = 4096


class DeliveryFailed(Exception):
    """The receiver did not take it; the text is shown to the tenant."""


class Sender:
    """Posts bodies; ``tls`` says which certificates are believed."""

    def __init__(self, *, allow_internal: bool, tls: ssl.SSLContext) -> None:
        self._allow_internal = allow_internal
        self._tls = tls

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], secret: str | None) -> str:
        """Status of the answer, ``200``. Raises DeliveryFailed for everything but a 2xx."""
        try:
            destination = parse_url(url, allow_internal=self._allow_internal)
            async with asyncio.timeout(TIMEOUT_SECONDS):
                addresses = await resolve(destination, allow_internal=self._allow_internal)
                status = await self._exchange(destination, addresses, _head(destination, body, headers, secret) + body)
        except TimeoutError:
            raise DeliveryFailed(f"no answer in {TIMEOUT_SECONDS:.0f} seconds") from None
        except (Refused, InvalidArgument) as error:
            raise DeliveryFailed(str(error)) from None
        except ssl.SSLError as error:
            raise DeliveryFailed(f"TLS failed: {_tls_reason(error)}") from None
        except (OSError, EOFError, ValueError):
            raise DeliveryFailed("the connection failed") from None
        if not 200 <= status <= 299:
            raise DeliveryFailed(f"status {status}")
        return str(status)

    async def _exchange(self, destination: Destination, addresses: list[str], request: bytes) -> int:
        reader, writer = await self._connect(destination, addresses[:MAX_ADDRESSES])
        try:
            writer.write(request)
            await writer.drain()
            line = await reader.readuntil(b"\n")
            version, status = line.split()[:2]
            if not version.startswith(b"HTTP/1."):
                raise ValueError("no HTTP answer")
            return int(status)
        except asyncio.LimitOverrunError:
            raise ValueError("no HTTP answer") from None
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError, ssl.SSLError):
                await writer.wait_closed()

    async def _connect(
        self, destination: Destination, addresses: list[str]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The first address that can be reached. Raises OSError."""
        secure = self._tls if destination.encrypted else None
        name = destination.host if secure else None
        for number, address in enumerate(addresses, 1):
            try:
                return await asyncio.open_connection(
                    address, destination.port, ssl=secure, server_hostname=name, limit=_MAX_STATUS_LINE
                )
            except ssl.SSLError:
                raise
            except OSError:
                if number == len(addresses):
                    raise
        raise OSError("no address")


def _tls_reason(error: ssl.SSLError) -> str:
    """What a tenant needs to mend its receiver; nothing that the receiver chose itself."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {error.verify_message}"
    return (error.reason or "handshake").lower().replace("_", " ")


def signature(secret: str, body: bytes) -> str:
    """Value of ``X-Signature-256`` (rest-api D.8)."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _head(destination: Destination, body: bytes, headers: Mapping[str, str], secret: str | None) -> bytes:
    fields = {
        "Host": destination.authority,
        "User-Agent": "pbs-cloud-webhook",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **headers,
    }
    if secret:
        fields["X-Signature-256"] = signature(secret, body)
    lines = [f"POST {destination.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
