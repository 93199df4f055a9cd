"""How far a request has come: two numbers in memory that a worker and its parent share.

An engine that sees its tokens as they come beats once per token, which costs a fraction of a microsecond and wakes
nobody; the parent looks only when a wait has lasted too long.
"""

import mmap
import os
import struct
from typing import Self

_LAYOUT = struct.Struct("=QQ")


class Heartbeat:
    """The tokens of the request under way, and when the last came on the clock of ``time.perf_counter_ns``."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _LAYOUT.size)

    @classmethod
    def create(cls) -> Self:
        """A new pair of numbers in a nameless file, whose descriptor a worker may be handed."""
        descriptor = os.memfd_create("llmbench-heartbeat")
        os.ftruncate(descriptor, _LAYOUT.size)
        return cls(descriptor)

    def beat(self, tokens: int, at_ns: int) -> None:
        """*tokens* of the request have come, the last at *at_ns*; none yet is the start of its generation."""
        _LAYOUT.pack_into(self._memory, 0, at_ns, tokens)

    def clear(self) -> None:
        """Nothing has been told of the next request."""
        self.beat(0, 0)

    def last(self) -> tuple[int, int] | None:
        """(tokens, instant) of the last beat; ``None`` where the engine has told nothing of this request."""
        at_ns, tokens = _LAYOUT.unpack_from(self._memory)
        return (tokens, at_ns) if at_ns else None

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()
        os.close(self.descriptor)
