"""What ffprobe's words come to mean."""

from __future__ import annotations

import struct

import pytest

from ingest.errors import ProbeFailed
from ingest.formats import GIF, JPEG, MATROSKA, MP3, MP4, PNG, WEBM, Format, Kind
from ingest.model import MediaInfo
from workers.mediainfo import read_media_info

VIDEO: dict[str, object] = {
    "index": 0,
    "codec_type": "video",
    "codec_name": "h264",
    "width": 1920,
    "height": 1080,
    "pix_fmt": "yuv420p",
    "avg_frame_rate": "30000/1001",
}
AUDIO: dict[str, object] = {"index": 1, "codec_type": "audio", "codec_name": "aac"}
COVER: dict[str, object] = {**VIDEO, "codec_name": "mjpeg", "disposition": {"attached_pic": 1}}
CONTAINER: dict[str, object] = {"duration": "12.3456", "bit_rate": "800000"}


def read(
    *streams: dict[str, object],
    sniffed: Format = MP4,
    container: dict[str, object] | None = None,
    head: bytes = b"",
) -> MediaInfo:
    shown = CONTAINER if container is None else container
    return read_media_info({"streams": list(streams), "format": shown}, sniffed, head)


def rotated(degrees: object) -> dict[str, object]:
    return {**VIDEO, "side_data_list": [{"side_data_type": "x"}, {"rotation": degrees}]}


def test_a_video_with_sound_is_described_by_its_picture() -> None:
    media = read(VIDEO, AUDIO)
    assert (media.kind, media.type, media.codec) == (Kind.VIDEO, "video/mp4", "h264")
    assert (media.width, media.height, media.orientation) == (1920, 1080, "landscape")
    assert (media.duration_s, media.bitrate_bps, media.fps) == (12.346, 800_000, 29.97)


@pytest.mark.parametrize(
    ("matrix", "turn", "size"),
    [
        (0, 0, (1920, 1080)),
        (-90, 90, (1080, 1920)),
        (90, 270, (1080, 1920)),
        (180, 180, (1920, 1080)),
        (-180, 180, (1920, 1080)),
        (-270, 270, (1080, 1920)),
        (-89.6, 90, (1080, 1920)),
        ("nan", 0, (1920, 1080)),
    ],
)
def test_the_display_matrix_turns_counter_clockwise_and_people_clockwise(
    matrix: object, turn: int, size: tuple[int, int]
) -> None:
    media = read(rotated(matrix))
    assert media.rotation == turn
    assert (media.width, media.height) == size


def test_a_turned_video_stands_upright() -> None:
    assert read(rotated(-90)).orientation == "portrait"
    assert read({**VIDEO, "height": 1920}).orientation == "square"


@pytest.mark.parametrize("tag", ["nan", "inf", "-inf", "x", "", "1e999"])
def test_a_rotate_tag_that_is_no_number_turns_nothing(tag: str) -> None:
    assert read({**VIDEO, "tags": {"rotate": tag}}).rotation == 0


def test_a_song_with_a_picture_is_a_song() -> None:
    media = read({**COVER, "index": 1}, {**AUDIO, "codec_name": "mp3"}, sniffed=MP3)
    assert (media.kind, media.codec, media.width, media.fps) == (Kind.AUDIO, "mp3", None, None)
    assert [stream.get("cover") for stream in media.streams] == [True, None]


@pytest.mark.parametrize(
    ("sniffed", "kind", "type_"),
    [
        (MP4, Kind.AUDIO, "audio/mp4"),
        (WEBM, Kind.AUDIO, "audio/webm"),
        (MATROSKA, Kind.AUDIO, "audio/x-matroska"),
    ],
)
def test_a_container_of_video_with_sound_alone_is_audio(
    sniffed: Format, kind: Kind, type_: str
) -> None:
    media = read(AUDIO, sniffed=sniffed)
    assert (media.kind, media.type) == (kind, type_)


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param([], id="no stream"),
        pytest.param([{"codec_type": "data"}], id="data alone"),
        pytest.param([{"codec_type": "subtitle"}], id="subtitles alone"),
        pytest.param([COVER], id="a cover alone"),
        pytest.param(["x", 5, None], id="no streams at all"),
    ],
)
def test_a_file_without_picture_and_sound_fails(streams: list[dict[str, object]]) -> None:
    with pytest.raises(ProbeFailed):
        read(*streams)


def test_an_image_with_sound_but_no_picture_fails() -> None:
    with pytest.raises(ProbeFailed):
        read(AUDIO, sniffed=JPEG)


def test_a_still_image_has_no_time() -> None:
    media = read({**VIDEO, "codec_name": "mjpeg", "nb_read_packets": "1"}, sniffed=JPEG)
    assert (media.animated, media.frames) == (False, 1)
    assert media.duration_s is media.fps is media.bitrate_bps is None


def test_a_moving_image_has_frames_and_time() -> None:
    media = read({**VIDEO, "codec_name": "gif", "nb_read_packets": "7"}, sniffed=GIF)
    assert (media.animated, media.frames, media.duration_s) == (True, 7, 12.346)


@pytest.mark.parametrize(
    ("pixels", "sniffed", "transparent"),
    [
        ("yuv420p", MP4, False),
        ("yuva420p", MP4, True),
        ("rgba", PNG, True),
        ("rgb24", PNG, False),
        ("bgra", GIF, None),
    ],
)
def test_transparency_is_told_by_the_pixels_where_they_tell_it(
    pixels: str, sniffed: Format, *, transparent: bool | None
) -> None:
    assert read({**VIDEO, "pix_fmt": pixels}, sniffed=sniffed).transparency is transparent


def test_webm_says_in_a_tag_that_it_has_alpha() -> None:
    assert read({**VIDEO, "tags": {"alpha_mode": "1"}}, sniffed=WEBM).transparency is True


@pytest.mark.parametrize(("colour_type", "transparent"), [(2, False), (6, True), (4, True)])
def test_a_png_that_ffprobe_cannot_read_is_read_from_its_header(
    colour_type: int, *, transparent: bool
) -> None:
    size = struct.pack(">IIBB", 640, 480, 8, colour_type)
    head = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + size
    blind: dict[str, object] = {"codec_type": "video", "codec_name": "png", "width": 0}
    media = read(blind, sniffed=PNG, head=head)
    assert (media.width, media.height, media.transparency) == (640, 480, transparent)


def test_a_picture_of_no_size_fails() -> None:
    with pytest.raises(ProbeFailed):
        read({**VIDEO, "width": 0, "height": 0})


@pytest.mark.parametrize(
    ("rate", "fps"), [("25/1", 25.0), ("0/0", None), ("x", None), ("1/0", None), ("", None)]
)
def test_a_frame_rate_that_says_nothing_is_null(rate: str, fps: float | None) -> None:
    assert read({**VIDEO, "avg_frame_rate": rate}).fps == fps


@pytest.mark.parametrize(
    ("language", "shown"), [("deu", "deu"), ("und", None), ("x" * 1_000_000, None)]
)
def test_a_language_is_shown_where_there_is_one(language: str, shown: str | None) -> None:
    media = read({**VIDEO, "tags": {"language": language}})
    assert media.language == shown
    assert media.streams[0].get("language") == shown


def test_streams_keep_useful_keys_alone_and_a_hundred_at_most() -> None:
    noisy = {**VIDEO, "extradata": "x" * 10_000, "tags": {"title": "t" * 500, "x": "y"}}
    media = read(*[noisy] * 300)
    assert len(media.streams) == 100
    assert "extradata" not in media.streams[0]
    assert "tags" not in media.streams[0]
    assert len(str(media.streams[0]["title"])) == 200


@pytest.mark.parametrize("found", [{}, {"streams": None}, {"streams": {}, "format": []}])
def test_words_that_ffprobe_never_says_fail_in_order(found: dict[str, object]) -> None:
    with pytest.raises(ProbeFailed):
        read_media_info(found, MP4, b"")
