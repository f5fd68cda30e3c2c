"""Where the bytes of a request body go. A sink hands out the memory into which the next bytes are received."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, Protocol

# Shared by all connections: bytes are received into it and used or dropped before anything else runs.
_SCRATCH: Final = memoryview(bytearray(256 * 1024))


class Sink(ABC):
    """Takes a body. ``length``: bytes kept, ``total``: bytes seen; ``too_long``: more came than allowed, none is kept.

    A closed sink throws away what still comes.
    """

    length = 0
    total = 0
    too_long = False
    closed = False
    announced: int | None = None

    @abstractmethod
    def buffer(self, wanted: int) -> memoryview:
        """Memory for the next bytes: at least one byte, at most ``wanted``."""

    @abstractmethod
    def wrote(self, count: int) -> int:
        """``count`` bytes are in that memory; answers how many bytes are free again because of that."""

    @abstractmethod
    def close(self) -> None:
        """Free the memory; idempotent."""


class DiscardSink(Sink):
    """Throws everything away."""

    def buffer(self, wanted: int) -> memoryview:
        return _SCRATCH[:wanted]

    def wrote(self, count: int) -> int:
        self.total += count
        return count

    def close(self) -> None:
        """Nothing is held."""


class MemorySink(Sink):
    """Keeps a small body of at most ``limit`` bytes; a longer one is dropped."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []

    def buffer(self, wanted: int) -> memoryview:
        return _SCRATCH[:wanted]

    def wrote(self, count: int) -> int:
        self.total += count
        if self.closed:
            return count
        self.length += count
        if self.length <= self._limit:
            self._pieces.append(bytes(_SCRATCH[:count]))
            return 0
        freed, self.too_long = self.length, True
        self.close()
        return freed

    def close(self) -> None:
        self.closed = True
        self._pieces = []
        self.length = 0

    def content(self) -> bytes:
        """The body so far."""
        return b"".join(self._pieces)


class Memory(Protocol):
    """A piece of memory for one body."""

    @property
    def view(self) -> memoryview:
        """The bytes."""

    def free(self) -> None:
        """Give the memory back."""


class SlotSink(Sink):
    """A body of at most ``announced`` bytes in one piece of memory; ``take`` provides it when the first byte comes."""

    def __init__(self, announced: int, take: Callable[[int], Memory]) -> None:
        self.announced = announced
        self._take = take
        self.memory: Memory | None = None

    def buffer(self, wanted: int) -> memoryview:
        room = (self.announced or 0) - self.length
        if self.closed or room == 0:
            return _SCRATCH[:wanted]
        if self.memory is None:
            self.memory = self._take(self.announced or 0)
        return self.memory.view[self.length : self.length + min(room, wanted)]

    def wrote(self, count: int) -> int:
        self.total += count
        if self.closed:
            return count
        if self.memory is not None and self.length < (self.announced or 0):
            self.length += count
            return 0
        freed, self.too_long = self.length + count, True
        self.close()
        return freed

    def close(self) -> None:
        self.closed = True
        if self.memory is not None:
            self.memory.free()
            self.memory = None
        self.length = 0
