"""What is kept of streams, chapters and tags, and that it is bounded."""

from __future__ import annotations

from fractions import Fraction

from workers.streams import read_chapters, read_rate, read_tags, show_rate, trim_streams

VIDEO: dict[str, object] = {
    "index": 0,
    "codec_type": "video",
    "codec_name": "h264",
    "mime_codec_string": "avc1.64001f",
    "pix_fmt": "yuv420p10le",
    "avg_frame_rate": "30000/1001",
    "color_transfer": "arib-std-b67",
}


def test_a_video_stream_says_what_its_values_come_to() -> None:
    (kept,) = trim_streams([VIDEO], {})
    assert kept["codecs"] == "avc1.64001f"
    assert (kept["frame_rate"], kept["bit_depth"], kept["hdr"]) == ("30000/1001", 10, "hlg")
    assert (kept["rotation"], kept["mirrored"], kept["cover"]) == (0, False, False)
    assert "mime_codec_string" not in kept


def test_a_stream_that_says_little_has_few_keys() -> None:
    sound, data = trim_streams([{"codec_type": "audio", "bits_per_sample": 24}, {}], {})
    assert sound == {"codec_type": "audio", "bit_depth": 24}
    assert data == {}


def test_a_rate_is_exact() -> None:
    assert show_rate(read_rate(VIDEO)) == "30000/1001"
    assert read_rate({"avg_frame_rate": "0/0", "r_frame_rate": "50/2"}) == Fraction(25)
    assert show_rate(read_rate({"avg_frame_rate": "-5/1"})) is None
    assert read_rate(None) is None


def make_chapter(start: object, end: object, title: object = None) -> dict[str, object]:
    return {"start_time": start, "end_time": end, "tags": {"title": title}}


def test_chapters_have_start_end_and_title() -> None:
    found = {"chapters": [make_chapter("0.000000", "1.5004", "One\n"), make_chapter("1.5", "2")]}
    assert read_chapters(found) == [
        {"start": 0.0, "end": 1.5, "title": "One"},
        {"start": 1.5, "end": 2.0, "title": None},
    ]


def test_chapters_are_two_hundred_at_most_and_have_times() -> None:
    assert len(read_chapters({"chapters": [make_chapter("0", "1")] * 5000})) == 200
    assert (
        read_chapters({"chapters": [make_chapter("nan", "1"), "x", make_chapter("0", None)]}) == []
    )
    assert read_chapters({"chapters": {}}) == []


def test_tags_are_text_in_lower_case_names() -> None:
    container = {"tags": {"Title": "A\0B", "TITLE": "second", "empty": " ", "number": 5}}
    assert read_tags(container, {}) == {"title": "A B"}


def test_tags_of_the_main_stream_serve_where_the_file_has_none() -> None:
    assert read_tags({}, {"tags": {"ARTIST": "somebody"}}) == {"artist": "somebody"}
    assert read_tags({"tags": []}, {"tags": None}) == {}


def test_tags_are_few_and_short() -> None:
    container = {"tags": {f"{'k' * 100}{number}": "v" * 9_000 for number in range(3)}}
    tags = read_tags(container, {})
    assert [len(name) for name in tags] == [64]
    assert {len(value) for value in tags.values()} == {1_000}
    assert len(read_tags({"tags": {f"k{number}": "v" for number in range(500)}}, {})) == 64
