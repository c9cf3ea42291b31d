"""Colour, range and depth in ffprobe's words; nothing where it has none."""

from __future__ import annotations

import pytest

from workers.colours import read_audio, read_color, read_hdr, read_picture_depth

PQ: dict[str, object] = {
    "pix_fmt": "yuv420p10le",
    "color_range": "tv",
    "color_space": "bt2020nc",
    "color_primaries": "bt2020",
    "color_transfer": "smpte2084",
}
DOVI: dict[str, object] = {"side_data_type": "DOVI configuration record", "dv_profile": 8}


def test_colour_is_told_in_the_words_of_ffprobe() -> None:
    assert read_color(PQ) == {
        "range": "tv",
        "space": "bt2020nc",
        "primaries": "bt2020",
        "transfer": "smpte2084",
        "pixel_format": "yuv420p10le",
        "bit_depth": 10,
    }


def test_what_is_unknown_or_not_said_is_null() -> None:
    found = read_color({"color_space": "unknown", "color_range": ""})
    assert found is not None
    assert set(found.values()) == {None}
    assert (read_color(None), read_hdr(None), read_audio(None)) == (None, None, None)


@pytest.mark.parametrize(
    ("stream", "hdr"),
    [
        (PQ, "hdr10"),
        ({**PQ, "color_transfer": "arib-std-b67"}, "hlg"),
        ({**PQ, "side_data_list": [DOVI]}, "dolby_vision"),
        ({"side_data_list": [DOVI]}, "dolby_vision"),
        ({"color_transfer": "bt709"}, None),
        ({}, None),
    ],
)
def test_the_range_is_told_by_the_transfer_function_or_by_dolby(
    stream: dict[str, object], hdr: str | None
) -> None:
    assert read_hdr(stream) == hdr


@pytest.mark.parametrize(
    ("pixels", "bits"),
    [
        ("yuv420p", 8), ("yuvj422p", 8), ("yuva420p", 8), ("nv12", 8), ("rgb24", 8), ("bgra", 8),
        ("gbrp", 8), ("gray", 8), ("pal8", 8), ("yuv420p10le", 10), ("yuva444p12be", 12),
        ("gray10le", 10), ("p010le", 10), ("p016le", 16), ("gbrp16be", 16), ("gbrap12le", 12),
        ("rgb48be", 16), ("rgba64le", 16), ("gray16le", 16), ("ya16be", 16), ("x2rgb10le", 10),
        ("rgb565le", None), ("monob", None), ("", None), (None, None),
    ],
)  # fmt: skip
def test_the_depth_is_of_one_colour(pixels: str | None, bits: int | None) -> None:
    assert read_picture_depth({"pix_fmt": pixels}) == bits


def test_a_codec_that_says_its_depth_is_believed() -> None:
    assert read_picture_depth({"pix_fmt": "yuv422p10le", "bits_per_raw_sample": "12"}) == 12


def test_sound_is_told_by_channels_layout_rate_and_depth() -> None:
    stream = {
        "channels": 6,
        "channel_layout": "5.1",
        "sample_rate": "48000",
        "bits_per_sample": 16,
        "bits_per_raw_sample": "24",
    }
    assert read_audio(stream) == {
        "channels": 6,
        "layout": "5.1",
        "sample_rate": 48000,
        "bit_depth": 24,
    }
    lossy = {"channels": 2, "channel_layout": "unknown", "bits_per_sample": 0}
    assert read_audio(lossy) == {
        "channels": 2,
        "layout": None,
        "sample_rate": None,
        "bit_depth": None,
    }
