"""Structure of concatenated zstd frames, read without decompressing (RFC 8878).

The streaming decoder stops silently at the end of a cut-off frame; walking the block headers first
finds truncation and trailing garbage for a few microseconds.
"""

from typing import TypeAlias

from pbs_cloud.formats.errors import FormatError

Buffer: TypeAlias = bytes | bytearray | memoryview

FRAME_MAGIC = 0xFD2FB528
SKIPPABLE_MAGIC = 0x184D2A50
MAX_BLOCKS = 1 << 16
"""Bound on the blocks of one body: far above what an encoder makes of 128 MiB (1 block per 128 KiB)."""

_FCS_BYTES = (0, 2, 4, 8)
_DICT_BYTES = (0, 1, 2, 4)
_RLE, _RESERVED = 1, 3


def check_frames(body: memoryview) -> None:
    """Require complete zstd frames from the first to the last byte of ``body``, at least one."""
    position, end, budget = 0, len(body), MAX_BLOCKS
    if end == 0:
        raise FormatError("zstd: no frame")
    while position < end:
        position, budget = _skip_frame(body, position, end, budget)


def _skip_frame(body: memoryview, position: int, end: int, budget: int) -> tuple[int, int]:
    magic = int.from_bytes(body[position : position + 4], "little")
    if magic == FRAME_MAGIC and position + 5 <= end:
        return _skip_blocks(body, position, end, budget)
    if magic & 0xFFFFFFF0 == SKIPPABLE_MAGIC and position + 8 <= end:
        position += 8 + int.from_bytes(body[position + 4 : position + 8], "little")
        return _within(position, end), _spend(budget)
    raise FormatError("zstd: not a frame" if position == 0 else "zstd: trailing bytes after the last frame")


def _skip_blocks(body: memoryview, position: int, end: int, budget: int) -> tuple[int, int]:
    descriptor = body[position + 4]
    single_segment = descriptor >> 5 & 1
    content_size_bytes = _FCS_BYTES[descriptor >> 6] or single_segment
    position += 5 + (1 - single_segment) + _DICT_BYTES[descriptor & 3] + content_size_bytes
    while True:
        budget = _spend(budget)
        if position + 3 > end:
            raise FormatError("zstd: truncated frame")
        header = body[position] | body[position + 1] << 8 | body[position + 2] << 16
        kind = header >> 1 & 3
        if kind == _RESERVED:
            raise FormatError("zstd: reserved block type")
        position += 3 + (1 if kind == _RLE else header >> 3)
        if header & 1:
            return _within(position + (4 if descriptor & 4 else 0), end), budget


def _within(position: int, end: int) -> int:
    if position > end:
        raise FormatError("zstd: truncated frame")
    return position


def _spend(budget: int) -> int:
    if budget == 0:
        raise FormatError(f"zstd: more than {MAX_BLOCKS} blocks")
    return budget - 1
