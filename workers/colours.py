"""Colour, depth and dynamic range of a picture, and the same of sound, from ffprobe's words."""

from __future__ import annotations

import re

from ingest.model import JsonObject
from workers.probed import as_count, as_list, as_mapping, as_text

_UNSAID = frozenset({"unknown", "reserved", "unspecified"})
# ITU-T H.273, table 3: PQ and HLG.
_RANGES = {"smpte2084": "hdr10", "arib-std-b67": "hlg"}
# libavutil's names for what holds more bits than the number in them says, all parts together.
_SUMS = re.compile(r"(?:rgb|bgr)(?:48|64|96|128)|(?:rgba|bgra)(?:64|128)|ayuv64|ya16|gray16|xyz12")
_SUM_BITS = {"48": 16, "64": 16, "96": 32, "128": 32, "16": 16, "12": 12}
_PLANAR = re.compile(
    r"(?:yuv\w*?p|yuva\w*?p|gbra?p|gbrp|gray|p0|p2|p4|y2|xv|x2rgb|x2bgr)(9|1[0-6])"
)
_EIGHT = re.compile(
    r"yuvj?a?4\d\dp$|nv(?:12|16|21|24|42)$|(?:rgb|bgr)24$|(?:rgba|bgra|argb|abgr|rgb0|bgr0|0rgb|0bgr)$"
    r"|gbra?p$|gray$|pal8$|ya8$|yuyv422$|uyvy422$"
)


def read_color(stream: JsonObject | None) -> JsonObject | None:
    """Return range, space, primaries and transfer in ffprobe's words, pixel format and bit depth.

    What the file does not say is None; so is all of it where there is no picture.
    """
    if stream is None:
        return None
    return {
        "range": _read_word(stream, "color_range"),
        "space": _read_word(stream, "color_space"),
        "primaries": _read_word(stream, "color_primaries"),
        "transfer": _read_word(stream, "color_transfer"),
        "pixel_format": _read_word(stream, "pix_fmt"),
        "bit_depth": read_picture_depth(stream),
    }


def read_picture_depth(stream: JsonObject) -> int | None:
    """Return the bits of one colour: as the codec says, else as the pixel format has them."""
    said = as_count(stream.get("bits_per_raw_sample"))
    if said is not None:
        return said
    pixels = (as_text(stream.get("pix_fmt")) or "").removesuffix("le").removesuffix("be")
    if _EIGHT.match(pixels):
        return 8
    summed = _SUMS.fullmatch(pixels)
    if summed is not None:
        return _SUM_BITS[re.sub(r"\D", "", pixels)]
    planar = _PLANAR.fullmatch(pixels)
    return int(planar[1]) if planar is not None else None


def read_hdr(stream: JsonObject | None) -> str | None:
    """Return `dolby_vision`, `hdr10`, `hlg`, or None.

    By a Dolby Vision configuration record, else by the transfer function: PQ counts as HDR10, with
    or without its static metadata.
    """
    if stream is None:
        return None
    for side in as_list(stream.get("side_data_list")):
        if as_mapping(side).get("side_data_type") == "DOVI configuration record":
            return "dolby_vision"
    return _RANGES.get(as_text(stream.get("color_transfer")) or "")


def read_audio(stream: JsonObject | None) -> JsonObject | None:
    """Return channels, layout, sample rate in Hz and bit depth of sound; None for none."""
    if stream is None:
        return None
    return {
        "channels": as_count(stream.get("channels")),
        "layout": _read_word(stream, "channel_layout"),
        "sample_rate": as_count(stream.get("sample_rate")),
        "bit_depth": read_sound_depth(stream),
    }


def read_sound_depth(stream: JsonObject) -> int | None:
    """Return the bits of one sample; None for codecs that have no such thing."""
    raw = as_count(stream.get("bits_per_raw_sample"))
    return raw if raw is not None else as_count(stream.get("bits_per_sample"))


def _read_word(stream: JsonObject, name: str) -> str | None:
    word = as_text(stream.get(name))
    return None if word is None or word in _UNSAID else word[:64]
