"""Codecs as RFC 6381 names them: said by ffprobe, or made of what is exact, or not at all."""

from __future__ import annotations

import pytest

from workers.codec_strings import find_private_data_wanted, join_codecs, name_codec


def dump(content: bytes) -> str:
    """Return bytes as ffprobe prints them."""
    lines = []
    for at in range(0, len(content), 16):
        piece = content[at : at + 16]
        words = " ".join(piece[n : n + 2].hex() for n in range(0, len(piece), 2))
        text = "".join(chr(one) if 32 <= one < 127 else "." for one in piece)
        lines.append(f"{at:08x}: {words:<39}  {text}")
    return "\n" + "\n".join(lines) + "\n"


def test_what_ffprobe_says_is_taken_if_it_looks_like_one() -> None:
    assert name_codec({"codec_name": "h264", "mime_codec_string": "avc1.64001f"}) == "avc1.64001f"
    for said in ("a\nb", "x" * 100, "", 5, "a b"):
        assert name_codec({"codec_name": "h264", "mime_codec_string": said}) is None


@pytest.mark.parametrize(
    ("stream", "string"),
    [
        ({"codec_name": "aac", "profile": "LC"}, "mp4a.40.2"),
        ({"codec_name": "aac", "profile": "HE-AAC"}, "mp4a.40.5"),
        ({"codec_name": "aac", "profile": "HE-AACv2"}, "mp4a.40.29"),
        ({"codec_name": "aac"}, None),
        ({"codec_name": "opus"}, "opus"),
        ({"codec_name": "flac"}, "flac"),
        ({"codec_name": "ac3"}, "ac-3"),
        ({"codec_name": "eac3"}, "ec-3"),
        ({"codec_name": "vp8"}, "vp8"),
        ({"codec_name": "vp9", "profile": "Profile 0", "level": -99}, None),
        ({"codec_name": "h264", "profile": "High", "level": 31}, None),
        ({"codec_name": "pcm_s16le"}, None),
        ({}, None),
    ],
)
def test_what_it_does_not_say_is_told_where_it_is_exact(
    stream: dict[str, object], string: str | None
) -> None:
    assert name_codec(stream) == string


# ISO/IEC 14496-15: version, then profile, compatibility, level.
AVCC = bytes.fromhex("0164001fffe1001a6764001facd9405005bb")
# x265, Main at level 2.0: version, then general_profile_tier_level.
HVCC = bytes.fromhex("0101600000009000000000003cf000fcfdf8f8")


@pytest.mark.parametrize(
    ("stream", "private", "string"),
    [
        ({"codec_name": "h264", "codec_tag_string": "avc1"}, AVCC, "avc1.64001f"),
        ({"codec_name": "h264", "codec_tag_string": "avc3"}, AVCC, "avc3.64001f"),
        ({"codec_name": "h264", "codec_tag_string": "[27][0][0][0]"},
         b"\0\0\0\x01\x67\x42\xc0\x1e\xda\0\0\x01\x68", "avc1.42c01e"),
        ({"codec_name": "hevc", "codec_tag_string": "hvc1"}, HVCC, "hvc1.1.6.L60.90"),
        ({"codec_name": "hevc", "codec_tag_string": "hev1"}, HVCC, "hev1.1.6.L60.90"),
        ({"codec_name": "hevc", "codec_tag_string": "HEVC"}, HVCC, "hvc1.1.6.L60.90"),
        # A byte stream: VPS with the same, and a byte that keeps it from looking like a start code.
        ({"codec_name": "hevc"},
         bytes.fromhex("0000000140010c01ffff01600000030090000003000003003c95980900000001420101"),
         "hvc1.1.6.L60.90"),
        ({"codec_name": "hevc"}, bytes.fromhex("012220000000b00000000000b4"),
         "hvc1.2.4.H180.B0"),
        ({"codec_name": "hevc"}, b"\x01\x01", None),
        ({"codec_name": "hevc"}, b"", None),
        ({"codec_name": "h264"}, b"\x01\x64", None),
        ({"codec_name": "h264"}, b"\0\0\x01", None),
    ],
)  # fmt: skip
def test_profile_and_level_are_read_from_the_decoders_configuration(
    stream: dict[str, object], private: bytes, string: str | None
) -> None:
    assert name_codec(stream, dump(private)) == string


def test_a_dump_that_is_none_tells_nothing() -> None:
    for text in ("", "nonsense", "00000000: zz", "\0" * 100):
        assert name_codec({"codec_name": "hevc"}, text) is None


def test_dolby_vision_is_named_by_its_own_record() -> None:
    record = {"side_data_type": "DOVI configuration record", "dv_profile": 5, "dv_level": 6}
    stream = {"codec_name": "hevc", "codec_tag_string": "dvh1", "side_data_list": [record]}
    assert name_codec(stream) == "dvh1.05.06"
    assert name_codec({**stream, "side_data_list": []}) is None


def test_a_configuration_is_asked_for_once_and_only_where_it_is_needed() -> None:
    def want(*streams: dict[str, object]) -> int | None:
        return find_private_data_wanted({"streams": list(streams)})

    hevc: dict[str, object] = {"index": 1, "codec_name": "hevc", "extradata_size": 2408}
    assert want({"index": 0, "codec_name": "aac"}, hevc, {**hevc, "index": 2}) == 1
    assert want({**hevc, "mime_codec_string": "hvc1.1.6.L60.90"}) is None
    assert want({**hevc, "extradata_size": 10_000_000}) is None
    assert want({"index": 0, "codec_name": "vp9", "extradata_size": 5}) is None
    assert want() is None


def test_the_strings_of_all_streams_are_joined_or_there_is_none() -> None:
    assert join_codecs(["avc1.64001f", "mp4a.40.2"]) == "avc1.64001f,mp4a.40.2"
    assert join_codecs(["opus", "opus"]) == "opus"
    assert join_codecs(["avc1.64001f", None]) is None
    assert join_codecs([]) is None
