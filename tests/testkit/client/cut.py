"""Chunk boundaries. A server takes any (formats 6); these are deterministic and depend on content, so that an
insertion moves only the chunks around it."""

import re
from collections.abc import Iterator

IMAGE_CHUNK = 4 << 20
_CUT = re.compile(rb"[\x00-\x03][\x7f-\x80]", re.DOTALL)


def cut_stream(data: bytes, minimum: int = 256 << 10, maximum: int = 2 << 20) -> Iterator[bytes]:
    """Pieces of an archive of ``minimum`` to ``maximum`` bytes; the last may be shorter."""
    start = 0
    while start < len(data):
        end = min(start + maximum, len(data))
        match = _CUT.search(data, min(start + minimum, end), end)
        end = match.end() if match else end
        yield data[start:end]
        start = end


def cut_image(data: bytes) -> Iterator[bytes]:
    """Pieces of 4 MiB; the last may be shorter."""
    for start in range(0, len(data), IMAGE_CHUNK):
        yield data[start : start + IMAGE_CHUNK]
