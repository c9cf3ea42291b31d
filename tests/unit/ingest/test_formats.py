"""The sniffer over hand-made heads: every format, cut short, and what must never be media."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import formats
from ingest.formats import (
    FORMATS,
    SNIFF_BYTES,
    Format,
    Kind,
    ResolvedType,
    describe_unknown,
    resolve,
    sniff,
)


def box(name: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def ftyp(brand: bytes, *compatible: bytes) -> bytes:
    return box(b"ftyp", brand + bytes(4) + b"".join(compatible)) + box(b"mdat", bytes(64))


def mpeg_frames(header: bytes, frame_bytes: int, count: int = 20) -> bytes:
    return (header + bytes(frame_bytes - len(header))) * count


def adts_frames(frame_bytes: int = 200, count: int = 20) -> bytes:
    length = frame_bytes << 13
    header = b"\xff\xf1\x50" + (0x80 << 24 | length).to_bytes(4, "big")
    return (header + bytes(frame_bytes - len(header))) * count


def id3(size_bytes: int) -> bytes:
    syncsafe = bytes(size_bytes >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00\x00" + syncsafe + bytes(size_bytes)


def ogg(packet: bytes) -> bytes:
    return b"OggS\x00\x02" + bytes(20) + b"\x01" + bytes([len(packet)]) + packet


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    head = b"\x89PNG\r\n\x1a\n"
    return head + b"".join(struct.pack(">I", len(c)) + n + c + bytes(4) for n, c in chunks)


EBML = b"\x1aE\xdf\xa3\xa3\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\x42\xf3\x81\x08\x42\x82"
MP3_FRAMES = mpeg_frames(b"\xff\xfb\x90\x64", 417)
FLAC_HEAD = b"fLaC\x00\x00\x00\x22" + bytes(34)
IHDR = (b"IHDR", bytes(13))
BMP_HEAD = b"BM" + struct.pack("<IHHI", 1000, 0, 0, 54) + struct.pack("<I", 40) + bytes(36)

HEADS: dict[str, tuple[bytes, Format]] = {
    "mp4": (ftyp(b"isom", b"isom", b"iso2", b"avc1", b"mp41"), formats.MP4),
    "mp42": (ftyp(b"mp42", b"mp41"), formats.MP4),
    "mp4_avc1": (ftyp(b"avc1"), formats.MP4),
    "mp4_iso6": (ftyp(b"iso6", b"dash"), formats.MP4),
    "mp4_dash": (ftyp(b"dash"), formats.MP4),
    "m4v": (ftyp(b"M4V "), formats.MP4),
    "f4v": (ftyp(b"f4v "), formats.MP4),
    "sony_xavc": (ftyp(b"XAVC", b"mp42"), formats.MP4),
    "m4a": (ftyp(b"M4A ", b"mp42"), formats.M4A),
    "m4b": (ftyp(b"M4B "), formats.M4A),
    "mov": (ftyp(b"qt  "), formats.MOV),
    "mov_moov_first": (box(b"moov", bytes(64)), formats.MOV),
    "mov_mdat_first": (box(b"mdat", bytes(64)), formats.MOV),
    "mov_mdat_of_64_bits": (struct.pack(">I4sQ", 1, b"mdat", 2**33) + bytes(64), formats.MOV),
    "mov_wide_first": (box(b"wide") + box(b"mdat", bytes(9)), formats.MOV),
    "mov_free_first": (box(b"free", bytes(64)) + box(b"mdat", bytes(9)), formats.MOV),
    "mov_skip_first": (box(b"skip", bytes(64)), formats.MOV),
    "3gp": (ftyp(b"3gp4"), formats.THREE_GP),
    "3g2": (ftyp(b"3g2a"), formats.THREE_GP),
    "avif": (ftyp(b"avif", b"mif1"), formats.AVIF),
    "avif_sequence": (ftyp(b"avis"), formats.AVIF),
    "avif_by_its_second_brand": (ftyp(b"mif1", b"avif"), formats.AVIF),
    "heic": (ftyp(b"heic", b"mif1"), formats.HEIC),
    "heic_by_its_second_brand": (ftyp(b"mif1", b"heic"), formats.HEIC),
    "heix": (ftyp(b"heix"), formats.HEIC),
    "matroska": (EBML + b"\x88matroska", formats.MATROSKA),
    "webm": (EBML + b"\x84webm", formats.WEBM),
    "avi": (b"RIFF\x00\x10\x00\x00AVI LIST", formats.AVI),
    "flv": (b"FLV\x01\x05\x00\x00\x00\x09", formats.FLV),
    "mpegts": (mpeg_frames(b"\x47\x40\x00\x10", 188), formats.MPEG_TS),
    "avchd": (mpeg_frames(b"\x00\x00\x00\x00\x47\x40\x00\x10", 192), formats.MPEG_TS),
    "mpeg_program": (b"\x00\x00\x01\xba\x44" + bytes(64), formats.MPEG_PS),
    "asf": (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + bytes(64), formats.ASF),
    "ogg_vorbis": (ogg(b"\x01vorbis" + bytes(22)), formats.OGG),
    "ogg_opus": (ogg(b"OpusHead" + bytes(11)), formats.OGG),
    "ogg_flac": (ogg(b"\x7fFLAC\x01\x00"), formats.OGG),
    "ogg_theora": (ogg(b"\x80theora" + bytes(35)), formats.OGV),
    "ogg_theora_second": (ogg(b"\x01vorbis") + ogg(b"\x80theora"), formats.OGV),
    "ogg_vp8": (ogg(b"OVP80\x01" + bytes(20)), formats.OGV),
    "mp3_id3": (id3(300) + MP3_FRAMES, formats.MP3),
    "mp3_with_a_cover_beyond_the_head": (id3(100_000), formats.MP3),
    "mp3_bare": (MP3_FRAMES, formats.MP3),
    "mp3_with_crc": (mpeg_frames(b"\xff\xfa\x90\x64", 417), formats.MP3),
    "mp3_mpeg_2": (mpeg_frames(b"\xff\xf3\x84\x64", 348), formats.MP3),
    "mp3_mpeg_2_5": (mpeg_frames(b"\xff\xe3\x48\xc4", 216), formats.MP3),
    "mp2": (mpeg_frames(b"\xff\xfd\xa4\x00", 576), formats.MP3),
    "wav": (b"RIFF\x24\x00\x00\x00WAVEfmt ", formats.WAV),
    "wav_rf64": (b"RF64\xff\xff\xff\xffWAVEds64", formats.WAV),
    "wav_bw64": (b"BW64\xff\xff\xff\xffWAVEds64", formats.WAV),
    "flac": (FLAC_HEAD, formats.FLAC),
    "flac_behind_id3": (id3(300) + FLAC_HEAD, formats.FLAC),
    "aac": (adts_frames(), formats.AAC),
    "aac_mpeg_2": (adts_frames().replace(b"\xff\xf1", b"\xff\xf9"), formats.AAC),
    "aac_behind_id3": (id3(63) + adts_frames(), formats.AAC),
    "aiff": (b"FORM\x00\x00\x10\x00AIFFCOMM", formats.AIFF),
    "aifc": (b"FORM\x00\x00\x10\x00AIFCFVER", formats.AIFF),
    "jpeg_jfif": (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", formats.JPEG),
    "jpeg_exif": (b"\xff\xd8\xff\xe1\x12\x34Exif\x00\x00", formats.JPEG),
    "jpeg_bare": (b"\xff\xd8\xff\xdb", formats.JPEG),
    "png": (png(IHDR, (b"IDAT", bytes(9))), formats.PNG),
    "png_that_names_actl_in_its_pixels": (png(IHDR, (b"IDAT", b"acTL")), formats.PNG),
    "apng": (png(IHDR, (b"acTL", bytes(8)), (b"IDAT", bytes(9))), formats.APNG),
    "gif87": (b"GIF87a\x10\x00\x10\x00", formats.GIF),
    "gif89": (b"GIF89a\x10\x00\x10\x00", formats.GIF),
    "webp": (b"RIFF\x24\x00\x00\x00WEBPVP8 ", formats.WEBP),
    "webp_lossless": (b"RIFF\x24\x00\x00\x00WEBPVP8L", formats.WEBP),
    "webp_extended": (b"RIFF\x24\x00\x00\x00WEBPVP8X", formats.WEBP),
    "bmp": (BMP_HEAD, formats.BMP),
    "tiff_little_endian": (b"II*\x00\x08\x00\x00\x00", formats.TIFF),
    "tiff_big_endian": (b"MM\x00*\x00\x00\x00\x08", formats.TIFF),
}


@pytest.mark.parametrize(("head", "expected"), HEADS.values(), ids=HEADS)
def test_a_head_shows_its_format(head: bytes, expected: Format) -> None:
    assert sniff(head) is expected
    assert sniff(head + random.Random(1).randbytes(2 * SNIFF_BYTES)) is expected


def test_every_format_that_is_taken_has_a_head_in_the_table() -> None:
    assert {expected for _, expected in HEADS.values()} == set(FORMATS)
    assert len(set(FORMATS)) == len(FORMATS)


@pytest.mark.parametrize(("head", "expected"), HEADS.values(), ids=HEADS)
def test_a_head_cut_anywhere_raises_nothing(head: bytes, expected: Format) -> None:
    for end in range(min(len(head), 600)):
        found = sniff(head[:end])
        assert found is None or found in FORMATS
        assert describe_unknown(head[:end])


NO_MEDIA: dict[str, tuple[bytes, str]] = {
    "html": (b"<!DOCTYPE html><html><head><title>Log in</title>", "an HTML page"),
    "html_in_capitals": (b"<HTML><BODY>404", "an HTML page"),
    "html_after_space": (b"\r\n\t  <html lang=en>", "an HTML page"),
    "html_after_bom": (b"\xef\xbb\xbf<!doctype html>", "an HTML page"),
    "html_after_a_comment": (b"<!-- saved from url --><html>", "an HTML page"),
    "html_after_xml": (b'<?xml version="1.0"?><!DOCTYPE html><html xmlns="x">', "an HTML page"),
    "html_fragment": (b"<head><meta http-equiv=refresh>", "an HTML page"),
    "html_with_a_drawing": (b"<html><svg></svg>", "an HTML page"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
    "svg_after_xml": (b'<?xml version="1.0"?>\n<svg width="1">', "an SVG drawing"),
    "svg_with_doctype": (b'<!DOCTYPE svg PUBLIC "x"><svg>', "an SVG drawing"),
    "hls": (b"#EXTM3U\n#EXT-X-VERSION:3\n", "a playlist"),
    "hls_after_bom": (b"\xef\xbb\xbf#EXTM3U\n", "a playlist"),
    "dash": (b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash">', "plain text"),
    "concat": (b"ffconcat version 1.0\nfile '/etc/passwd'\n", "plain text"),
    "sdp": (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=audio 5004 RTP/AVP 0\r\n", "plain text"),
    "ffmetadata": (b";FFMETADATA1\ntitle=x\n", "plain text"),
    "pls": (b"[playlist]\nFile1=http://x\n", "JSON or text"),
    "json": (b'{"error": "not found"}', "JSON or text"),
    "json_list": (b' [{"a": 1}]', "JSON or text"),
    "s3_error": (b"<?xml version='1.0'?>\n<Error><Code>AccessDenied</Code>", "plain text"),
    "git_lfs_pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:", "plain text"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF document"),
    "postscript": (b"%!PS-Adobe-3.0\n", "plain text"),
    "zip": (b"PK\x03\x04\x14\x00\x00\x00", "an archive"),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "an archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c\x00\x04", "an archive"),
    "rar": (b"Rar!\x1a\x07\x01\x00", "an archive"),
    "elf": (b"\x7fELF\x02\x01\x01\x00", "binary data"),
    "windows_program": (b"MZ\x90\x00\x03\x00\x00\x00", "binary data"),
    "sqlite": (b"SQLite format 3\x00\x10\x00", "binary data"),
    "flash": (b"CWS\x09\x00\x00\x00\x00", "binary data"),
    "midi": (b"MThd\x00\x00\x00\x06", "binary data"),
    "icon": (b"\x00\x00\x01\x00\x01\x00\x10\x10", "binary data"),
    "photoshop": (b"8BPS\x00\x01\x00\x00", "binary data"),
    # A bare stream of frames says neither how long it is nor when each is shown.
    "mpeg_elementary": (b"\x00\x00\x01\xb3\x14" + bytes(64), "binary data"),
    "canon_raw": (ftyp(b"crx ", b"isom"), "binary data"),
    "jpeg_2000": (box(b"jP  ", b"\r\n\x87\n") + ftyp(b"jp2 "), "binary data"),
    "jpeg_xl": (box(b"JXL ", b"\r\n\x87\n") + ftyp(b"jxl "), "binary data"),
    "riff_of_nothing_known": (b"RIFF\x24\x00\x00\x00ACONLIST", "binary data"),
    "form_of_nothing_known": (b"FORM\x00\x00\x10\x00ILBMBMHD", "binary data"),
    "text": ("Päivää, maailma\n".encode(), "plain text"),
    "text_cut_in_a_character": (("a" * 1023 + "ä").encode(), "plain text"),
    "text_that_says_ftyp": (b"The ftypmp42 box comes first.", "plain text"),
    "text_that_says_moov": (b"The moov box comes first.", "plain text"),
    "text_that_says_mdat": (b"An: mdat box comes second.", "plain text"),
    "text_that_begins_like_a_bitmap": (b"BMW is a maker of cars in Munich.", "plain text"),
    "text_that_begins_like_a_tiff": (b"II*III", "plain text"),
    "text_in_utf_16": ("\ufeffHello, this is text.".encode("utf-16-le"), "binary data"),
    "long_text_in_utf_16": (("\ufeff" + "Hello " * 900).encode("utf-16-le"), "binary data"),
    "text_in_utf_16_be": ("\ufeffHello, this is text.".encode("utf-16-be"), "binary data"),
    "zeros": (bytes(SNIFF_BYTES), "binary data"),
    "ones": (b"\xff" * SNIFF_BYTES, "binary data"),
    "mp3_header_once_in_noise": (b"\xff\xfb\x90\x64" + bytes(SNIFF_BYTES), "binary data"),
    "aac_header_once_in_noise": (adts_frames(count=1) + bytes(SNIFF_BYTES), "binary data"),
    "mp3_with_a_rate_that_is_none": (mpeg_frames(b"\xff\xfb\x9c\x64", 417), "binary data"),
    "mp3_with_a_bitrate_that_is_none": (mpeg_frames(b"\xff\xfb\xf0\x64", 417), "binary data"),
    "sync_byte_once": (b"\x47" + bytes(SNIFF_BYTES), "binary data"),
}


@pytest.mark.parametrize(("head", "description"), NO_MEDIA.values(), ids=NO_MEDIA)
def test_what_is_no_media_is_told_apart_and_named(head: bytes, description: str) -> None:
    assert sniff(head) is None
    assert describe_unknown(head).startswith(description)


@pytest.mark.parametrize("head", [b"", b"\x00", b"\xff", b"I", b"RIFF", b"Ogg", b"\x89PNG"])
def test_too_little_to_tell_is_no_media(head: bytes) -> None:
    assert sniff(head) is None


def test_a_file_of_one_frame_has_no_second_to_ask_for() -> None:
    assert sniff(mpeg_frames(b"\xff\xfb\x90\x64", 417, 1)) is formats.MP3
    assert sniff(adts_frames(count=1)) is formats.AAC


@pytest.mark.parametrize("seed", range(200))
def test_random_bytes_are_no_media(seed: int) -> None:
    assert sniff(random.Random(seed).randbytes(SNIFF_BYTES)) is None


@pytest.mark.parametrize(
    "start", [b"\xff\xfb\x90", b"\xff\xf1\x50", b"\xff\xe3\x48", b"\x47", b"BM", b"ID2"]
)
def test_noise_that_begins_like_media_is_seen_through_in_99_of_100_cases(start: bytes) -> None:
    noises = [start + random.Random(seed).randbytes(SNIFF_BYTES) for seed in range(500)]
    assert sum(sniff(noise) is not None for noise in noises) < 5


@given(text=st.text())
def test_text_is_never_media(text: str) -> None:
    for encoding in ("utf-8", "utf-16"):
        encoded = text.encode(encoding, errors="replace")
        found = sniff(encoded)
        # Text may spell out a magic number on purpose; it does not do so by chance.
        assert found is None or encoded[:3] in {b"GIF", b"FLV", b"ID3", b"Ogg"}


@given(head=st.binary(max_size=200), at=st.integers(0, 199))
def test_any_bytes_are_sniffed_and_described_without_error(head: bytes, at: int) -> None:
    for start, _ in HEADS.values():
        mixed = start[:at] + head
        found = sniff(mixed)
        assert found is None or found in FORMATS
        assert describe_unknown(mixed)


def test_only_the_first_4096_bytes_are_looked_at() -> None:
    assert sniff(png(IHDR, (b"tEXt", bytes(SNIFF_BYTES)), (b"acTL", bytes(8)))) is formats.PNG
    assert sniff(bytes(SNIFF_BYTES) + HEADS["mp4"][0]) is None


@pytest.mark.parametrize("taken", FORMATS, ids=lambda taken: f"{taken.container}-{taken.kind}")
def test_a_format_is_described_in_known_words(taken: Format) -> None:
    family = {Kind.VIDEO: "video/", Kind.AUDIO: "audio/", Kind.IMAGE: "image/"}[taken.kind]
    assert taken.type.startswith(family)
    assert taken.extension.isalnum()
    assert taken.extension == taken.extension.lower()
    assert (taken.audio_type is None) is (taken.audio_extension is None)
    if taken.audio_type is not None:
        assert taken.kind is Kind.VIDEO
        assert taken.audio_type.startswith("audio/")


def test_no_demuxer_that_opens_other_addresses_is_ever_named() -> None:
    dangerous = {"hls", "dash", "concat", "sdp", "rtsp", "rtp", "svg_pipe", "image2", "imf", "tty"}
    assert not dangerous & {taken.demuxer for taken in FORMATS}
    assert not any(set(",:;/") & set(taken.demuxer) for taken in FORMATS)


@pytest.mark.parametrize(
    ("sniffed", "has_video", "has_audio", "expected"),
    [
        (formats.MP4, True, True, ResolvedType(Kind.VIDEO, "video/mp4", "mp4")),
        (formats.MP4, True, False, ResolvedType(Kind.VIDEO, "video/mp4", "mp4")),
        (formats.MP4, False, True, ResolvedType(Kind.AUDIO, "audio/mp4", "m4a")),
        (formats.MP4, False, False, ResolvedType(Kind.VIDEO, "video/mp4", "mp4")),
        (formats.M4A, False, True, ResolvedType(Kind.AUDIO, "audio/mp4", "m4a")),
        (formats.WEBM, False, True, ResolvedType(Kind.AUDIO, "audio/webm", "webm")),
        (formats.MATROSKA, False, True, ResolvedType(Kind.AUDIO, "audio/x-matroska", "mka")),
        (formats.ASF, False, True, ResolvedType(Kind.AUDIO, "audio/x-ms-wma", "wma")),
        (formats.OGV, True, True, ResolvedType(Kind.VIDEO, "video/ogg", "ogv")),
        (formats.OGV, False, True, ResolvedType(Kind.AUDIO, "audio/ogg", "ogg")),
        (formats.OGG, False, True, ResolvedType(Kind.AUDIO, "audio/ogg", "ogg")),
        (formats.THREE_GP, False, True, ResolvedType(Kind.AUDIO, "audio/3gpp", "3gp")),
        (formats.MP3, False, True, ResolvedType(Kind.AUDIO, "audio/mpeg", "mp3")),
        (formats.MOV, True, True, ResolvedType(Kind.VIDEO, "video/quicktime", "mov")),
        (formats.MOV, False, True, ResolvedType(Kind.AUDIO, "video/quicktime", "mov")),
        (formats.GIF, True, False, ResolvedType(Kind.IMAGE, "image/gif", "gif")),
        (formats.JPEG, True, False, ResolvedType(Kind.IMAGE, "image/jpeg", "jpg")),
        (formats.AVIF, True, False, ResolvedType(Kind.IMAGE, "image/avif", "avif")),
    ],
)
def test_kind_and_type_are_settled_by_the_streams(
    sniffed: Format, expected: ResolvedType, *, has_video: bool, has_audio: bool
) -> None:
    assert resolve(sniffed, has_video=has_video, has_audio=has_audio) == expected
