"""What Pillow is let read, and what comes of it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping

import pytest
from PIL import Image

from tests.support.pictures import make_png
from workers.frames import Picture, order_picture
from workers.picture_host import read_picture

BLUE = (0x10, 0x20, 0xF0)


def write(image: Image.Image, form: str, **options: object) -> bytes:
    held = io.BytesIO()
    image.save(held, form, **options)
    return held.getvalue()


def read(
    content: bytes,
    decoder: str,
    size: tuple[int, int] = (160, 120),
    *,
    max_pixels: int = 1_000_000,
    rotation: int = 0,
) -> Mapping[str, object] | None:
    picture = Picture(0, "", *size, rotation, mirrored=False, group=None)
    order = order_picture(picture, decoder, max_pixels)
    return read_picture(io.BytesIO(content), order["picture"])


@pytest.mark.parametrize(
    ("mode", "form", "near"),
    [
        ("RGB", "JPEG", 2),
        ("L", "JPEG", 2),
        ("RGB", "PNG", 0),
        ("P", "PNG", 0),
        ("1", "PNG", 0),
        ("L", "PNG", 0),
        ("RGB", "WEBP", 3),
    ],
)
def test_a_picture_of_each_common_mode_has_its_colour(mode: str, form: str, near: int) -> None:
    image = Image.new("RGB", (160, 120), BLUE if mode != "1" else (255, 255, 255))
    image = image.convert(mode, palette=Image.Palette.ADAPTIVE)
    found = read(write(image, form), form)
    assert found is not None
    shown = bytes.fromhex(str(found["background"])[1:])
    assert list(shown) == pytest.approx(image.convert("RGB").getpixel((0, 0)), abs=near)
    assert found["transparent"] is False


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_what_shows_through_has_no_say_in_the_colours(form: str) -> None:
    image = Image.new("RGBA", (160, 120), (255, 255, 255, 0))
    image.paste((*BLUE, 255), (0, 0, 60, 120))
    found = read(write(image, form, lossless=True), form)
    assert found is not None
    assert (found["background"], found["transparent"]) == ("#1020f0", True)


def test_one_colour_of_a_palette_that_is_transparent_is_seen() -> None:
    image = Image.new("P", (160, 120), 1)
    image.putpalette([0, 0, 0, *BLUE])
    image.paste(0, (0, 0, 80, 60))
    found = read(write(image, "PNG", transparency=0), "PNG")
    assert found is not None
    assert (found["background"], found["transparent"]) == ("#1020f0", True)


_DEEP = struct.pack(">HHH", 0x1234, 0x5678, 0x9ABC)


@pytest.mark.parametrize(
    ("depth", "colour_type", "row", "chunks"),
    [
        (16, 2, _DEEP * 4, {}),
        (16, 2, _DEEP * 4, {b"tRNS": _DEEP}),
        (16, 6, (_DEEP + b"\xff\xff") * 4, {}),
        (16, 4, b"\x12\x34\xff\xff" * 4, {}),
        (16, 0, b"\x12\x34" * 4, {}),
        (4, 0, b"\x55\x55", {b"tRNS": b"\0\5"}),
        (2, 0, b"\x55", {b"tRNS": b"\0\1"}),
    ],
)
def test_a_png_whose_samples_pillow_makes_others_of_is_left_to_others(
    depth: int, colour_type: int, row: bytes, chunks: Mapping[bytes, bytes]
) -> None:
    content = _make_raw_png(depth, colour_type, row, chunks)
    assert read(content, "PNG", (4, 4)) is None


@pytest.mark.parametrize(("depth", "row"), [(1, b"\xf0"), (8, b"\1\1\1\1")])
def test_a_shade_of_grey_that_is_transparent_is_seen(depth: int, row: bytes) -> None:
    found = read(_make_raw_png(depth, 0, row, {b"tRNS": b"\0\1"}), "PNG", (4, 4))
    assert found is not None
    assert (found["background"], found["transparent"]) == (None, True)


def _make_raw_png(depth: int, colour_type: int, row: bytes, chunks: Mapping[bytes, bytes]) -> bytes:
    """Return a PNG of four rows of four pixels."""
    header = struct.pack(">IIBBBBB", 4, 4, depth, colour_type, 0, 0, 0)
    pixels = zlib.compress((b"\0" + row) * 4)
    written = {b"IHDR": header, **chunks, b"IDAT": pixels, b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(held)) + kind + held + struct.pack(">I", zlib.crc32(kind + held))
        for kind, held in written.items()
    )


def test_an_animated_webp_is_seen_by_its_first_frame() -> None:
    frames = [Image.new("RGB", (160, 120), colour) for colour in (BLUE, (255, 0, 0))]
    content = write(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    found = read(content, "WEBP")
    assert found is not None
    assert found["background"] == "#1020f0"


def test_a_turned_picture_is_seen_upright() -> None:
    image = Image.new("RGB", (160, 40), BLUE)
    image.paste((255, 255, 0), (0, 0, 20, 40))
    turned = image.transpose(Image.Transpose.ROTATE_90)
    # Lying on its side, and to be turned clockwise.
    assert read(write(turned, "PNG"), "PNG", (40, 160), rotation=90) == read(
        write(image, "PNG"), "PNG", (160, 40)
    )


def test_a_large_jpeg_is_seen_as_a_small_one_is() -> None:
    found = []
    for scale in (1, 10):
        image = Image.new("RGB", (400 * scale, 300 * scale), BLUE)
        image.paste((255, 255, 0), (0, 0, 100 * scale, 150 * scale))
        content = write(image, "JPEG", quality=95)
        found.append(read(content, "JPEG", image.size, max_pixels=12_000_000))
    small, large = found
    assert small is not None
    assert large is not None
    assert small["background"] == large["background"]
    assert str(small["placeholder"])[:12] == str(large["placeholder"])[:12]


@pytest.mark.parametrize(
    ("content", "decoder"),
    [
        pytest.param(b"", "JPEG", id="nothing"),
        pytest.param(b"\xff\xd8\xff\xe0" + bytes(500), "JPEG", id="no JPEG behind its magic"),
        pytest.param(make_png(160, 120, alpha=False), "JPEG", id="another format"),
        pytest.param(make_png(160, 120, alpha=False)[:-60], "PNG", id="cut short"),
        pytest.param(make_png(160, 121, alpha=False), "PNG", id="not of the size that was told"),
        pytest.param(write(Image.new("I;16", (160, 120)), "PNG"), "PNG", id="16 bits"),
        pytest.param(write(Image.new("CMYK", (160, 120)), "JPEG"), "JPEG", id="colours of print"),
    ],
)
def test_what_is_broken_or_of_another_kind_is_left_to_others(content: bytes, decoder: str) -> None:
    assert read(content, decoder) is None


def test_no_more_pixels_are_decoded_than_may_be() -> None:
    content = make_png(160, 120, alpha=False)
    assert read(content, "PNG", max_pixels=160 * 120) is not None
    assert read(content, "PNG", max_pixels=160 * 120 - 1) is None


def test_the_alarm_of_the_host_is_heard_through_a_decoder() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:  # noqa: ARG002
            raise TimeoutError

    order = order_picture(Picture(0, "", 9, 9, 0, mirrored=False, group=None), "PNG", 100)
    with pytest.raises(TimeoutError):
        read_picture(Slow(), order["picture"])


@pytest.mark.parametrize("asked", [None, [], "x"])
def test_without_an_order_there_is_no_picture(asked: object) -> None:
    assert read_picture(io.BytesIO(), asked) is None
