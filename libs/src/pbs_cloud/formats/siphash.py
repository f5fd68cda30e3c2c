"""SipHash-2-4 with the keys of the pxar goodbye table (formats 5.5)."""

from typing import Final

KEY0: Final = 0x83AC3F1CFBB450DB
KEY1: Final = 0xAA4F1B6879369FBD
_MASK = 0xFFFFFFFFFFFFFFFF


def siphash24(data: bytes, key0: int = KEY0, key1: int = KEY1) -> int:
    """64-bit SipHash-2-4 of ``data``."""
    state = (key0 ^ 0x736F6D6570736575, key1 ^ 0x646F72616E646F6D, key0 ^ 0x6C7967656E657261, key1 ^ 0x7465646279746573)
    whole = len(data) - len(data) % 8
    for start in range(0, whole, 8):
        state = _absorb(state, int.from_bytes(data[start : start + 8], "little"))
    v0, v1, v2, v3 = _absorb(state, (len(data) & 0xFF) << 56 | int.from_bytes(data[whole:], "little"))
    v0, v1, v2, v3 = _rounds(v0, v1, v2 ^ 0xFF, v3, 4)
    return v0 ^ v1 ^ v2 ^ v3


def _absorb(state: tuple[int, int, int, int], word: int) -> tuple[int, int, int, int]:
    v0, v1, v2, v3 = _rounds(*state[:3], state[3] ^ word, 2)
    return v0 ^ word, v1, v2, v3


def _rounds(v0: int, v1: int, v2: int, v3: int, count: int) -> tuple[int, int, int, int]:
    for _ in range(count):
        v0 = (v0 + v1) & _MASK
        v1 = (v1 << 13 & _MASK | v1 >> 51) ^ v0
        v0 = v0 << 32 & _MASK | v0 >> 32
        v2 = (v2 + v3) & _MASK
        v3 = (v3 << 16 & _MASK | v3 >> 48) ^ v2
        v0 = (v0 + v3) & _MASK
        v3 = (v3 << 21 & _MASK | v3 >> 43) ^ v0
        v2 = (v2 + v1) & _MASK
        v1 = (v1 << 17 & _MASK | v1 >> 47) ^ v2
        v2 = v2 << 32 & _MASK | v2 >> 32
    return v0, v1, v2, v3
