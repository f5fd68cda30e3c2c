"""One-time codes by time (RFC 6238) and the otpauth URIs that hand their secrets over; pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from pbs_cloud.contracts.errors import InvalidArgument

# Codes of the step before and after are good as well: clocks differ, and people type slowly.
_WINDOW = (0, -1, 1)
_LEAST_SECRET, _MOST_SECRET = 10, 64
_HASHES = {"SHA1": hashlib.sha1, "SHA256": hashlib.sha256, "SHA512": hashlib.sha512}


@dataclass(frozen=True, slots=True)
class Totp:
    """What makes the codes: ``secret`` (raw bytes), ``algorithm`` of the HMAC, digits, and seconds for each code."""

    secret: bytes
    algorithm: str = "SHA1"
    digits: int = 6
    period: int = 30

    def step(self, now: float) -> int:
        """Number of the code that is shown at ``now``."""
        return int(now) // self.period

    def code(self, step: int) -> str:
        """The code with this number."""
        mac = hmac.new(self.secret, step.to_bytes(8, "big"), _HASHES[self.algorithm]).digest()
        offset = mac[-1] & 0x0F
        number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFF_FFFF
        return f"{number % 10**self.digits:0{self.digits}}"

    def accepted_step(self, code: str, now: float, last_step: int) -> int | None:
        """Number of the code that ``code`` is, if it may be used at ``now`` and is newer than ``last_step``."""
        present = self.step(now)
        matches = [present + shift for shift in _WINDOW if _equal(self.code(max(present + shift, 0)), code)]
        return next((step for step in matches if step > last_step), None)


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode(errors="replace"))


def parse_uri(text: str) -> Totp:
    """The secret and rules in ``otpauth://totp/LABEL?secret=BASE32[&algorithm=…&digits=…&period=…]``.

    Raises ``InvalidArgument`` for ``totp``.
    """
    try:
        parts = urlsplit(text)
        given = {name: values[0] for name, values in parse_qs(parts.query).items()}
    except ValueError:
        raise _wrong("is no otpauth URI") from None
    if parts.scheme != "otpauth" or parts.netloc != "totp":
        raise _wrong("is no otpauth URI")
    algorithm = given.get("algorithm", "SHA1").upper()
    if algorithm not in _HASHES:
        raise _wrong("unknown algorithm")
    digits, period = _number(given, "digits", 6, 6, 8), _number(given, "period", 30, 10, 120)
    return Totp(_secret(given.get("secret", "")), algorithm, digits, period)


def _secret(text: str) -> bytes:
    plain = text.replace(" ", "").rstrip("=").upper()
    try:
        secret = base64.b32decode(plain + "=" * (-len(plain) % 8))
    except (binascii.Error, ValueError):
        raise _wrong("the secret is not base32") from None
    if not _LEAST_SECRET <= len(secret) <= _MOST_SECRET:
        raise _wrong(f"the secret must have {_LEAST_SECRET} to {_MOST_SECRET} bytes")
    return secret


def _number(given: dict[str, str], name: str, default: int, least: int, most: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise _wrong(f"{name} must be {least} to {most}")
    return int(text)


def _wrong(reason: str) -> InvalidArgument:
    return InvalidArgument(f"totp: {reason}", field="totp")
