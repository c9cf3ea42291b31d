"""What ffprobe's words come to mean."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import pytest

from ingest.errors import ProbeFailed
from ingest.formats import (
    AVIF,
    GIF,
    HEIC,
    JPEG,
    MATROSKA,
    MP3,
    MP4,
    PNG,
    WEBM,
    WEBP,
    Format,
    Kind,
)
from ingest.model import MediaInfo
from workers.frames import Picture
from workers.mediainfo import Described, describe

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
    return read_all({"streams": list(streams), "format": shown}, sniffed, head)


def read_all(found: dict[str, object], sniffed: Format = MP4, head: bytes = b"") -> MediaInfo:
    return describe(found, sniffed, memoryview(head), is_whole=True, private={}).media


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


def describe_words(found: Mapping[str, object], sniffed: Format, head: bytes = b"") -> Described:
    return describe(found, sniffed, memoryview(head), is_whole=True, private={})


def test_a_picture_of_tiles_has_the_size_of_all_of_them() -> None:
    tile = {**VIDEO, "codec_name": "hevc", "width": 512, "height": 512}
    size = {"width": 4032, "height": 3024, "coded_width": 4096}
    others = {"index": 0, "type": "IAMF Audio Element", "streams": [{"index": 0}]}
    grid = {"index": 1, "type": "Tile Grid", "components": [size], "streams": [{"index": 0}]}
    found = {"streams": [tile, {**tile, "index": 1}], "stream_groups": [others, grid]}
    described = describe_words(found, HEIC)
    assert (described.media.width, described.media.height) == (4032, 3024)
    assert described.picture == Picture(0, "hevc", 4032, 3024, 0, mirrored=False, group=1)


@pytest.mark.parametrize(
    "groups", ["x", [{"type": "Tile Grid"}], [{"type": "Tile Grid", "index": 0, "streams": {}}]]
)
def test_groups_that_are_none_leave_a_picture_as_it_is(groups: object) -> None:
    described = describe_words({"streams": [VIDEO], "stream_groups": groups}, HEIC)
    assert (described.media.width, described.media.height) == (1920, 1080)


def test_of_an_animated_avif_the_animation_counts() -> None:
    still = {**VIDEO, "codec_name": "av1", "nb_frames": "1", "nb_read_packets": "1"}
    moving = {**still, "index": 1, "nb_frames": "9", "nb_read_packets": "9"}
    described = describe_words({"streams": [still, moving], "format": CONTAINER}, AVIF)
    assert (described.media.animated, described.media.frames) == (True, 9)
    assert described.picture is not None
    assert described.picture.stream == 1


def test_a_photograph_that_exif_turns_stands_upright() -> None:
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 274, 3, 1, 6, 0, 0)
    head = b"\xff\xd8\xff\xe1" + struct.pack(">H", 8 + len(tiff)) + b"Exif\0\0" + tiff
    media = read({**VIDEO, "codec_name": "mjpeg"}, sniffed=JPEG, head=head + b"\xff\xda")
    assert (media.rotation, media.mirrored, media.orientation) == (90, False, "portrait")
    assert (media.width, media.height) == (1080, 1920)


def test_an_animated_webp_that_ffprobe_cannot_read_is_read_from_its_header() -> None:
    frame = b"ANMF" + struct.pack("<I", 16) + bytes(12) + (200).to_bytes(3, "little") + bytes(1)
    extended = b"VP8X" + struct.pack("<I", 10) + b"\x12\0\0\0\x3f\0\0\x2f\0\0"
    head = b"RIFF" + struct.pack("<I", 4 + 18 + 24 * 4) + b"WEBP" + extended + frame * 4
    blind: dict[str, object] = {
        "codec_type": "video",
        "codec_name": "webp",
        "nb_read_packets": "1",
        "r_frame_rate": "25/1",
    }
    media = read(blind, sniffed=WEBP, head=head, container={})
    assert (media.width, media.height, media.transparency) == (64, 48, True)
    assert (media.animated, media.frames, media.duration_s) == (True, 4, 0.8)
    assert (media.fps, media.frame_rate) == (5.0, "5/1")


def test_codecs_are_those_of_picture_and_sound_or_none() -> None:
    picture = {**VIDEO, "mime_codec_string": "avc1.64001f"}
    sound = {**AUDIO, "profile": "LC"}
    assert read(picture, sound, sound).codecs == "avc1.64001f,mp4a.40.2"
    assert read(picture, {**AUDIO, "codec_name": "pcm_s16le"}).codecs is None
    assert read(sound, {**COVER, "index": 1}).codecs == "mp4a.40.2"


def test_the_exact_rate_stands_beside_the_rounded_one() -> None:
    media = read(VIDEO)
    assert (media.fps, media.frame_rate) == (29.97, "30000/1001")
    assert read(AUDIO).frame_rate is None


def test_sound_chapters_and_tags_are_told_of_a_video_too() -> None:
    chapter = {"start_time": "0.0", "end_time": "2.5", "tags": {"title": "One"}}
    sound = {**AUDIO, "channels": 2, "channel_layout": "stereo", "sample_rate": "44100"}
    found = {"streams": [VIDEO, sound], "format": {"tags": {"title": "T"}}, "chapters": [chapter]}
    media = describe_words(found, MP4).media
    assert media.audio is not None
    assert (media.audio["layout"], media.audio["sample_rate"]) == ("stereo", 44100)
    assert media.chapters == [{"start": 0.0, "end": 2.5, "title": "One"}]
    assert media.tags == {"title": "T"}


def test_a_song_has_no_picture_to_show() -> None:
    described = describe_words({"streams": [AUDIO, {**COVER, "index": 1}]}, MP3)
    assert described.picture is None
    media = described.media
    assert (media.color, media.hdr, media.mirrored) == (None, None, None)


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
        read_all(found)
