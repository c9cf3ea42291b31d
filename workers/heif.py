"""What ffprobe does not tell of a HEIC or AVIF: how a picture of tiles is turned, and its alpha.

ISO/IEC 23008-12 (HEIF): items, and the properties that are associated with them, in the ``meta``
box. Reads no more than boxes that lie within what is there, and no more of them than a file has use
for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from workers.turning import Turn, join_turns

_MOST_BOXES = 4096
# MIAF (ISO/IEC 23000-22) and HEIF's binding of HEVC name alpha by these.
_ALPHA = (
    b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0",
    b"urn:mpeg:hevc:2015:auxid:1\0",
)


@dataclass(frozen=True, slots=True)
class Heif:
    """``turn`` is of the primary item; ``alpha``: whether some item is another one's alpha."""

    turn: Turn
    alpha: bool


def read_heif(content: memoryview) -> Heif | None:
    """Read the beginning of a file; None where its ``meta`` box is not in it whole."""
    for kind, box in _list_boxes(content):
        if kind == b"meta":
            try:
                return _read_meta(box[4:])
            except (struct.error, IndexError):
                return None
    return None


def _list_boxes(content: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield type and content of each box that is there whole."""
    at = 0
    for _ in range(_MOST_BOXES):
        if at + 8 > len(content):
            return
        size, kind = struct.unpack_from(">I4s", content, at)
        if size < 8 or at + size > len(content):
            return
        yield kind, content[at + 8 : at + size]
        at += size


def _read_meta(meta: memoryview) -> Heif:
    boxes = dict(_list_boxes(meta))
    properties = dict(_list_boxes(boxes.get(b"iprp", memoryview(b""))))
    listed = list(_list_boxes(properties.get(b"ipco", memoryview(b""))))
    alpha = any(kind == b"auxC" and bytes(box[4:]).startswith(_ALPHA) for kind, box in listed)
    primary = _read_primary(boxes.get(b"pitm", memoryview(b"")))
    turn = Turn()
    for number in _list_properties(properties.get(b"ipma", memoryview(b"")), primary):
        if 0 < number <= len(listed):
            turn = join_turns(turn, _read_transform(*listed[number - 1]))
    return Heif(turn, alpha)


def _read_primary(box: memoryview) -> int | None:
    if not box:
        return None
    (item,) = struct.unpack_from(">I" if box[0] else ">H", box, 4)
    return int(item)


def _list_properties(box: memoryview, item: int | None) -> Iterator[int]:
    """Yield the numbers of the properties of an item, in the order they apply (8.11.14)."""
    if not box or item is None:
        return
    wide, at = box[3] & 1, 8
    (count,) = struct.unpack_from(">I", box, 4)
    for _ in range(min(count, _MOST_BOXES)):
        (found,) = struct.unpack_from(">I" if box[0] else ">H", box, at)
        at += 4 if box[0] else 2
        associations, at = box[at], at + 1
        for _ in range(associations):
            number, at = box[at] & 0x7F, at + 1
            if wide:
                number, at = number << 8 | box[at], at + 1
            if found == item:
                yield number


def _read_transform(kind: bytes, box: memoryview) -> Turn:
    if kind == b"irot":
        # Counter-clockwise, in right angles (6.5.10).
        return Turn(-90 * (box[0] & 3) % 360)
    if kind == b"imir":
        # 0 changes top and bottom, 1 left and right (6.5.12).
        return Turn(0 if box[0] & 1 else 180, mirrored=True)
    return Turn()
