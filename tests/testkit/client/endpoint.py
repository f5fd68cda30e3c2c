"""Where a server is and who calls it: address, pinned certificate, credentials."""

import hashlib
import ssl
from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Public port of a server; ``fingerprint`` is the SHA-256 of its certificate (hex, colons allowed)."""

    host: str
    port: int
    fingerprint: str

    def tls(self) -> ssl.SSLContext:
        """Context that offers no ALPN and leaves the certificate to :meth:`check`, as stock clients do."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    def check(self, certificate: bytes) -> None:
        """Refuse a certificate (DER) that is not the pinned one."""
        if hashlib.sha256(certificate).hexdigest() != self.fingerprint.replace(":", "").lower():
            raise ConnectionError("certificate fingerprint does not match")


_TICKET_SAFE = "!$%&'()*+,/:;=@[\\]^|~-._"


@dataclass(frozen=True, slots=True)
class Token:
    """An API token: ``user@realm!name`` and its secret."""

    auth_id: str
    secret: str

    def headers(self) -> list[str]:
        """Header lines that authenticate a request."""
        return [f"authorization: PBSAPIToken {self}"]

    def __str__(self) -> str:
        return f"{self.auth_id}:{quote(self.secret, safe=_TICKET_SAFE)}"


@dataclass(frozen=True, slots=True)
class Ticket:
    """A login of a user."""

    auth_id: str
    ticket: str
    csrf: str

    def headers(self) -> list[str]:
        """Header lines that authenticate a request, CSRF token included."""
        cookie = quote(self.ticket, safe=_TICKET_SAFE)
        return [f"cookie: PBSAuthCookie={cookie}", f"csrfpreventiontoken: {self.csrf}"]


Credential = Token | Ticket
