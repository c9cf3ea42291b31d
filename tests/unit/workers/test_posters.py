"""What hosts are told of a poster, and what is believed of their answers."""

from __future__ import annotations

import base64
import json

import pytest

from workers.frames import Picture
from workers.posters import (
    MOST_POSTER_BYTES,
    POSTER_SIDE,
    order_from_address,
    order_from_descriptor,
    order_from_picture,
    read_poster_answer,
)


def sized(width: int, height: int) -> Picture:
    return Picture(1, "h264", width, height, 90, mirrored=False, group=None)


def read(order: object) -> dict[str, object]:
    assert isinstance(order, dict)
    return dict(order["poster"])


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((160, 120), (160, 120)),
        ((1, 1), (1, 1)),
        ((1280, 720), (1280, 720)),
        ((1281, 720), (1280, 719)),
        ((3840, 2160), (1280, 720)),
        ((2160, 3840), (720, 1280)),
        ((65_535, 1), (1280, 1)),
    ],
)
def test_a_poster_is_as_large_as_its_file_up_to_a_width(
    size: tuple[int, int], fitted: tuple[int, int]
) -> None:
    for order in (
        order_from_descriptor(sized(*size), "mp4", 0, 1000),
        order_from_picture(sized(*size), "PNG", 1000),
    ):
        asked = read(order)
        assert (asked["width"], asked["height"], asked["rotation"]) == (*fitted, 90)
    assert max(fitted) <= POSTER_SIDE


def test_two_frames_a_second_of_the_first_seconds_are_looked_at() -> None:
    asked = read(order_from_descriptor(sized(320, 180), "mp4", 1, 1000))
    arguments = asked["arguments"]
    assert isinstance(arguments, list)
    said = " ".join(arguments)
    assert "trim=end=10,select=isnan(prev_selected_t)+gte(t-prev_selected_t\\,0.5)" in said
    assert "-format_whitelist mp4 -protocol_whitelist fd -f mp4 -i fd: -map 0:1" in said
    assert "-max_pixels 1000" in said
    assert "-skip_frame" not in said
    assert said.endswith("-fps_mode passthrough -f rawvideo pipe:1")


def test_an_address_stands_in_the_graph_alone() -> None:
    options = {"url": "https://s3.example/a?X-Amz-Signature=s3cr3t", "protocol_whitelist": "tcp"}
    order, graph = order_from_address(sized(320, 180), "mp4", 0, options)
    assert "s3cr3t" not in json.dumps(order)
    assert "s3cr3t" in graph
    assert graph.count("\n") == 0


def test_a_picture_of_tiles_is_not_turned_twice() -> None:
    tiles = Picture(0, "hevc", 400, 300, 90, mirrored=True, group=1)
    asked = read(order_from_descriptor(tiles, "mov", 0, 1000))
    assert (asked["width"], asked["height"]) == (300, 400)
    assert (asked["rotation"], asked["mirrored"]) == (0, False)


def test_a_poster_is_what_a_host_says_of_it() -> None:
    jpeg = b"\xff\xd8\xff\xe0" + bytes(10)
    said = json.dumps({"poster": base64.b64encode(jpeg).decode()}).encode()
    assert read_poster_answer(said) == jpeg


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b'{"timeout": true}',
        b'{"poster": null}',
        b'{"poster": 7}',
        b'{"poster": "not base64"}',
        pytest.param(json.dumps({"poster": base64.b64encode(b"<svg>").decode()}).encode(), id="no"),
        pytest.param(
            json.dumps(
                {"poster": base64.b64encode(b"\xff\xd8" + bytes(MOST_POSTER_BYTES)).decode()}
            ).encode(),
            id="too long",
        ),
    ],
)
def test_what_is_no_jpeg_within_bounds_is_no_poster(answer: bytes | None) -> None:
    assert read_poster_answer(answer) is None
