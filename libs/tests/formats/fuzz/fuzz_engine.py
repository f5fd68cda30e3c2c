"""Mutates valid seeds and feeds them to a target; anything but ``FormatError`` is a failure."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from pbs_cloud.formats.errors import FormatError

INTERESTING = (0, 1, 15, 16, 17, 0x7F, 0x80, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**63, 2**64 - 1)
SLOW_SECONDS = 2.0


@dataclass(frozen=True)
class Target:
    """A decoder under test."""

    name: str
    seeds: list[bytes]
    run: Callable[[bytes], object]


@dataclass(frozen=True)
class Finding:
    """An input with its undesired outcome."""

    target: str
    data: bytes
    error: BaseException


def mutate(rng: random.Random, seed: bytes, other: bytes) -> bytes:
    """One to four random changes of a seed."""
    data = bytearray(seed)
    for _ in range(rng.randint(1, 4)):
        _change(rng, data, other)
    return bytes(data)


def _change(rng: random.Random, data: bytearray, other: bytes) -> None:
    choice = rng.randrange(8)
    # half of the changes hit the first or last 128 bytes: headers and tables
    span = min(len(data), 128)
    near_end = rng.random() < 0.25
    limit = span if rng.random() < 0.5 else len(data)
    at = rng.randrange(limit) if limit else 0
    at = len(data) - 1 - at if near_end and data else at
    if choice == 0 and data:
        data[at] ^= 1 << rng.randrange(8)
    elif choice == 1 and data:
        data[at] = rng.randrange(256)
    elif choice == 2:
        width = rng.choice((1, 2, 4, 8))
        data[at : at + width] = (rng.choice(INTERESTING) & (1 << 8 * width) - 1).to_bytes(width, "little")
    elif choice == 3:
        del data[at : at + rng.randint(1, 32)]
    elif choice == 4:
        data[at:at] = rng.randbytes(rng.randint(1, 16))
    elif choice == 5:
        length = rng.randint(1, 64)
        data[at:at] = data[at : at + length]
    elif choice == 6:
        del data[at:]
    else:
        start = rng.randrange(len(other) + 1)
        data[at:] = other[start:]


def fuzz(target: Target, runs: int, seed: int) -> list[Finding]:
    """Run one target; stops at the tenth finding."""
    rng = random.Random(seed)
    findings: list[Finding] = []
    for _ in range(runs):
        data = mutate(rng, rng.choice(target.seeds), rng.choice(target.seeds))
        started = time.perf_counter()
        try:
            target.run(data)
        except FormatError:
            pass
        except Exception as error:
            findings.append(Finding(target.name, data, error))
        if time.perf_counter() - started > SLOW_SECONDS:
            findings.append(Finding(target.name, data, TimeoutError(f"slower than {SLOW_SECONDS} s")))
        if len(findings) >= 10:
            break
    return findings
