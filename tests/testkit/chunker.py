"""Chunk boundaries for test clients: deterministic, content-defined, of no compatibility with stock clients."""

from collections.abc import Iterable, Iterator

import numpy as np

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_WINDOW = 8
_BLOCK = 256 * 1024


def fixed_chunks(stream: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Pieces of exactly ``size`` bytes, the last one shorter."""
    buffer = bytearray()
    for piece in stream:
        buffer += piece
        while len(buffer) >= size:
            yield bytes(buffer[:size])
            del buffer[:size]
    if buffer:
        yield bytes(buffer)


def dynamic_chunks(stream: Iterable[bytes], average: int = 4 * 1024 * 1024) -> Iterator[bytes]:
    """Pieces of a quarter to four times ``average`` (a power of two), cut where eight bytes hash to a low value."""
    minimum, maximum = average // 4, average * 4
    buffer = bytearray()
    for piece in stream:
        buffer += piece
        while len(buffer) >= maximum:
            cut = _boundary(buffer, minimum, maximum, average)
            yield bytes(buffer[:cut])
            del buffer[:cut]
    while buffer:
        cut = _boundary(buffer, minimum, maximum, average)
        yield bytes(buffer[:cut])
        del buffer[:cut]


def _boundary(buffer: bytearray, minimum: int, maximum: int, average: int) -> int:
    end = min(len(buffer), maximum)
    shift = np.uint64(65 - average.bit_length())
    for start in range(max(minimum - _WINDOW, 0), end - _WINDOW + 1, _BLOCK):
        block = np.frombuffer(bytes(buffer[start : min(start + _BLOCK + _WINDOW - 1, end)]), np.uint8)
        words = np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(block, _WINDOW)).view("<u8")[:, 0]
        hits = np.flatnonzero(words * _MULTIPLIER >> shift == 0)
        if len(hits):
            return start + int(hits[0]) + _WINDOW
    return end
