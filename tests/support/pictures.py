"""Pictures that the wheel's ffmpeg cannot make: it is built without zlib (PNG) and libwebp.

PNG and APNG are zlib and four kinds of chunk. A lossy WebP is one VP8 key frame in a RIFF box, and
VP8 the wheel's ffmpeg does have.
"""

from __future__ import annotations

import struct
import zlib

_IVF_HEADER_BYTES = 32
_IVF_FRAME_HEADER_BYTES = 12
_TRUECOLOUR = 2
_TRUECOLOUR_ALPHA = 6


def make_png(width: int, height: int, *, alpha: bool) -> bytes:
    """Return a PNG of a colour gradient; with alpha its left half is transparent."""
    return _join_png(
        [
            _write_ihdr(width, height, alpha=alpha),
            _write_chunk(b"IDAT", zlib.compress(_paint(width, height, 0, alpha=alpha))),
        ]
    )


def make_apng(width: int, height: int, frames: int) -> bytes:
    """Return an animated PNG, 10 frames a second (https://www.w3.org/TR/png-3/#apng-frame-based-animation)."""
    chunks = [
        _write_ihdr(width, height, alpha=False),
        _write_chunk(b"acTL", struct.pack(">II", frames, 0)),
    ]
    sequence = 0
    for frame in range(frames):
        control = struct.pack(">IIIIIHHBB", sequence, width, height, 0, 0, 1, 10, 0, 0)
        chunks.append(_write_chunk(b"fcTL", control))
        sequence += 1
        pixels = zlib.compress(_paint(width, height, frame * 40, alpha=False))
        if frame == 0:
            chunks.append(_write_chunk(b"IDAT", pixels))
        else:
            chunks.append(_write_chunk(b"fdAT", struct.pack(">I", sequence) + pixels))
            sequence += 1
    return _join_png(chunks)


def wrap_webp(ivf: bytes) -> bytes:
    """Return the first frame of a VP8 stream in IVF as a lossy WebP."""
    (frame_bytes,) = struct.unpack_from("<I", ivf, _IVF_HEADER_BYTES)
    start = _IVF_HEADER_BYTES + _IVF_FRAME_HEADER_BYTES
    frame = ivf[start : start + frame_bytes]
    chunk = b"VP8 " + struct.pack("<I", len(frame)) + frame + b"\x00" * (len(frame) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def _paint(width: int, height: int, shift: int, *, alpha: bool) -> bytes:
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            rows += bytes(((x * 4 + shift) % 256, (y * 5) % 256, 128))
            if alpha:
                rows.append(0 if x < width // 2 else 255)
    return bytes(rows)


def _write_ihdr(width: int, height: int, *, alpha: bool) -> bytes:
    colour = _TRUECOLOUR_ALPHA if alpha else _TRUECOLOUR
    return _write_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))


def _write_chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def _join_png(chunks: list[bytes]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + _write_chunk(b"IEND", b"")
