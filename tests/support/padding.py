"""Real mp4 files of any size: a small one with a box of nothing in the middle.

Players and ffprobe skip a ``free`` box, so a 2 GiB file is made of a 2 s video without 2 GiB of
anything, and keeps its tracks, duration and frames.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tests.support.origin.bodies import Generated


def pad_mp4(small: bytes, size_bytes: int, *, seed: int = 0) -> Generated:
    """Return ``small`` grown to ``size_bytes`` by a box after its media data.

    If ``moov`` stands first (faststart) it still does; if it stands last, it now stands beyond the
    padding, where only a reader with ranges finds it without reading everything.
    """
    at = max(end for name, end in _walk_boxes(small) if name == b"mdat")
    box_bytes = size_bytes - len(small)
    if box_bytes < 16:
        raise ValueError("no room for the box")
    # Size 1 says that the true size follows in 64 bits.
    header = struct.pack(">I4sQ", 1, b"free", box_bytes)
    return Generated(size_bytes, seed, head=small[:at] + header, tail=small[at:])


def _walk_boxes(content: bytes) -> Iterator[tuple[bytes, int]]:
    at = 0
    while at < len(content):
        size, name = struct.unpack_from(">I4s", content, at)
        if size == 1:
            (size,) = struct.unpack_from(">Q", content, at + 8)
        at += size or len(content) - at
        yield name, at
