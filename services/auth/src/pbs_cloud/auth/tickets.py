"""Tickets and CSRF tokens (wire-protocol 3.3) as pure functions of user, second and key.

``PBS:DATA:TIME::SIG``: DATA is the percent-encoded userid. SIG holds an Ed25519 signature, the user's ticket id (so
that a ticket ends with the user, even if another one of that name is made, or when all its tickets are revoked) and, if
the ticket stands for an API token, the id of the token's present secret. The signature covers ``PBS:DATA:TIME:`` and
those ids.

A partial ticket, which only asks for the second factor (wire-protocol 3.6), has ``!tfa!`` and percent-encoded JSON as
DATA; its signature covers a mark and the userid as well, so that neither kind passes for the other.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote_to_bytes

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

LIFETIME_SECONDS = 7200
CLOCK_SKEW_SECONDS = 300
PARTIAL_SECONDS = 600
PARTIAL_SKEW_SECONDS = 60
PREFIX = "PBS"

_TICKET_RE = re.compile(r"PBS:([^:\s]+):([0-9A-F]{8,16})::([A-Za-z0-9+/]+)")
_CSRF_RE = re.compile(r"([0-9A-F]{8,16}):([A-Za-z0-9+/]+)")
_PARTIAL = "!tfa!"
_SIGNATURE_BYTES = 64
_ID_BYTES = 16


@dataclass(frozen=True)
class TicketKey:
    """One generation of server keys: it signs what is dated ``active_from`` (Unix seconds) or later."""

    active_from: int
    ticket_seed: bytes
    csrf_secret: bytes

    @cached_property
    def private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.ticket_seed)

    @cached_property
    def public(self) -> Ed25519PublicKey:
        return self.private.public_key()


@dataclass(frozen=True, slots=True)
class TicketSubject:
    """Whom a ticket names. ``login_id`` only if it stands for an API token of the user."""

    userid: str
    ticket_id: uuid.UUID
    login_id: uuid.UUID | None


def encode_data(text: str) -> str:
    """DATA of a ticket: control characters, ``:``, ``%`` and non-ASCII bytes as ``%XX``.

    ``%`` is encoded as well, so that no user name decodes to another one.
    """
    return "".join(chr(byte) if 0x20 <= byte < 0x7F and byte not in b":%" else f"%{byte:02X}" for byte in text.encode())


def _decode_data(data: str) -> str | None:
    try:
        text = unquote_to_bytes(data).decode()
    except UnicodeError:
        return None
    return text if encode_data(text) == data else None


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _from_base64(text: str) -> bytes | None:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return None
    return data if _to_base64(data) == text else None


def _is_fresh(issued_at: int, now: float) -> bool:
    return -CLOCK_SKEW_SECONDS <= now - issued_at <= LIFETIME_SECONDS


def key_for(keys: Sequence[TicketKey], moment: int) -> TicketKey:
    """The key that signs at ``moment``. Raises LookupError without one."""
    candidates = [key for key in keys if key.active_from <= moment]
    if not candidates:
        raise LookupError("no signing key")
    return max(candidates, key=lambda key: key.active_from)


def make_ticket(key: TicketKey, userid: str, ticket_id: uuid.UUID, now: int, login_id: uuid.UUID | None = None) -> str:
    """A ticket text; equal for equal arguments."""
    plain = f"{PREFIX}:{encode_data(userid)}:{now:08X}"
    ids = ticket_id.bytes + (login_id.bytes if login_id else b"")
    return f"{plain}::{_to_base64(key.private.sign(_signed(plain, ids)) + ids)}"


def make_partial_ticket(
    key: TicketKey, userid: str, ticket_id: uuid.UUID, now: int, available: Mapping[str, object]
) -> str:
    """The ticket that the second factor answers; ``available``: what may be answered."""
    text = _PARTIAL + json.dumps(available, separators=(",", ":"))
    plain = f"{PREFIX}:{encode_data(text)}:{now:08X}"
    return f"{plain}::{_to_base64(key.private.sign(_signed_partial(plain, userid, ticket_id)))}"


def is_partial_ticket(keys: Sequence[TicketKey], text: str, userid: str, ticket_id: uuid.UUID, now: float) -> bool:
    """Whether ``text`` is a partial ticket of this user that has not expired."""
    found = _TICKET_RE.fullmatch(text)
    if found is None:
        return False
    data, issued_at, signature = _decode_data(found[1]), int(found[2], 16), _from_base64(found[3])
    if data is None or signature is None or not data.startswith(_PARTIAL):
        return False
    if not -PARTIAL_SKEW_SECONDS <= now - issued_at <= PARTIAL_SECONDS:
        return False
    message = _signed_partial(text.rpartition("::")[0], userid, ticket_id)
    return any(_verifies(key, signature, message) for key in keys)


def _signed_partial(plain: str, userid: str, ticket_id: uuid.UUID) -> bytes:
    return plain.encode() + b":" + _PARTIAL.encode() + userid.encode() + b":" + ticket_id.bytes


def _signed(plain: str, ids: bytes) -> bytes:
    return plain.encode() + b":" + ids


def read_ticket(keys: Sequence[TicketKey], text: str, now: float) -> TicketSubject | None:
    """The subject of a valid ticket; None for every other text."""
    found = _TICKET_RE.fullmatch(text)
    if found is None:
        return None
    userid, issued_at, sealed = _decode_data(found[1]), int(found[2], 16), _from_base64(found[3])
    if userid is None or sealed is None or not _is_fresh(issued_at, now):
        return None
    signature, ids = sealed[:_SIGNATURE_BYTES], sealed[_SIGNATURE_BYTES:]
    if len(ids) not in (_ID_BYTES, 2 * _ID_BYTES):
        return None
    message = _signed(text.rpartition("::")[0], ids)
    if not any(_verifies(key, signature, message) for key in keys):
        return None
    login_id = uuid.UUID(bytes=ids[_ID_BYTES:]) if len(ids) > _ID_BYTES else None
    return TicketSubject(userid, uuid.UUID(bytes=ids[:_ID_BYTES]), login_id)


def _verifies(key: TicketKey, signature: bytes, message: bytes) -> bool:
    try:
        key.public.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def make_csrf(key: TicketKey, userid: str, now: int) -> str:
    """A CSRF prevention token; equal for equal arguments."""
    return f"{now:08X}:{_to_base64(_csrf_mac(key, userid, now))}"


def _csrf_mac(key: TicketKey, userid: str, moment: int) -> bytes:
    return hmac.new(key.csrf_secret, f"{moment:08X}:{userid}:".encode(), hashlib.sha3_256).digest()


def is_valid_csrf(keys: Sequence[TicketKey], text: str | None, userid: str, now: float) -> bool:
    """Whether ``text`` is a CSRF token of the user that has not expired."""
    found = _CSRF_RE.fullmatch(text or "")
    if found is None:
        return False
    moment, mac = int(found[1], 16), _from_base64(found[2])
    if mac is None or not _is_fresh(moment, now):
        return False
    return any(hmac.compare_digest(mac, _csrf_mac(key, userid, moment)) for key in keys)
