"""What ffmpeg is told: one frame, small, of one demuxer and one protocol, and no address shown."""

from __future__ import annotations

import json

import pytest

from workers.frames import (
    FRAME_SIDE,
    Frame,
    Picture,
    order_from_address,
    order_from_descriptor,
    read_frame_answer,
)

PICTURE = Picture(
    stream=2, codec="h264", width=1920, height=1080, rotation=90, mirrored=False, group=None
)


def sized(width: int, height: int) -> Picture:
    return Picture(0, "h264", width, height, 0, mirrored=False, group=None)


def read_order(order: object) -> tuple[list[str], dict[str, object]]:
    assert isinstance(order, dict)
    frame = dict(order["frame"])
    return frame.pop("arguments"), frame


def test_a_file_that_is_handed_over_is_read_by_one_demuxer_and_no_network() -> None:
    arguments, frame = read_order(order_from_descriptor(PICTURE, "mp4", 1, 1000))
    said = " ".join(arguments)
    assert "-format_whitelist mp4 -protocol_whitelist fd -f mp4 -i fd:" in said
    assert "-max_pixels 1000" in said
    assert "-map 0:2 -vf scale=24:14:flags=area,format=rgba" in said
    assert said.endswith("-frames:v 1 -f rawvideo pipe:1")
    assert frame == {
        "program": 1,
        "width": 24,
        "height": 14,
        "rotation": 90,
        "mirrored": False,
    }


@pytest.mark.parametrize(
    ("longer", "halvings"),
    [(24, 0), (191, 0), (192, 1), (383, 1), (384, 2), (768, 3), (30_000, 3)],
)
def test_a_large_jpeg_is_decoded_small(longer: int, halvings: int) -> None:
    picture = Picture(0, "mjpeg", longer, 10, 0, mirrored=False, group=None)
    said = " ".join(read_order(order_from_descriptor(picture, "jpeg_pipe", 1, 1000))[0])
    assert f"-lowres {halvings} " in said


def test_a_header_that_tells_all_is_believed() -> None:
    for demuxer, believed in (("mp4", True), ("matroska", True), ("mpegts", False), ("flv", False)):
        arguments, _ = read_order(order_from_descriptor(PICTURE, demuxer, 1, 1000))
        assert ("-nofind_stream_info" in arguments) is believed


def test_a_picture_of_tiles_is_put_together_and_turned_by_ffmpeg_itself() -> None:
    tiles = Picture(0, "hevc", 4032, 3024, 90, mirrored=True, group=1)
    arguments, frame = read_order(order_from_descriptor(tiles, "mov", 0, 1000))
    assert "[0:g:1]scale=18:24:flags=area,format=rgba[frame]" in arguments
    assert (frame["width"], frame["height"]) == (18, 24)
    assert (frame["rotation"], frame["mirrored"]) == (0, False)


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((1, 1), (24, 24)),
        ((100, 50), (24, 12)),
        ((50, 100), (12, 24)),
        ((65_535, 1), (24, 1)),
        ((1, 65_535), (1, 24)),
    ],
)
def test_a_frame_has_its_longer_side_in_common_with_all_others(
    size: tuple[int, int], fitted: tuple[int, int]
) -> None:
    _, frame = read_order(order_from_descriptor(sized(*size), "mp4", 1, 1000))
    assert (frame["width"], frame["height"]) == fitted
    assert max(fitted) == FRAME_SIDE


def test_an_address_stands_in_the_graph_alone_and_ends_nothing_there() -> None:
    url = "https://s3.example:9000/a%20b/it's,[1];x.mp4?X-Amz-Signature=s3cr3t&b=\\"
    options = {"url": url, "protocol_whitelist": "https,tls,tcp", "rw_timeout": "5"}
    order, graph = order_from_address(PICTURE, "mp4", 1, options)
    assert "s3cr3t" not in json.dumps(order)
    assert "-noautorotate -f lavfi -graph_file /dev/stdin -i graph" in " ".join(
        read_order(order)[0]
    )
    bare = graph.replace("\\\\", "").replace("\\'", "").replace("\\,", "")
    bare = bare.replace("\\[", "").replace("\\]", "").replace("\\;", "")
    # Nothing is left of it that ends an option or a filter.
    assert bare.count(",") == 2
    assert "[" not in bare
    assert "'" not in bare
    assert ";" not in bare
    assert "format_whitelist" in graph


@pytest.mark.parametrize("answer", [None, b'{"timeout": true}', b'{"frame": null}'])
def test_a_host_that_has_no_frame_has_none(answer: bytes | None) -> None:
    assert read_frame_answer(answer) is None


def test_a_frame_is_what_a_host_says_of_it() -> None:
    said = {"placeholder": "AA==", "background": None, "transparent": True}
    found = read_frame_answer(json.dumps({"frame": said}).encode())
    assert found == Frame("AA==", None, transparent=True)
