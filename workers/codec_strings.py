"""Codecs as the ``codecs`` parameter of a MIME type names them (RFC 6381, 3).

ffprobe 8.1 says most of them itself (``mime_codec_string``). The rest is made of what it says of
profile and level, or of the decoder's configuration, where that is exact; else there is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from ingest.model import JsonObject
from workers.probed import as_count, as_integer, as_list, as_mapping, as_text

_SAID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{1,63}")
# MPEG-4 audio object types (ISO/IEC 14496-3, table 1.17) by libavcodec's names of profiles.
_AAC = {
    "Main": 1, "LC": 2, "SSR": 3, "LTP": 4, "HE-AAC": 5, "LD": 23, "HE-AACv2": 29, "ELD": 39,
    "xHE-AAC": 42,
}  # fmt: skip
# Of these the name says all.
_PLAIN = {
    "opus": "opus", "vorbis": "vorbis", "flac": "flac", "vp8": "vp8", "ac3": "ac-3",
    "eac3": "ec-3", "mp3": "mp4a.40.34", "alac": "alac", "theora": "theora",
}  # fmt: skip
_AVC_TAGS = frozenset({"avc1", "avc2", "avc3", "avc4"})
_HEVC_TAGS = frozenset({"hvc1", "hev1"})
_DOLBY_VISION_TAGS = frozenset({"dvh1", "dvhe", "dva1", "dvav", "dav1"})
# More than any encoder writes about itself.
_MOST_PRIVATE_BYTES = 16 * 1024
# Of those, what stands before profile and level.
_READ_BYTES = 128


def find_private_data_wanted(found: JsonObject) -> int | None:
    """Return the index of the stream whose string only its decoder's configuration can tell.

    The first one of H.264 or HEVC of which ffprobe does not say it; None where there is none.
    """
    for stream in as_list(found.get("streams")):
        known = as_mapping(stream)
        size = as_count(known.get("extradata_size"))
        if known.get("codec_name") in {"h264", "hevc"} and not _read_said(known):
            fits = size is not None and size <= _MOST_PRIVATE_BYTES
            return as_integer(known.get("index")) if fits else None
    return None


def name_codec(stream: JsonObject, private: str | None = None) -> str | None:
    """Return a stream's string; None where ffprobe does not tell enough.

    Args:
        private: ffprobe's hexadecimal dump of the decoder's configuration, if it was asked for.
    """
    tag = as_text(stream.get("codec_tag_string")) or ""
    if tag in _DOLBY_VISION_TAGS:
        return _name_dolby_vision(stream, tag)
    said = _read_said(stream)
    if said is not None:
        return said
    codec = as_text(stream.get("codec_name")) or ""
    if codec == "aac":
        kind = _AAC.get(as_text(stream.get("profile")) or "")
        return None if kind is None else f"mp4a.40.{kind}"
    if codec in {"h264", "hevc"} and private is not None:
        content = _read_dump(private)
        return _name_avc(content, tag) if codec == "h264" else _name_hevc(content, tag)
    return _PLAIN.get(codec)


def join_codecs(strings: Iterable[str | None]) -> str | None:
    """Return the strings of all streams, each once, with commas; None if one is not known."""
    known: dict[str, None] = {}
    for string in strings:
        if string is None:
            return None
        known[string] = None
    return ",".join(known) or None


def _read_said(stream: JsonObject) -> str | None:
    said = as_text(stream.get("mime_codec_string"))
    return said if said is not None and _SAID.fullmatch(said) else None


def _name_dolby_vision(stream: JsonObject, tag: str) -> str | None:
    """Dolby Vision Streams Within the ISO Base Media File Format, 2.4, section 5.3."""
    for side in as_list(stream.get("side_data_list")):
        known = as_mapping(side)
        profile, level = as_integer(known.get("dv_profile")), as_integer(known.get("dv_level"))
        if profile is not None and level is not None:
            return f"{tag}.{profile:02d}.{level:02d}"
    return None


def _read_dump(dump: str) -> bytes:
    """Return the first bytes of ffprobe's dump: offset, words of two bytes, text."""
    found = bytearray()
    for line in dump.strip().splitlines():
        if len(found) >= _READ_BYTES:
            break
        words = line.partition(": ")[2][:40]
        found += bytes.fromhex("".join(re.findall(r"[0-9a-f]{2}", words)))
    return bytes(found)


def _name_avc(content: bytes, tag: str) -> str | None:
    """Profile, constraints and level (ISO/IEC 14496-15, E.3), from avcC or from the first SPS."""
    if content[:1] == b"\x01":
        three = content[1:4]
    else:
        three = _find_unit(content, lambda head: head & 0x1F == 7)[1:4]
    name = tag if tag in _AVC_TAGS else "avc1"
    return f"{name}.{three.hex()}" if len(three) == 3 else None


def _name_hevc(content: bytes, tag: str) -> str | None:
    """Profile, compatibility, tier, level, constraints (ISO/IEC 14496-15, E.3): hvcC or VPS."""
    if content[:1] == b"\x01":
        told = content[1:13]
    else:
        # ITU-T H.265, 7.3.2.1: behind its header and four bytes of sizes stands what hvcC repeats.
        told = _find_unit(content, lambda head: head >> 1 & 0x3F == 32)[6:18]
    if len(told) < 12:
        return None
    space = ("", "A", "B", "C")[told[0] >> 6]
    tier = "H" if told[0] & 0x20 else "L"
    compatible = int(f"{int.from_bytes(told[1:5], 'big'):032b}"[::-1], 2)
    constraints = told[5:11].rstrip(b"\0")
    name = tag if tag in _HEVC_TAGS else "hvc1"
    parts = [name, f"{space}{told[0] & 0x1F}", f"{compatible:X}", f"{tier}{told[11]}"]
    return ".".join([*parts, *(f"{one:X}" for one in constraints)])


def _find_unit(content: bytes, is_wanted: Callable[[int], bool]) -> bytes:
    """Return a NAL unit of a byte stream, without what keeps it from looking like a start code."""
    for unit in re.split(b"\0\0\x01", content)[1:]:
        if unit and is_wanted(unit[0]):
            return unit.replace(b"\0\0\x03", b"\0\0")
    return b""
