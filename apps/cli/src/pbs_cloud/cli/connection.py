"""HTTP/1.1 to one server; a pinned certificate is checked before anything is sent."""

import hashlib
import hmac
import http.client
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from pbs_cloud.cli.errors import CliError, ExitCode, Unreachable
from pbs_cloud.cli.target import Target

_BROKEN: Final = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


class Connection:
    """Keeps one connection open; a GET is repeated once if the server had closed it meanwhile."""

    def __init__(self, target: Target) -> None:
        self._target = target
        parts = urlsplit(target.url)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port or 0
        self._open: http.client.HTTPConnection | None = None

    def close(self) -> None:
        """Close it; the next request opens another."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> http.client.HTTPResponse:
        """The answer, its body still to be read. Raises Unreachable."""
        if self._open is not None and method == "GET":
            try:
                return self._send(self._open, method, path, headers, body)
            except _BROKEN:
                pass
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from None
        self.close()
        try:
            self._open = self._connect()
            return self._send(self._open, method, path, headers, body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._unreachable(error) from None

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> http.client.HTTPResponse:
        connection.request(method, path, body=body, headers=dict(headers))
        return connection.getresponse()

    def _connect(self) -> http.client.HTTPConnection:
        target = self._target
        if not self._secure:
            plain = http.client.HTTPConnection(self._host, self._port, timeout=target.timeout)
            plain.connect()
            plain.auto_open = 0
            return plain
        context = _context(checked=not target.insecure and target.fingerprint is None)
        secure = http.client.HTTPSConnection(self._host, self._port, timeout=target.timeout, context=context)
        secure.connect()
        secure.auto_open = 0  # a connection made behind our back would escape the check below
        if target.fingerprint is not None and not target.insecure:
            found = _fingerprint_of(secure)
            if not hmac.compare_digest(found, target.fingerprint):
                secure.close()
                raise Unreachable(
                    "the server's certificate is not the expected one",
                    where=target.url,
                    hint=f"expected {target.fingerprint},\n        but it has {found}",
                )
        return secure

    def _unreachable(self, error: Exception) -> CliError:
        target = self._target
        if isinstance(error, ssl.SSLCertVerificationError):
            return self._untrusted(error)
        if isinstance(error, ssl.SSLError):
            hint = "does the server speak plain HTTP there? Then the address begins with http://"
            return Unreachable(f"no TLS connection: {error.reason or error}", where=target.url, hint=hint)
        if isinstance(error, TimeoutError):
            hint = "--timeout gives it more time"
            return Unreachable(f"no answer within {target.timeout:g} s", where=target.url, hint=hint)
        if isinstance(error, http.client.HTTPException | ConnectionResetError | BrokenPipeError):
            problem = "the server closed the connection" if isinstance(error, _BROKEN) else f"no HTTP answer: {error}"
            tls = None if self._secure else "does it speak TLS there? Then the address begins with https://"
            return Unreachable(problem, where=target.url, hint=tls)
        known = (error.strerror if isinstance(error, OSError) else None) or str(error)
        hint = "is the server running there? The address comes from --url, PBS_API_URL or the profile"
        return Unreachable(f"cannot connect: {known}", where=target.url, hint=hint)

    def _untrusted(self, error: ssl.SSLCertVerificationError) -> CliError:
        try:
            found = server_fingerprint(self._target)
        except (CliError, OSError, http.client.HTTPException):
            found = "<fingerprint>"
        return Unreachable(
            f"the server's certificate is not trusted: {error.verify_message}",
            where=self._target.url,
            hint=f"if its fingerprint is the one that the server printed at its start, give it by --fingerprint\n"
            f"        or PBS_FINGERPRINT (--insecure trusts any): {found}",
        )


def server_fingerprint(target: Target) -> str:
    """SHA-256 of the certificate that the server shows now, unchecked. Raises CliError."""
    parts = urlsplit(target.url)
    if parts.scheme != "https":
        raise CliError("a server without TLS has no certificate", where=target.url, code=ExitCode.USAGE)
    connection = http.client.HTTPSConnection(
        parts.hostname or "", parts.port or 0, timeout=target.timeout, context=_context(checked=False)
    )
    try:
        connection.connect()
        return _fingerprint_of(connection)
    finally:
        connection.close()


def _context(*, checked: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not checked:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _fingerprint_of(connection: http.client.HTTPSConnection) -> str:
    certificate = connection.sock.getpeercert(binary_form=True)
    return hashlib.sha256(certificate or b"").digest().hex(":")
