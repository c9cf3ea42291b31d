"""What the bytes of an image file say themselves, and ffprobe does not.

The orientation that EXIF tells, whether there is alpha, how many frames an animation has, and the
size of what ffprobe cannot read: a PNG where it was built without zlib, an animated WebP. Only
headers of segments and chunks are looked at, within what is there, and so many of them at most.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ingest.formats import APNG, AVIF, HEIC, JPEG, PNG, TIFF, WEBP, Format
from workers.heif import read_heif
from workers.turning import Turn, turn_by_orientation

_MOST_PIECES = 20_000
_MOST_TAGS = 1_000
_ORIENTATION = 274
_SHORT = 3
_EXIF = b"Exif\0\0"
_PNG_START = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """None where the bytes that are there do not say.

    ``turn`` is what players do by EXIF or, for HEIC and AVIF, by properties.
    """

    width: int | None = None
    height: int | None = None
    turn: Turn | None = None
    alpha: bool | None = None
    frames: int | None = None
    animated: bool | None = None
    duration_ms: int | None = None


def read_picture_header(sniffed: Format, content: memoryview, *, is_whole: bool) -> PictureHeader:
    """Return what a file says of its picture.

    Args:
        content: the file, or its beginning where it is not there whole.
    """
    try:
        if sniffed is JPEG:
            return PictureHeader(turn=_read_jpeg_turn(content))
        if sniffed in {PNG, APNG}:
            return _read_png(content, is_whole=is_whole)
        if sniffed is WEBP:
            return _read_webp(content, is_whole=is_whole)
        if sniffed is TIFF:
            return PictureHeader(turn=read_exif_turn(content))
        if sniffed in {AVIF, HEIC}:
            heif = read_heif(content)
            return (
                PictureHeader() if heif is None else PictureHeader(turn=heif.turn, alpha=heif.alpha)
            )
    except (struct.error, IndexError):
        # It ends in the middle of what would tell.
        pass
    return PictureHeader()


def read_exif_turn(tiff: memoryview) -> Turn | None:
    """Return what the first directory of a TIFF says of the orientation (Exif 2.32, 4.6.4).

    Raises:
        struct.error: the directory is not in it whole.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(tiff[:4]))
    if order is None:
        return None
    (at,) = struct.unpack_from(f"{order}I", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, at)
    for number in range(min(count, _MOST_TAGS)):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, at + 2 + 12 * number)
        if tag == _ORIENTATION and kind == _SHORT:
            return turn_by_orientation(value)
    return None


def _read_jpeg_turn(content: memoryview) -> Turn | None:
    """Walk the segments before the picture (ITU-T T.81, B.1.1)."""
    at = 2
    for _ in range(_MOST_PIECES):
        while content[at + 1] == 0xFF:
            at += 1
        marker, (size,) = content[at + 1], struct.unpack_from(">H", content, at + 2)
        if content[at] != 0xFF or marker in {0xD9, 0xDA}:
            return None
        found = content[at + 4 : at + 2 + size]
        if marker == 0xE1 and found[: len(_EXIF)] == _EXIF:
            return read_exif_turn(found[len(_EXIF) :])
        at += 2 + size
    return None


def _read_png(content: memoryview, *, is_whole: bool) -> PictureHeader:
    """Walk the chunks (PNG 3rd edition, 5 and 11)."""
    width = height = frames = turn = None
    alpha: bool | None = None
    for kind, chunk in _list_chunks(content, len(_PNG_START), ">I4s", trailer_bytes=4):
        if kind == b"IHDR":
            width, height = struct.unpack_from(">II", chunk)
            alpha = True if chunk[9] in {4, 6} else None
        elif kind == b"tRNS":
            alpha = True
        elif kind == b"IDAT":
            # What is transparent is told before the pixels.
            alpha = alpha or False
            if not is_whole:
                break
        elif kind == b"acTL":
            (frames,) = struct.unpack_from(">I", chunk)
        elif kind == b"eXIf":
            turn = read_exif_turn(chunk)
    told = alpha or False if is_whole and width else alpha
    return PictureHeader(width, height, turn, told, frames)


def _read_webp(content: memoryview, *, is_whole: bool) -> PictureHeader:
    """Walk the chunks (RFC 9649, 2.3 to 2.7)."""
    width = height = turn = None
    alpha: bool | None = None
    animated, frames, duration_ms = False, 0, 0
    for kind, chunk in _list_chunks(content, 12, "<4sI", is_padded=True):
        if kind == b"VP8X":
            flags = chunk[0]
            animated, alpha = bool(flags & 0x02), bool(flags & 0x10)
            width, height = (1 + int.from_bytes(chunk[at : at + 3], "little") for at in (4, 7))
        elif kind == b"VP8L" and alpha is None:
            alpha = bool(chunk[4] & 0x10)
        elif kind == b"VP8 " and alpha is None:
            alpha = False
        elif kind == b"ANMF":
            frames += 1
            duration_ms += int.from_bytes(chunk[12:15], "little")
        elif kind == b"EXIF":
            # Many writers keep the six bytes that JPEG has before it.
            turn = read_exif_turn(chunk[len(_EXIF) :] if chunk[: len(_EXIF)] == _EXIF else chunk)
    if not (animated and is_whole):
        return PictureHeader(width, height, turn, alpha, None, animated)
    return PictureHeader(width, height, turn, alpha, frames, animated, duration_ms)


def _list_chunks(
    content: memoryview,
    start: int,
    head: str,
    *,
    trailer_bytes: int = 0,
    is_padded: bool = False,
) -> Iterator[tuple[bytes, memoryview]]:
    """Yield name and content of each chunk, the last one perhaps cut short."""
    at = start
    for _ in range(_MOST_PIECES):
        if at + 8 > len(content):
            return
        one, two = struct.unpack_from(head, content, at)
        kind, size = (one, two) if isinstance(one, bytes) else (two, one)
        yield kind, content[at + 8 : at + 8 + size]
        at += 8 + size + trailer_bytes + (size % 2 if is_padded else 0)
