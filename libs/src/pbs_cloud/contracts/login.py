"""What every way of logging in ends with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Login:
    """A successful login; ``csrf_token`` is ``invalid`` for a partial (second factor) ticket."""

    username: str
    ticket: str
    csrf_token: str
    tenant_id: str

    @property
    def is_partial(self) -> bool:
        """Whether the second factor is still to come."""
        return self.csrf_token == PARTIAL_CSRF


PARTIAL_CSRF = "invalid"
