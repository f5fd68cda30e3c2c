"""Task ids (rest-api A.11, wire-protocol 9.1)."""

import re
from dataclasses import dataclass

from pbs_cloud.formats.errors import FormatError

_EXCLUDED = r":\s\x00-\x1f\x7f\ud800-\udfff"
_UPID = re.compile(
    r"UPID:(?P<node>[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?):(?P<pid>[0-9A-Fa-f]{8}):(?P<pstart>[0-9A-Fa-f]{8,9})"
    r":(?P<task>[0-9A-Fa-f]{8,16}):(?P<start>[0-9A-Fa-f]{8})"
    rf":(?P<type>[^{_EXCLUDED}]+):(?P<id>[^{_EXCLUDED}]*):(?P<auth>[^{_EXCLUDED}]+):"
)
_ESCAPED = re.compile(rb"\\x([0-9A-Fa-f]{2})|[-\\]")
_PLAIN_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.")


@dataclass(frozen=True, slots=True)
class Upid:
    """A task id; ``worker_id`` is unescaped and may be empty, ``start_time`` is in Unix seconds."""

    node: str
    pid: int
    pstart: int
    task_id: int
    start_time: int
    worker_type: str
    worker_id: str
    auth_id: str

    @classmethod
    def parse(cls, text: str) -> "Upid":
        """Parse a UPID; hex digits of either case."""
        match = _UPID.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise FormatError("upid: malformed")
        pid = int(match["pid"], 16)
        if pid > 0x7FFFFFFF:
            raise FormatError("upid: pid out of range")
        return cls(
            node=match["node"],
            pid=pid,
            pstart=int(match["pstart"], 16),
            task_id=int(match["task"], 16),
            start_time=int(match["start"], 16),
            worker_type=match["type"],
            worker_id=unescape_worker_id(match["id"]),
            auth_id=match["auth"],
        )

    def __str__(self) -> str:
        numbers = f"{self.pid:08X}:{self.pstart:08X}:{self.task_id:08X}:{self.start_time:08X}"
        worker_id = escape_worker_id(self.worker_id)
        return f"UPID:{self.node}:{numbers}:{self.worker_type}:{worker_id}:{self.auth_id}:"


def escape_worker_id(text: str) -> str:
    """``/`` to ``-``; letters, digits, ``_`` and ``.`` (not a first one) stay; other bytes to ``\\xNN``."""
    escaped = []
    for position, byte in enumerate(text.encode("utf-8", "surrogatepass")):
        if byte == 0x2F:
            escaped.append("-")
        elif byte in _PLAIN_BYTES and not (position == 0 and byte == 0x2E):
            escaped.append(chr(byte))
        else:
            escaped.append(f"\\x{byte:02x}")
    return "".join(escaped)


def unescape_worker_id(text: str) -> str:
    """Reverse of :func:`escape_worker_id`."""

    def replace(match: re.Match[bytes]) -> bytes:
        if match[1] is not None:
            return bytes.fromhex(match[1].decode())
        if match[0] == b"-":
            return b"/"
        raise FormatError("upid: worker id has a stray backslash")

    try:
        return _ESCAPED.sub(replace, text.encode()).decode()
    except UnicodeError:
        raise FormatError("upid: worker id is not UTF-8") from None
