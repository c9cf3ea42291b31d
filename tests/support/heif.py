"""HEIF boxes by hand, since ffmpeg writes none: an item with properties (ISO/IEC 23008-12)."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def make_box(kind: bytes, content: bytes) -> bytes:
    """Return a box (ISO/IEC 14496-12, 4.2)."""
    return struct.pack(">I4s", 8 + len(content), kind) + content


def make_full_box(kind: bytes, content: bytes, *, version: int = 0, flags: int = 0) -> bytes:
    """Return a box with a version and flags."""
    return make_box(kind, struct.pack(">I", version << 24 | flags) + content)


def make_irot(quarters: int) -> bytes:
    """Return a turn, counter-clockwise."""
    return make_box(b"irot", bytes([quarters]))


def make_imir(axis: int) -> bytes:
    """Return a mirror: 0 changes top and bottom, 1 left and right."""
    return make_box(b"imir", bytes([axis]))


def make_alpha() -> bytes:
    """Return what an item that is another one's alpha is marked with."""
    return make_full_box(b"auxC", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0")


def make_meta(properties: Sequence[bytes], *, version: int = 0, wide: bool = False) -> bytes:
    """Return a ``meta`` box whose primary item 2 has all the properties, and item 1 the first."""
    number = ">I" if version else ">H"
    essential = 0x8000 if wide else 0x80
    one = ">H" if wide else ">B"
    listed = b"".join(
        struct.pack(number, item)
        + bytes([len(chosen)])
        + b"".join(struct.pack(one, essential | index) for index in chosen)
        for item, chosen in ((1, [1]), (2, list(range(1, len(properties) + 1))))
    )
    ipma = make_full_box(
        b"ipma", struct.pack(">I", 2) + listed, version=version, flags=1 if wide else 0
    )
    iprp = make_box(b"iprp", make_box(b"ipco", b"".join(properties)) + ipma)
    handler = make_full_box(b"hdlr", bytes(4) + b"pict" + bytes(13))
    pitm = make_full_box(b"pitm", struct.pack(number, 2), version=version)
    return make_full_box(b"meta", handler + pitm + iprp)
