"""Secrets of API tokens: `pbs_` and 64 hex digits (32 random bytes); stored is only their SHA-256 (rest-api D.5)."""

from __future__ import annotations

import hashlib
import re
import secrets

_SECRET_RE = re.compile(r"pbs_[0-9a-f]{64}")


def new_secret() -> str:
    """A fresh secret, shown once."""
    return f"pbs_{secrets.token_hex(32)}"


def secret_hash(secret: str) -> bytes:
    """What is stored. Random secrets need no slow hash."""
    return hashlib.sha256(secret.encode(errors="surrogateescape")).digest()


def looks_like_secret(text: str) -> bool:
    """Whether a login's password is a token secret; no password can be (68 characters, passwords have at most 64)."""
    return _SECRET_RE.fullmatch(text) is not None
