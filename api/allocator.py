"""How much memory a process of the API keeps that it does not use.

glibc gives each thread an arena of its own, and once a block of a MiB was freed it takes such
blocks from arenas from then on, which keep them. With eight threads, a request of a MiB that any of
them answered once stays with the process many times over.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

# Of mallopt(3): M_MMAP_THRESHOLD, which stays where it is set, and M_ARENA_MAX.
_MMAP_THRESHOLD, _ARENA_MAX = -3, -8
_LARGE_BYTES, _ARENAS = 128 * 1024, 2


def keep_little() -> None:
    """Have large blocks given back when they are freed; of no effect where there is no glibc."""
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_ARENA_MAX, _ARENAS)
