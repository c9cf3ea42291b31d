"""Bodies: bytes, streams, and files of any size that are never held in memory."""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

# The largest prime below 1 MiB: no part size is a multiple of it, so no two parts of a generated
# file are alike, and a part that lands in another's place changes the checksum.
_BLOCK_BYTES = 1_048_573


@dataclass(frozen=True, slots=True)
class Generated:
    """``size_bytes`` of content that follows from the seed, between a real head and a real tail."""

    size_bytes: int
    seed: int = 0
    head: bytes = b""
    tail: bytes = b""

    def __post_init__(self) -> None:
        if len(self.head) + len(self.tail) > self.size_bytes:
            raise ValueError("head and tail are longer than the whole")

    def read_pieces(self, first: int, end: int) -> Iterator[memoryview]:
        """Yield the bytes from ``first`` up to, not including, ``end``."""
        tail_at = self.size_bytes - len(self.tail)
        block = memoryview(_make_block(self.seed))
        at = first
        while at < end:
            if at < len(self.head):
                piece = memoryview(self.head)[at:end]
            elif at < tail_at:
                piece = block[at % _BLOCK_BYTES :][: min(end, tail_at) - at]
            else:
                piece = memoryview(self.tail)[at - tail_at : end - tail_at]
            yield piece
            at += len(piece)

    def hash_sha256(self) -> str:
        """Return the sha256 of the whole as lower-case hex."""
        digest = hashlib.sha256()
        for piece in self.read_pieces(0, self.size_bytes):
            digest.update(piece)
        return digest.hexdigest()


# A callable is asked anew for each request and says nothing of its length.
Body = bytes | Generated | Callable[[], Iterable[bytes]]


def measure(body: Body) -> int | None:
    """Return the length of a body, or None where only its end will tell."""
    if isinstance(body, bytes):
        return len(body)
    return body.size_bytes if isinstance(body, Generated) else None


def read_pieces(body: Body, first: int, end: int | None) -> Iterator[memoryview]:
    """Yield a body in pieces; a stream is always given whole."""
    if isinstance(body, bytes):
        yield memoryview(body)[first:end]
    elif isinstance(body, Generated):
        yield from body.read_pieces(first, body.size_bytes if end is None else end)
    else:
        for piece in body():
            yield memoryview(piece)


@functools.lru_cache(maxsize=4)
def _make_block(seed: int) -> bytes:
    return random.Random(seed).randbytes(_BLOCK_BYTES)
