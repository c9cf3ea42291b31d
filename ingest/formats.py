"""The media formats Headrace takes: one table of container, types and demuxer, and a sniffer.

Type comes from content, never from a header or an extension (docs/decisions.md). The table is also
the whitelist: what :func:`sniff` does not know is ``source_not_media``, and ffprobe is started with
the one demuxer of the sniffed row, so playlists (HLS, DASH), ``concat``, SDP and SVG are never even
tried.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a file is to a person."""

    VIDEO = "video"
    AUDIO = "audio"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Format:
    """One container.

    ``demuxer`` is ffprobe's name for it; ``audio_type`` and ``audio_extension`` apply when the
    container can hold video and this file has none.
    """

    container: str
    kind: Kind
    type: str
    extension: str
    demuxer: str
    audio_type: str | None = None
    audio_extension: str | None = None


@dataclass(frozen=True, slots=True)
class ResolvedType:
    """Kind, MIME type and extension once the streams are known."""

    kind: Kind
    type: str
    extension: str


_V, _A, _I = Kind.VIDEO, Kind.AUDIO, Kind.IMAGE

MP4 = Format("mp4", _V, "video/mp4", "mp4", "mp4", "audio/mp4", "m4a")
M4A = Format("mp4", _A, "audio/mp4", "m4a", "mp4")
MOV = Format("mov", _V, "video/quicktime", "mov", "mov")
THREE_GP = Format("3gp", _V, "video/3gpp", "3gp", "3gp", "audio/3gpp", "3gp")
MATROSKA = Format("matroska", _V, "video/x-matroska", "mkv", "matroska", "audio/x-matroska", "mka")
WEBM = Format("webm", _V, "video/webm", "webm", "matroska", "audio/webm", "webm")
AVI = Format("avi", _V, "video/x-msvideo", "avi", "avi")
FLV = Format("flv", _V, "video/x-flv", "flv", "flv")
MPEG_TS = Format("mpegts", _V, "video/mp2t", "ts", "mpegts")
MPEG_PS = Format("mpeg", _V, "video/mpeg", "mpg", "mpeg")
ASF = Format("asf", _V, "video/x-ms-wmv", "wmv", "asf", "audio/x-ms-wma", "wma")
OGV = Format("ogg", _V, "video/ogg", "ogv", "ogg", "audio/ogg", "ogg")
OGG = Format("ogg", _A, "audio/ogg", "ogg", "ogg")
MP3 = Format("mp3", _A, "audio/mpeg", "mp3", "mp3")
WAV = Format("wav", _A, "audio/wav", "wav", "wav")
FLAC = Format("flac", _A, "audio/flac", "flac", "flac")
AAC = Format("aac", _A, "audio/aac", "aac", "aac")
AIFF = Format("aiff", _A, "audio/aiff", "aiff", "aiff")
JPEG = Format("jpeg", _I, "image/jpeg", "jpg", "jpeg_pipe")
PNG = Format("png", _I, "image/png", "png", "png_pipe")
APNG = Format("apng", _I, "image/apng", "png", "apng")
GIF = Format("gif", _I, "image/gif", "gif", "gif")
WEBP = Format("webp", _I, "image/webp", "webp", "webp_pipe")
BMP = Format("bmp", _I, "image/bmp", "bmp", "bmp_pipe")
TIFF = Format("tiff", _I, "image/tiff", "tiff", "tiff_pipe")
AVIF = Format("avif", _I, "image/avif", "avif", "mov")
HEIC = Format("heic", _I, "image/heic", "heic", "mov")

FORMATS = (
    MP4, M4A, MOV, THREE_GP, MATROSKA, WEBM, AVI, FLV, MPEG_TS, MPEG_PS, ASF, OGV, OGG, MP3, WAV,
    FLAC, AAC, AIFF, JPEG, PNG, APNG, GIF, WEBP, BMP, TIFF, AVIF, HEIC,
)  # fmt: skip

# The longest look the sniffer takes: MPEG-TS shows its sync byte every 188 bytes, and the animation
# chunk of a PNG or the DocType of Matroska stand within the first kilobytes.
SNIFF_BYTES = 4096

_UNTAKEN: tuple[tuple[tuple[bytes, ...], str], ...] = (
    ((b"<!doctype html", b"<html", b"<head", b"<body"), "an HTML page"),
    ((b"#extm3u",), "a playlist"),
    ((b"{", b"["), "JSON or text"),
    ((b"%pdf",), "a PDF document"),
    ((b"pk\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"rar!"), "an archive"),
)

_ISO_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"})
# Layer II at 384 kbit/s and 32 kHz.
_LONGEST_MPEG_FRAME_BYTES = 1729
_ASF_GUID = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")


def sniff(head: bytes) -> Format | None:
    """Return the format that the first bytes of a file show, or None for none of ours.

    Args:
        head: the start of the file, :data:`SNIFF_BYTES` or more where it has them.
    """
    for rule in _RULES:
        found = rule(head[:SNIFF_BYTES])
        if found is not None:
            return found
    return None


def describe_unknown(head: bytes) -> str:
    """Say in a few words what bytes that are no media look like, for the error message."""
    start = head[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for magics, description in _UNTAKEN:
        if start.startswith(magics):
            return description
    if b"<html" in start:
        return "an HTML page"
    if b"<svg" in start:
        return "an SVG drawing"
    return "plain text" if _is_text(head[:1024]) else "binary data of no known media format"


def _is_text(head: bytes) -> bool:
    if b"\x00" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # A multi-byte character cut at the very end is still text.
        return error.start >= len(head) - 3
    return True


def resolve(sniffed: Format, *, has_video: bool, has_audio: bool) -> ResolvedType:
    """Settle kind and type from the sniffed container and the streams that ffprobe found.

    ``has_video`` leaves cover art out: a song with a picture is a song.
    """
    if sniffed.kind is Kind.VIDEO and has_audio and not has_video:
        return ResolvedType(
            Kind.AUDIO,
            sniffed.audio_type or sniffed.type,
            sniffed.audio_extension or sniffed.extension,
        )
    return ResolvedType(sniffed.kind, sniffed.type, sniffed.extension)


def _sniff_image(head: bytes) -> Format | None:
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return APNG if b"acTL" in head.partition(b"IDAT")[0] else PNG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return GIF
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WEBP
    if head.startswith(b"BM") and head[6:10] == bytes(4) and len(head) >= 26:
        return BMP
    if head.startswith((b"II*\x00", b"MM\x00*")):
        return TIFF
    return None


def _sniff_iso_media(head: bytes) -> Format | None:
    # Four letters in the fifth place may stand in a sentence too.
    if head[4:8] not in _ISO_BOXES or _is_text(head):
        return None
    if head[4:8] != b"ftyp":
        return MOV
    brand = head[8:12]
    brands = {brand} | {head[i : i + 4] for i in range(16, min(head[3], 128), 4)}
    if brand in {b"avif", b"avis"}:
        return AVIF
    if brand in {b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"}:
        return AVIF if b"avif" in brands else HEIC
    if brand == b"crx ":
        # A raw photograph of a Canon camera.
        return None
    if brand == b"qt  ":
        return MOV
    if brand in {b"M4A ", b"M4B ", b"M4P "}:
        return M4A
    return THREE_GP if brand.startswith((b"3gp", b"3g2")) else MP4


def _sniff_stream(head: bytes) -> Format | None:
    if head.startswith(b"\x1aE\xdf\xa3"):
        return WEBM if b"webm" in head[:64] else MATROSKA
    if head.startswith(b"RIFF"):
        return {b"WAVE": WAV, b"AVI ": AVI}.get(head[8:12])
    if head.startswith((b"RF64", b"BW64")) and head[8:12] == b"WAVE":
        return WAV
    if head.startswith(b"FORM") and head[8:12] in {b"AIFF", b"AIFC"}:
        return AIFF
    if head.startswith(b"OggS"):
        # The first page of each stream names its codec.
        return OGV if b"\x80theora" in head or b"OVP80" in head else OGG
    for magic, found in ((b"FLV\x01", FLV), (b"fLaC", FLAC), (_ASF_GUID, ASF)):
        if head.startswith(magic):
            return found
    return MPEG_PS if head.startswith(b"\x00\x00\x01\xba") else None


def _sniff_frames(head: bytes) -> Format | None:
    if head.startswith(b"ID3"):
        # Made for MP3, and put before other sound as well.
        return _sniff_sound(head[_measure_id3(head) :]) or MP3
    # Packets of 188 bytes, or of 192 on cameras and discs, which put four bytes before each.
    for packet_bytes, sync_at in ((188, 0), (192, 4)):
        syncs = head[sync_at : sync_at + 2 * packet_bytes + 1 : packet_bytes]
        if syncs == b"\x47\x47\x47":
            return MPEG_TS
    return _sniff_sound(head)


def _measure_id3(head: bytes) -> int:
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size


def _sniff_sound(head: bytes) -> Format | None:
    if head.startswith(b"fLaC"):
        return FLAC
    if len(head) < 7 or head[0] != 0xFF:
        return None
    if head[1] & 0xF6 == 0xF0:
        return AAC if _has_next_aac_frame(head) else None
    # Layer I, which nobody uses, has the bits of a UTF-16 byte order mark.
    layer, bitrate, rate = head[1] >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3
    if head[1] & 0xE0 != 0xE0 or layer not in {1, 2} or bitrate in {0, 15} or rate == 3:
        return None
    return MP3 if _has_next_mpeg_frame(head) else None


def _has_next_aac_frame(head: bytes) -> bool:
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    if length < 7:
        return False
    if length + 2 > len(head):
        # Cut short: it can't be told. No real frame is as long as a whole head.
        return len(head) < SNIFF_BYTES
    return head[length : length + 2] == head[:2]


def _has_next_mpeg_frame(head: bytes) -> bool:
    # The next header repeats the version, layer and rate of the first.
    if len(head) < _LONGEST_MPEG_FRAME_BYTES + 3:
        return True
    rate = head[2] & 0x0C
    at = head.find(head[:2], 24, _LONGEST_MPEG_FRAME_BYTES + 2)
    while at != -1 and head[at + 2] & 0x0C != rate:
        at = head.find(head[:2], at + 1, _LONGEST_MPEG_FRAME_BYTES + 2)
    return at != -1


_RULES: tuple[Callable[[bytes], Format | None], ...] = (
    _sniff_image,
    _sniff_iso_media,
    _sniff_stream,
    _sniff_frames,
)
