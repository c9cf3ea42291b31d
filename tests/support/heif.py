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


def make_tiled_heic(left: bytes, right: bytes, side: int, quarters: int) -> bytes:
    """Return a HEIC of two tiles side by side, turned counter-clockwise (6.6.2.3, ``grid``).

    Args:
        left: a mp4 of one square HEVC frame, as is ``right``, by the same encoder.
        side: pixels of a tile.
        quarters: right angles.
    """
    samples = [_find_box(tile, b"mdat") for tile in (left, right)]
    properties = [
        make_box(b"hvcC", _find_box(left, b"hvcC")),
        make_full_box(b"ispe", struct.pack(">II", side, side)),
        make_full_box(b"ispe", struct.pack(">II", 2 * side, side)),
        make_irot(quarters),
    ]
    chosen = ((1, (0x81, 2)), (2, (0x81, 2)), (3, (3, 0x84)))
    listed = b"".join(struct.pack(">HB", item, len(of)) + bytes(of) for item, of in chosen)
    ipma = make_full_box(b"ipma", struct.pack(">I", 3) + listed)
    iprp = make_box(b"iprp", make_box(b"ipco", b"".join(properties)) + ipma)
    items = b"".join(
        make_full_box(b"infe", struct.pack(">HH4sB", item, 0, kind, 0), version=2)
        for item, kind in ((1, b"hvc1"), (2, b"hvc1"), (3, b"grid"))
    )
    iinf = make_full_box(b"iinf", struct.pack(">H", 3) + items)
    iref = make_full_box(b"iref", make_box(b"dimg", struct.pack(">HHHH", 3, 2, 1, 2)))
    grid = struct.pack(">BBBBHH", 0, 0, 0, 1, 2 * side, side)
    handler = make_full_box(b"hdlr", bytes(4) + b"pict" + bytes(13))
    pitm = make_full_box(b"pitm", struct.pack(">H", 3))
    ftyp = make_box(b"ftyp", b"heic\0\0\0\0mif1heic")

    def locate(at: int) -> bytes:
        # Version 1, offsets and lengths of four bytes; the grid lies in idat (method 1).
        places = [(1, 0, at, len(samples[0])), (2, 0, at + len(samples[0]), len(samples[1]))]
        places.append((3, 1, 0, len(grid)))
        entries = b"".join(
            struct.pack(">HHHHII", item, method, 0, 1, offset, length)
            for item, method, offset, length in places
        )
        return make_full_box(b"iloc", struct.pack(">HH", 0x4400, 3) + entries, version=1)

    def join(at: int) -> bytes:
        boxes = [handler, pitm, locate(at), iinf, iref, iprp, make_box(b"idat", grid)]
        return ftyp + make_full_box(b"meta", b"".join(boxes))

    return join(len(join(0)) + 8) + make_box(b"mdat", b"".join(samples))


def _find_box(content: bytes, kind: bytes) -> bytes:
    at = content.index(kind) - 4
    return content[at + 8 : at + struct.unpack_from(">I", content, at)[0]]
