"""From ffprobe's JSON to what Headrace says of a file. Pure, so that it can be tested with words.

What ffprobe does not say stays None; nothing is guessed. Cover art is a picture inside a song, not
a video stream.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction

from ingest.errors import ProbeFailed
from ingest.formats import GIF, Format, Kind, resolve
from ingest.model import JsonObject, MediaInfo

_STREAM_KEYS = (
    "index", "codec_type", "codec_name", "codec_long_name", "profile", "level", "codec_tag_string",
    "width", "height", "sample_aspect_ratio", "display_aspect_ratio", "pix_fmt", "field_order",
    "color_range", "color_space", "color_transfer", "color_primaries", "r_frame_rate",
    "avg_frame_rate", "time_base", "start_time", "duration", "bit_rate", "bits_per_raw_sample",
    "nb_frames", "sample_fmt", "sample_rate", "channels", "channel_layout",
)  # fmt: skip
_MAX_STREAMS = 100
# RFC 5646, 4.4.1: what a buffer for a language tag should hold at least.
_LONGEST_LANGUAGE = 35
_PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_PNG_HEADER_BYTES = len(_PNG_START) + 10
_ALPHA_FORMATS = ("rgba", "bgra", "argb", "abgr", "yuva", "gbrap", "ya8", "ya16")


def read_media_info(found: JsonObject, sniffed: Format, head: bytes) -> MediaInfo:
    """Describe a file.

    Args:
        found: ffprobe's ``-show_format -show_streams`` as JSON.
        sniffed: the format its first bytes showed.
        head: those bytes.

    Raises:
        ProbeFailed: there is no stream of video, audio or image in it.
    """
    streams = [_mend_png(stream, head) for stream in _list(found.get("streams"))]
    container = found.get("format")
    container = container if isinstance(container, dict) else {}
    video = next((s for s in streams if s.get("codec_type") == "video" and not _is_cover(s)), None)
    audio = next((s for s in streams if s.get("codec_type") == "audio"), None)
    main = video or audio
    if main is None or (sniffed.kind is Kind.IMAGE and video is None):
        raise ProbeFailed("The file has no video, audio or image in it that ffprobe can read.")
    settled = resolve(sniffed, has_video=video is not None, has_audio=audio is not None)
    still = settled.kind is Kind.IMAGE
    frames = _read_frames(video, still=still) if video is not None else None
    moving = not still or (frames or 0) > 1
    shown = video if settled.kind is not Kind.AUDIO else None
    rotation = None if shown is None else _read_rotation(shown)
    width, height = _read_size(shown, rotation)
    if shown is not None and not (width and height):
        # A decoder that found no picture in what follows a right beginning.
        raise ProbeFailed("The file has a picture of no size; it is broken or cut short.")
    return MediaInfo(
        kind=settled.kind,
        type=settled.type,
        container=sniffed.container,
        extension=settled.extension,
        codec=_text(main.get("codec_name")),
        width=width,
        height=height,
        orientation=_name_orientation(width, height),
        rotation=rotation,
        # ffprobe calls every GIF BGRA, opaque ones too.
        transparency=None if sniffed is GIF else _read_transparency(shown),
        animated=(frames or 0) > 1 if still else None,
        frames=frames,
        duration_s=_read_duration(container, main) if moving else None,
        fps=_read_fps(shown) if moving else None,
        bitrate_bps=_integer(container.get("bit_rate")) if moving else None,
        language=_read_language(main),
        streams=[_trim(stream) for stream in streams[:_MAX_STREAMS]],
    )


def _mend_png(stream: object, head: bytes) -> JsonObject:
    """Fill in what an ffprobe that was built without zlib does not see of a PNG.

    It stands in the first chunk: width, height, bit depth, colour type (PNG 3rd edition, 11.2.1).
    """
    known = _mapping(stream)
    if not head.startswith(_PNG_START) or len(head) < _PNG_HEADER_BYTES:
        return known
    width, height = struct.unpack_from(">II", head, len(_PNG_START))
    alpha = head[_PNG_HEADER_BYTES - 1] in {4, 6}
    read = {"width": width, "height": height, "pix_fmt": "rgba" if alpha else "rgb24"}
    return {**known, **{name: known.get(name) or value for name, value in read.items()}}


def _is_cover(stream: JsonObject) -> bool:
    return _mapping(stream.get("disposition")).get("attached_pic") == 1


def _read_rotation(stream: JsonObject) -> int:
    for side in _list(stream.get("side_data_list")):
        turned = _number(_mapping(side).get("rotation"))
        if turned is not None:
            # The display matrix counts counter-clockwise; people count clockwise.
            return round(-turned / 90) * 90 % 360
    turned = _number(_mapping(stream.get("tags")).get("rotate"))
    return 0 if turned is None else round(turned / 90) * 90 % 360


def _read_size(stream: JsonObject | None, rotation: int | None) -> tuple[int | None, int | None]:
    if stream is None:
        return None, None
    width, height = _integer(stream.get("width")), _integer(stream.get("height"))
    return (height, width) if rotation in {90, 270} else (width, height)


def _name_orientation(width: int | None, height: int | None) -> str | None:
    if not width or not height:
        return None
    if width == height:
        return "square"
    return "landscape" if width > height else "portrait"


def _read_transparency(stream: JsonObject | None) -> bool | None:
    if stream is None:
        return None
    pixels = _text(stream.get("pix_fmt"))
    if pixels is None:
        return None
    # WebM keeps its alpha in a second stream of the same track and says so in a tag.
    tagged = _mapping(stream.get("tags")).get("alpha_mode") == "1"
    return tagged or pixels.startswith(_ALPHA_FORMATS)


def _read_frames(stream: JsonObject, *, still: bool) -> int | None:
    counted = _integer(stream.get("nb_read_packets")) if still else None
    return counted if counted is not None else _integer(stream.get("nb_frames"))


def _read_duration(container: JsonObject, main: JsonObject) -> float | None:
    seconds = _number(container.get("duration"))
    if seconds is None:
        seconds = _number(main.get("duration"))
    return None if seconds is None else round(seconds, 3)


def _read_fps(stream: JsonObject | None) -> float | None:
    if stream is None:
        return None
    for name in ("avg_frame_rate", "r_frame_rate"):
        text = _text(stream.get(name))
        try:
            rate = Fraction(text) if text else Fraction(0)
        except (ValueError, ZeroDivisionError):
            continue
        if rate > 0:
            return round(float(rate), 3)
    return None


def _read_language(stream: JsonObject) -> str | None:
    language = _text(_mapping(stream.get("tags")).get("language"))
    if language is None or language == "und" or len(language) > _LONGEST_LANGUAGE:
        return None
    return language


def _trim(stream: JsonObject) -> JsonObject:
    kept: dict[str, object] = {name: stream[name] for name in _STREAM_KEYS if name in stream}
    language = _read_language(stream)
    if language is not None:
        kept["language"] = language
    title = _text(_mapping(stream.get("tags")).get("title"))
    if title is not None:
        kept["title"] = title[:200]
    if stream.get("codec_type") == "video":
        kept["rotation"] = _read_rotation(stream)
        kept["cover"] = _is_cover(stream)
    return kept


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, (str, int, float)) else math.nan
    except (ValueError, OverflowError):
        return None
    # A file's tags can say "nan".
    return number if math.isfinite(number) else None


def _integer(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
