"""A connection that hands out bytes in pieces of given sizes."""

from __future__ import annotations

from itertools import cycle

from hypothesis import strategies as st

from storage.http1.feed import Feed

# Small ones cut every line, large ones bring the next thing with the last.
SIZES = st.lists(st.integers(1, 40) | st.just(10_000), min_size=1, max_size=8)


class Pieces:
    """What is to be received; the sizes come round and round."""

    def __init__(self, content: bytes, sizes: list[int]) -> None:
        self._left = content
        self._sizes = cycle(sizes)

    def recv_into(self, buffer: memoryview, /) -> int:
        count = min(len(buffer), len(self._left), next(self._sizes))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def feed(content: bytes, sizes: list[int] | None = None) -> Feed:
    return Feed(Pieces(content, sizes or [10_000]))
