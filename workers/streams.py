"""What is kept of each stream that ffprobe lists, and of chapters and tags, in bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from ingest.model import JsonObject
from workers.codec_strings import name_codec
from workers.colours import read_hdr, read_picture_depth, read_sound_depth
from workers.probed import as_list, as_mapping, as_number, as_text, clean_text
from workers.turning import Turn, read_turn

_STREAM_KEYS = (
    "index", "codec_type", "codec_name", "codec_long_name", "profile", "level", "codec_tag_string",
    "width", "height", "sample_aspect_ratio", "display_aspect_ratio", "pix_fmt", "field_order",
    "color_range", "color_space", "color_transfer", "color_primaries", "r_frame_rate",
    "avg_frame_rate", "time_base", "start_time", "duration", "bit_rate", "bits_per_raw_sample",
    "nb_frames", "sample_fmt", "sample_rate", "channels", "channel_layout",
)  # fmt: skip
_MOST_STREAMS = 100
_MOST_CHAPTERS = 200
_MOST_TAGS = 64
_TITLE_CHARS = 200
_TAG_NAME_CHARS = 64
_TAG_CHARS = 1_000
# RFC 5646, 4.4.1: what a buffer for a language tag should hold at least.
_LONGEST_LANGUAGE = 35


def is_cover(stream: JsonObject) -> bool:
    """Return whether a stream is a picture inside a song."""
    return as_mapping(stream.get("disposition")).get("attached_pic") == 1


def trim_streams(streams: Sequence[JsonObject], private: Mapping[int, str]) -> Sequence[JsonObject]:
    """Return the useful keys of the first hundred streams, with what they come to.

    Args:
        private: dumps of decoders' configurations, by the index of their streams.
    """
    return [_trim(stream, _find_private(stream, private)) for stream in streams[:_MOST_STREAMS]]


def name_stream_codec(stream: JsonObject, private: Mapping[int, str]) -> str | None:
    """Return a stream's codec as RFC 6381 has it."""
    return name_codec(stream, _find_private(stream, private))


def read_rate(stream: JsonObject | None) -> Fraction | None:
    """Return the mean frames a second, exactly as ffprobe says them; None where it says none."""
    if stream is None:
        return None
    for name in ("avg_frame_rate", "r_frame_rate"):
        text = as_text(stream.get(name))
        try:
            rate = Fraction(text) if text else Fraction(0)
        except (ValueError, ZeroDivisionError):
            continue
        if rate > 0:
            return rate
    return None


def show_rate(rate: Fraction | None) -> str | None:
    """Return a rate as ``30000/1001``."""
    return None if rate is None else f"{rate.numerator}/{rate.denominator}"


def read_language(stream: JsonObject) -> str | None:
    """Return a stream's language as it is tagged; None for undetermined."""
    language = clean_text(as_mapping(stream.get("tags")).get("language"), _LONGEST_LANGUAGE + 1)
    if language is None or language == "und" or len(language) > _LONGEST_LANGUAGE:
        return None
    return language


def read_chapters(found: JsonObject) -> Sequence[JsonObject]:
    """Return start and end in seconds, and title, of the first two hundred chapters."""
    chapters = []
    for chapter in as_list(found.get("chapters"))[:_MOST_CHAPTERS]:
        known = as_mapping(chapter)
        start, end = as_number(known.get("start_time")), as_number(known.get("end_time"))
        if start is None or end is None:
            continue
        title = clean_text(as_mapping(known.get("tags")).get("title"), _TITLE_CHARS)
        chapters.append({"start": round(start, 3), "end": round(end, 3), "title": title})
    return chapters


def read_tags(container: JsonObject, main: JsonObject) -> Mapping[str, str]:
    """Return the first tags of a file by their names in lower case, as cut text on one line.

    Ogg keeps them in its streams, so those of the main stream serve where the file has none.
    """
    tags: dict[str, str] = {}
    for name, value in (as_mapping(container.get("tags")) or as_mapping(main.get("tags"))).items():
        shown, text = clean_text(name, _TAG_NAME_CHARS), clean_text(value, _TAG_CHARS)
        if shown is not None and text is not None:
            tags.setdefault(shown.lower(), text)
        if len(tags) == _MOST_TAGS:
            break
    return tags


def _find_private(stream: JsonObject, private: Mapping[int, str]) -> str | None:
    index = stream.get("index")
    return private.get(index) if isinstance(index, int) else None


def _trim(stream: JsonObject, private: str | None) -> JsonObject:
    kept: dict[str, object] = {name: stream[name] for name in _STREAM_KEYS if name in stream}
    _put(kept, "codecs", name_codec(stream, private))
    _put(kept, "language", read_language(stream))
    _put(kept, "title", clean_text(as_mapping(stream.get("tags")).get("title"), _TITLE_CHARS))
    if stream.get("codec_type") == "video":
        turn = read_turn(stream) or Turn()
        kept |= {"rotation": turn.rotation, "mirrored": turn.mirrored, "cover": is_cover(stream)}
        _put(kept, "frame_rate", show_rate(read_rate(stream)))
        _put(kept, "bit_depth", read_picture_depth(stream))
        _put(kept, "hdr", read_hdr(stream))
    elif stream.get("codec_type") == "audio":
        _put(kept, "bit_depth", read_sound_depth(stream))
    return kept


def _put(kept: dict[str, object], name: str, value: object) -> None:
    if value is not None:
        kept[name] = value
