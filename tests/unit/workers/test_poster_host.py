"""Which frame is chosen, and what is written of it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import pytest
from PIL import Image

from workers import poster_host
from workers.frames import Picture
from workers.poster_host import choose, draw_frame, draw_picture
from workers.posters import MOST_POSTER_BYTES, order_from_picture

PICTURE = Picture(0, "", 80, 60, 0, mirrored=False, group=None)


def make(light: int) -> Image.Image:
    return Image.new("RGB", (8, 6), (light, light, light))


@pytest.mark.parametrize(
    ("lights", "chosen"),
    [
        ([200], 200),
        ([0, 0, 30, 200], 30),
        ([19, 20, 21], 20),
        ([3, 12, 7], 12),
        ([0, 0], 0),
    ],
)
def test_the_first_frame_that_is_not_black_is_chosen_or_the_brightest(
    lights: list[int], chosen: int
) -> None:
    found = choose(make(light) for light in lights)
    assert found is not None
    assert found.getpixel((0, 0)) == (chosen, chosen, chosen)


def test_of_no_frames_none_is_chosen() -> None:
    assert choose([]) is None


def test_what_comes_behind_the_chosen_frame_is_not_waited_for() -> None:
    def give() -> Iterator[Image.Image]:
        yield make(100)
        raise AssertionError

    assert choose(give()) is not None


def test_the_bounds_on_both_sides_of_the_sandbox_are_one() -> None:
    assert poster_host.MOST_JPEG_BYTES == MOST_POSTER_BYTES


def test_nothing_but_the_picture_is_written() -> None:
    image = Image.new("RGB", (80, 60), (200, 0, 0))
    exif = image.getexif()
    exif[0x010E] = "where I live"
    held = io.BytesIO()
    image.save(held, "JPEG", exif=exif, comment=b"my secret", dpi=(72, 72))
    held.seek(0)
    order = order_from_picture(PICTURE, "JPEG", 9_999)
    drawn = draw_picture(held, order["poster"])
    assert drawn is not None
    written = base64.b64decode(drawn)
    assert b"where I live" not in written
    assert b"my secret" not in written


def test_a_picture_that_is_too_long_at_each_quality_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(poster_host, "MOST_JPEG_BYTES", 100)
    held = io.BytesIO()
    Image.effect_noise((80, 60), 200).save(held, "PNG")
    held.seek(0)
    order = order_from_picture(PICTURE, "PNG", 9_999)
    assert draw_picture(held, order["poster"]) is None


@pytest.mark.parametrize("asked", [None, [], "x"])
def test_without_an_order_nothing_is_drawn(asked: object) -> None:
    assert draw_frame(["/nonexistent"], asked) is None
    assert draw_picture(io.BytesIO(), asked) is None
