"""What comes of pixels: turned upright, and the colour that most of them have."""

from __future__ import annotations

import pytest

from workers.frame_host import find_background, read_frame, turn_pixels

# Two rows of three: a b c over d e f.
PICTURE = "abcdef"


def spell(letters: str) -> bytes:
    return b"".join(letter.encode() * 4 for letter in letters)


@pytest.mark.parametrize(
    ("rotation", "mirrored", "shown"),
    [
        (0, False, "abcdef"),
        (90, False, "daebfc"),
        (180, False, "fedcba"),
        (270, False, "cfbead"),
        (0, True, "cbafed"),
        (90, True, "fcebda"),
        (180, True, "defabc"),
        (270, True, "adbecf"),
    ],
)
def test_a_picture_is_mirrored_and_then_turned_clockwise(
    rotation: int, shown: str, *, mirrored: bool
) -> None:
    turned = turn_pixels(spell(PICTURE), 3, rotation=rotation, mirrored=mirrored)
    assert turned == spell(shown)


def test_the_background_is_the_colour_that_most_pixels_have() -> None:
    sky, sun, ghost = b"\x10\x20\xf0\xff", b"\xff\xff\x00\xff", b"\x00\x00\x00\x00"
    assert find_background(sky * 3 + sun * 2 + ghost * 9) == "#1020f0"


def test_colours_that_are_nearly_one_count_as_one_and_their_mean_is_told() -> None:
    near = b"\x10\x20\xf0\xff" + b"\x12\x22\xf2\xff"
    assert find_background(near + b"\xff\xff\x00\xff") == "#1121f1"


def test_a_picture_that_shows_nothing_has_no_background() -> None:
    assert find_background(b"\xff\xff\xff\x00" * 4) is None
    assert find_background(b"") is None


def test_a_pixel_counts_that_shows_half_of_itself_and_of_two_colours_the_first() -> None:
    half, less = b"\x10\x20\xf0\x80", b"\xff\xff\x00\x7f"
    assert find_background(less * 3 + half) == "#1020f0"
    sun, sky = b"\xff\xff\x00\xff", b"\x10\x20\xf0\xff"
    assert find_background(sun + sky) == "#ffff00"
    assert find_background(sky + sun) == "#1020f0"


@pytest.mark.parametrize("asked", [None, [], "x"])
def test_without_an_order_there_is_no_frame(asked: object) -> None:
    assert read_frame(["/nonexistent"], asked) is None
