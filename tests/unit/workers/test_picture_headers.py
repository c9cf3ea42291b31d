"""What the bytes of a picture say themselves: EXIF, alpha, frames; whole, cut short and broken."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.formats import APNG, AVIF, BMP, GIF, JPEG, PNG, TIFF, WEBP, Format
from tests.support.heif import make_alpha, make_box, make_irot, make_meta
from workers.picture_headers import PictureHeader, read_picture_header
from workers.turning import Turn

EXIF = b"Exif\0\0"


def make_tiff(orientation: int, *, order: str = "<", kind: int = 3) -> bytes:
    start = b"II*\0" if order == "<" else b"MM\0*"
    others = struct.pack(f"{order}HHII", 271, 2, 4, 0)
    entry = struct.pack(f"{order}HHIHH", 274, kind, 1, orientation, 0)
    return start + struct.pack(f"{order}IH", 8, 2) + others + entry + bytes(4)


def make_jpeg(*segments: tuple[int, bytes]) -> bytes:
    said = b"".join(
        struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content
        for marker, content in segments
    )
    return b"\xff\xd8" + said + b"\xff\xda\0\x02" + b"picture" + b"\xff\xd9"


def make_png(*chunks: tuple[bytes, bytes], colour: int = 2) -> bytes:
    head = (b"IHDR", struct.pack(">IIBBBBB", 64, 48, 8, colour, 0, 0, 0))
    said = b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content))
        for kind, content in (head, *chunks, (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + said


def make_webp(*chunks: tuple[bytes, bytes]) -> bytes:
    said = b"".join(
        kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
        for kind, content in chunks
    )
    return b"RIFF" + struct.pack("<I", 4 + len(said)) + b"WEBP" + said


def make_vp8x(flags: int) -> tuple[bytes, bytes]:
    return b"VP8X", struct.pack("<I", flags) + (63).to_bytes(3, "little") + b"\x2f\0\0"


def read(content: bytes, sniffed: Format, *, is_whole: bool = True) -> PictureHeader:
    return read_picture_header(sniffed, memoryview(content), is_whole=is_whole)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("orientation", "turn"), [(1, Turn()), (5, Turn(270, mirrored=True)), (6, Turn(90)), (9, None)]
)
def test_exif_tells_how_a_picture_is_turned_in_each_format_that_has_it(
    orientation: int, turn: Turn | None, order: str
) -> None:
    tiff = make_tiff(orientation, order=order)
    assert read(make_jpeg((0xE0, b"JFIF\0" + bytes(9)), (0xE1, EXIF + tiff)), JPEG).turn == turn
    assert read(make_png((b"eXIf", tiff), (b"IDAT", b"x")), PNG).turn == turn
    assert read(make_png((b"IDAT", b"x"), (b"eXIf", tiff)), PNG).turn == turn
    for exif in (tiff, EXIF + tiff):
        made = make_webp(make_vp8x(0x08), (b"VP8 ", b"x"), (b"EXIF", exif))
        assert read(made, WEBP).turn == turn
    assert read(tiff, TIFF).turn == turn


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(make_jpeg(), id="no segment"),
        pytest.param(make_jpeg((0xE1, b"http://ns.adobe.com/xap/1.0/\0")), id="XMP"),
        pytest.param(make_jpeg((0xE1, EXIF)), id="nothing in it"),
        pytest.param(make_jpeg((0xE1, EXIF + b"XX*\0" + bytes(20))), id="no TIFF"),
        pytest.param(make_jpeg((0xE1, EXIF + make_tiff(6, kind=4))), id="a number of another kind"),
        pytest.param(make_jpeg((0xE1, EXIF + b"II*\0\xff\xff\xff\xff")), id="a directory beyond"),
        pytest.param(b"\xff\xd8" + b"\xff" * 50, id="fill bytes alone"),
        pytest.param(make_jpeg() + make_jpeg((0xE1, EXIF + make_tiff(6))), id="behind the picture"),
    ],
)
def test_a_jpeg_whose_exif_says_nothing_is_not_turned(content: bytes) -> None:
    assert read(content, JPEG).turn is None


def test_a_jpeg_is_known_by_its_beginning() -> None:
    content = make_jpeg((0xE1, EXIF + make_tiff(8)), (0xE2, bytes(60_000)))
    assert read(content[:4096], JPEG, is_whole=False).turn == Turn(270)


@pytest.mark.parametrize(
    ("chunks", "colour", "is_whole", "alpha"),
    [
        ([(b"IDAT", b"x")], 2, True, False),
        ([(b"IDAT", b"x")], 6, True, True),
        ([(b"IDAT", b"x")], 4, False, True),
        ([(b"PLTE", bytes(9)), (b"tRNS", b"\0"), (b"IDAT", b"x")], 3, False, True),
        ([(b"PLTE", bytes(9)), (b"IDAT", b"x")], 3, False, False),
        ([(b"iCCP", bytes(5000))], 2, False, None),
    ],
)
def test_a_png_tells_of_alpha_before_its_pixels(
    chunks: list[tuple[bytes, bytes]], colour: int, *, is_whole: bool, alpha: bool | None
) -> None:
    found = read(make_png(*chunks, colour=colour), PNG, is_whole=is_whole)
    assert (found.alpha, found.width, found.height) == (alpha, 64, 48)


def test_an_apng_tells_how_many_frames_it_has() -> None:
    assert read(make_png((b"acTL", struct.pack(">II", 7, 0))), APNG).frames == 7


@pytest.mark.parametrize(
    ("chunks", "alpha"),
    [
        ([(b"VP8 ", bytes(20))], False),
        ([(b"VP8L", b"\x2f\0\0\0\x10")], True),
        ([(b"VP8L", b"\x2f\0\0\0\0")], False),
        ([make_vp8x(0x10), (b"VP8 ", bytes(20))], True),
        ([make_vp8x(0x00), (b"VP8L", b"\x2f\0\0\0\x10")], False),
        ([], None),
    ],
)
def test_a_webp_tells_of_alpha_in_its_header(
    chunks: list[tuple[bytes, bytes]], *, alpha: bool | None
) -> None:
    assert read(make_webp(*chunks), WEBP).alpha is alpha


def test_an_animated_webp_tells_size_frames_and_time() -> None:
    frames = [(b"ANMF", bytes(12) + (100).to_bytes(3, "little") + bytes(5))] * 3
    content = make_webp(make_vp8x(0x02), (b"ANIM", bytes(6)), *frames)
    assert read(content, WEBP) == PictureHeader(
        64, 48, alpha=False, frames=3, animated=True, duration_ms=300
    )
    cut = read(content[:70], WEBP, is_whole=False)
    assert (cut.width, cut.height, cut.animated, cut.frames) == (64, 48, True, None)


def test_heif_tells_of_turn_and_alpha() -> None:
    content = make_box(b"ftyp", b"avif\0\0\0\0") + make_meta([make_irot(3), make_alpha()])
    assert read(content, AVIF) == PictureHeader(turn=Turn(90), alpha=True)
    assert read(content[:50], AVIF) == PictureHeader()


@pytest.mark.parametrize("sniffed", [GIF, BMP])
def test_other_formats_say_nothing_that_ffprobe_does_not(sniffed: Format) -> None:
    assert read(bytes(100), sniffed) == PictureHeader()


GOOD = {
    JPEG: make_jpeg((0xE1, EXIF + make_tiff(6))),
    PNG: make_png((b"tRNS", b"\0"), (b"eXIf", make_tiff(6))),
    WEBP: make_webp(make_vp8x(0x1A), (b"ANMF", bytes(20)), (b"EXIF", make_tiff(6))),
    TIFF: make_tiff(6),
}


@given(sniffed=st.sampled_from(list(GOOD)), data=st.data())
def test_whatever_stands_there_is_read_in_order(sniffed: Format, data: st.DataObject) -> None:
    content = bytearray(GOOD[sniffed])
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = content[: data.draw(st.integers(0, len(content)))]
    assert isinstance(read(bytes(cut), sniffed), PictureHeader)
