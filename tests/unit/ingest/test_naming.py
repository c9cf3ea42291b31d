"""Names that people wrote are kept or refused; names that sources claim are made harmless."""

from __future__ import annotations

import unicodedata
from email.message import Message
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import FieldInvalid
from ingest.ids import Prefix, make_id
from ingest.naming import (
    MAX_KEY_BYTES,
    MAX_SEGMENT_BYTES,
    check_filename,
    check_folder,
    clean_source_name,
    make_disposition,
    make_key,
    name_poster,
    number_name,
)
from ingest.urls import parse_source_url

FAMILY = "👨\u200d👩\u200d👧\u200d👦"
FINLAND = "🇫🇮"
# The flag of a part of a country is spelled in invisible tag characters.
SCOTLAND = "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"

KEPT = {
    "plain": "video.mp4",
    "no_extension": "video",
    "hidden": ".hidden",
    "two_extensions": "video.tar.gz",
    "three_dots": "...",
    "dots_inside": "a..b",
    "trailing_dot": "video.",
    "space_inside": "my holiday video.mp4",
    "url_characters": "a?b#c&d=e+f%2F%00.mp4",
    "shell_characters": "$(rm -rf ~);`id`|x.mp4",
    "quotes": '"it\'s".mp4',
    "windows_device": "CON",
    "windows_device_with_extension": "nul.mp4",
    "windows_colon": "C:video.mp4",
    "windows_stream": "video.mp4::$DATA",
    "windows_wildcards": "<a>*?.mp4",
    "umlaut": "Übergröße.mp4",
    "japanese": "動画.mp4",
    "arabic": "فيديو.mp4",
    "fullwidth_slash": "a\uff0fb",
    "division_slash": "a\u2215b",
    "one_dot_leader": "\u2024\u2024",
    "emoji": "🎬.mp4",
    "emoji_with_variation": "❤️.mp4",
    "emoji_with_skin": "👍🏽.mp4",
    "emoji_family": f"{FAMILY}.mp4",
    "emoji_flag": f"{FINLAND}.mp4",
    "longest": "a" * MAX_SEGMENT_BYTES,
    "longest_in_bytes": "ä" * (MAX_SEGMENT_BYTES // 2) + "a",
    "task_id": make_id(Prefix.TASK),
    "almost_a_file_id": "file_1",
    "file_id_in_capitals": make_id(Prefix.FILE).upper(),
    "file_id_and_more": f"{make_id(Prefix.FILE)}x.mp4",
    "file_id_behind": f"x{make_id(Prefix.FILE)}",
}

REFUSED = {
    "dot": (".", "would leave its place"),
    "two_dots": ("..", "would leave its place"),
    "backslash": ("a\\b", "backslash"),
    "two_dots_and_backslash": ("..\\..\\b", "backslash"),
    "nul": ("a\x00b", r"U\+0000"),
    "line_feed": ("a\nb", r"U\+000A"),
    "line_feed_at_the_end": ("a\n", r"U\+000A"),
    "carriage_return": ("a\rb", r"U\+000D"),
    "tab": ("a\tb", r"U\+0009"),
    "escape": ("a\x1b[31m", r"U\+001B"),
    "delete": ("a\x7fb", r"U\+007F"),
    "c1": ("a\x9bb", r"U\+009B"),
    "soft_hyphen": ("a\u00adb", r"U\+00AD"),
    "zero_width_space": ("a\u200bb", r"U\+200B"),
    "byte_order_mark": ("\ufeffa", r"U\+FEFF"),
    "right_to_left_mark": ("a\u200fb", r"U\+200F"),
    "right_to_left_override": ("gpj.\u202egp4", r"U\+202E"),
    "isolate": ("a\u2066b", r"U\+2066"),
    "line_separator": ("a\u2028b", r"U\+2028"),
    "paragraph_separator": ("a\u2029b", r"U\+2029"),
    "surrogate": ("a\ud800b", r"U\+D800"),
    "private_use": ("a\ue000b", r"U\+E000"),
    "noncharacter": ("a\uffffb", r"U\+FFFF"),
    "flag_of_tags": (SCOTLAND, r"U\+E0067"),
    "leading_space": (" a", "white space"),
    "trailing_space": ("a ", "white space"),
    "space_alone": (" ", "white space"),
    "no_break_space_at_the_end": ("a\u00a0", "white space"),
    "ideographic_space_first": ("\u3000a", "white space"),
    "2000_characters": ("a" * 2000, "2000 bytes"),
    "one_byte_too_long": ("a" * (MAX_SEGMENT_BYTES + 1), "256 bytes"),
    "too_long_in_bytes": ("ä" * 128, "256 bytes"),
}
REFUSED_FILENAMES = {
    "empty": ("", "is empty"),
    "leading_slash": ("/a", "contains '/'"),
    "folder": ("a/b", "contains '/'"),
    "climbing": ("../a", "contains '/'"),
    "slash_alone": ("/", "contains '/'"),
    "file_id": (make_id(Prefix.FILE), "shape of a file id"),
    "file_id_with_extension": (f"{make_id(Prefix.FILE)}.mp4", "shape of a file id"),
    "file_id_with_two_extensions": (f"{make_id(Prefix.FILE)}.tar.gz", "shape of a file id"),
    "poster": (name_poster(make_id(Prefix.FILE)), "shape of a file id"),
    "file_id_with_dot": (f"{make_id(Prefix.FILE)}.", "shape of a file id"),
}
REFUSED_FOLDERS = {
    "empty": ("", "is empty"),
    "leading_slash": ("/a", "starts with '/'"),
    "slash_alone": ("/", "starts with '/'"),
    "two_slashes": ("//", "starts with '/'"),
    "climbing": ("../a", "would leave its place"),
    "climbing_inside": ("a/../b", "would leave its place"),
    "climbing_at_the_end": ("a/..", "would leave its place"),
    "climbing_with_slash_at_the_end": ("a/../", "would leave its place"),
    "dot_inside": ("a/./b", "would leave its place"),
    "empty_part": ("a//b", "empty part"),
    "two_slashes_at_the_end": ("a//", "empty part"),
    "space_before_slash": ("a /b", "white space"),
    "space_after_slash": ("a/ b", "white space"),
    "control_in_second_part": ("a/b\x00", r"U\+0000"),
    "too_long_in_all": ("/".join(["a" * 200] * 6), "1205 bytes"),
}


@pytest.mark.parametrize("name", KEPT.values(), ids=KEPT)
def test_a_name_that_harms_nobody_is_kept_as_it_is(name: str) -> None:
    assert check_filename(name) == name
    assert check_folder(name) == name
    assert check_folder(f"a/{name}") == f"a/{name}"


@pytest.mark.parametrize(
    ("name", "reason"),
    [*REFUSED.values(), *REFUSED_FILENAMES.values()],
    ids=[*REFUSED, *REFUSED_FILENAMES],
)
def test_a_bad_filename_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(FieldInvalid, match=reason) as caught:
        check_filename(name)
    assert caught.value.param == "filename"
    assert "'filename'" in caught.value.message
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("name", "reason"),
    [*REFUSED.values(), *REFUSED_FOLDERS.values()],
    ids=[*REFUSED, *REFUSED_FOLDERS],
)
def test_a_bad_folder_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(FieldInvalid, match=reason) as caught:
        check_folder(name)
    assert caught.value.param == "folder"
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("place", ["{}/x", "x/{}", "x/{}/y", "{}/"])
@pytest.mark.parametrize(("name", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_bad_part_is_refused_wherever_it_stands_in_a_folder(
    name: str, reason: str, place: str
) -> None:
    with pytest.raises(FieldInvalid, match=reason):
        check_folder(place.format(name))


def test_a_folder_may_end_in_one_slash_and_loses_it() -> None:
    assert check_folder("a/b/") == "a/b"


def test_a_folder_may_look_like_a_file_id_for_no_file_is_named_so() -> None:
    assert check_folder(folder := make_id(Prefix.FILE)) == folder


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("u\u0308ber", "über"),
        ("cafe\u0301.mp4", "café.mp4"),
        ("か\u3099", "が"),
        ("\u212bngström", "Ångström"),
        ("\u1100\u1161", "가"),
    ],
    ids=["umlaut", "accent", "voiced_kana", "angstrom_sign", "hangul"],
)
def test_a_decomposed_name_is_composed(written: str, kept: str) -> None:
    assert check_filename(written) == kept
    assert check_folder(written) == kept


def test_two_spellings_of_one_name_are_one_key() -> None:
    composed, decomposed = "über.mp4", "u\u0308ber.mp4"
    assert make_key("", None, check_filename(composed)) == make_key(
        "", None, check_filename(decomposed)
    )


@pytest.mark.parametrize(
    ("prefix", "folder", "key"),
    [
        ("", None, "a.mp4"),
        ("", "f", "f/a.mp4"),
        ("p", None, "p/a.mp4"),
        ("p/q", "f/g", "p/q/f/g/a.mp4"),
    ],
)
def test_a_key_is_prefix_folder_and_filename(prefix: str, folder: str | None, key: str) -> None:
    assert make_key(prefix, folder, "a.mp4") == key


def test_a_key_takes_1024_bytes_and_not_one_more() -> None:
    folder = "/".join(["a" * 200] * 5)
    filename = "b" * (MAX_KEY_BYTES - len(folder) - 1)
    assert len(make_key("", folder, filename)) == MAX_KEY_BYTES
    with pytest.raises(FieldInvalid, match="1025 bytes") as caught:
        make_key("", folder, filename + "b")
    assert caught.value.param == "filename"
    with pytest.raises(FieldInvalid, match="1026 bytes"):
        make_key("p", folder, filename)


def test_a_key_is_measured_in_bytes() -> None:
    folder = "/".join(["ä" * 127] * 4)
    with pytest.raises(FieldInvalid, match="bytes"):
        make_key("", folder, "b" * 10)


_TRICKS = st.sampled_from(["/", ".", "..", "\\", " ", "\x00", "\u0301", "\u200d", "\u2028", "a"])
_NAMES = st.lists(st.one_of(_TRICKS, st.text(max_size=5)), max_size=12).map("".join)


@given(prefix=st.sampled_from(["", "p", "p/q"]), folder=_NAMES, filename=_NAMES)
def test_a_key_never_leaves_its_place(prefix: str, folder: str, filename: str) -> None:
    try:
        kept_folder, kept_filename = check_folder(folder), check_filename(filename)
        key = make_key(prefix, kept_folder, kept_filename)
    except FieldInvalid:
        return
    segments = key.split("/")
    assert segments[: len(prefix.split("/"))] == prefix.split("/") or not prefix
    assert segments[-1] == kept_filename
    assert not {"", ".", ".."} & set(segments)
    assert key == unicodedata.normalize("NFC", key)
    assert len(key.encode()) <= MAX_KEY_BYTES
    assert all(unicodedata.category(char) not in {"Cc", "Cs"} for char in key)


@given(name=_NAMES)
def test_any_name_is_kept_or_refused_and_what_is_kept_stays(name: str) -> None:
    for check in (check_filename, check_folder):
        try:
            kept = check(name)
        except FieldInvalid:
            continue
        assert check(kept) == kept
        assert kept.rstrip("/") == unicodedata.normalize("NFC", name).rstrip("/")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/video.mp4", "video.mp4"),
        ("/a/my%20video.mp4", "my video.mp4"),
        ("/%C3%BCber.mp4", "über.mp4"),
        ("/u%CC%88ber.mp4", "über.mp4"),
        ("/%E5%8B%95%E7%94%BB.mp4", "動画.mp4"),
        ("/a+b.mp4", "a+b.mp4"),
        ("/a%2Fb.mp4", "b.mp4"),
        ("/..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("/..%5C..%5Ca.mp4", "a.mp4"),
        ("/a%00b.mp4", "ab.mp4"),
        ("/a%0D%0ASet-Cookie:x.mp4", "aSet-Cookiex.mp4"),
        ("/gpj.%E2%80%AEgp4", "gpj.gp4"),
        ("/%22;filename=evil.exe", ";filename=evil.exe"),
        ("/.htaccess", "htaccess"),
        ("/video.mp4.%20.", "video.mp4"),
        ("/%C2%A0video.mp4%E3%80%80", "video.mp4"),
        ("/%FF%FE.mp4", "mp4"),
        ("/e%E2%80%8B%CC%81.mp4", "é.mp4"),
        ("/%2E%2E", None),
        ("/...", None),
        ("/", None),
        ("", None),
        ("/folder/", None),
        ("/%20", None),
        ("/%2F", None),
    ],
    ids=ascii,
)
def test_a_name_from_a_url_is_cleaned(path: str, name: str | None) -> None:
    assert clean_source_name(path) == name


def test_a_query_leaves_no_trace_in_a_name() -> None:
    url = parse_source_url("https://media.example/my%20video.mp4?X-Amz-Signature=00")
    assert clean_source_name(url.path) == "my video.mp4"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/" + "a" * 300 + ".mp4", "a" * 251 + ".mp4"),
        ("/" + "%C3%A4" * 200 + ".mp4", "ä" * 125 + ".mp4"),
        ("/" + "a" * 250 + "%20" * 20 + "b.mp4", "a" * 250 + ".mp4"),
        ("/" + "a" * 300, "a" * 255),
        ("/a." + "b" * 300, "a." + "b" * 253),
    ],
    ids=["ascii", "umlauts", "spaces_at_the_cut", "no_extension", "no_real_extension"],
)
def test_a_long_name_from_a_url_is_cut_before_its_extension(path: str, name: str) -> None:
    assert clean_source_name(path) == name


@given(path=st.one_of(_NAMES, st.binary(max_size=40)))
def test_a_name_from_any_url_would_pass_as_a_filename(path: str | bytes) -> None:
    quoted = quote(path, safe="/", errors="replace") if isinstance(path, str) else quote(path)
    name = clean_source_name(parse_source_url(f"https://media.example/{quoted}").path)
    if name is not None:
        assert check_filename(name) == name


def read_disposition(header: str) -> tuple[str, str | None]:
    message = Message()
    message["Content-Disposition"] = header
    return message.get_content_disposition() or "", message.get_filename()


@pytest.mark.parametrize("name", KEPT.values(), ids=KEPT)
def test_a_disposition_carries_the_whole_name(name: str) -> None:
    assert make_disposition(name).isascii()
    assert make_disposition(name).endswith(f"filename*=UTF-8''{quote(name, safe='')}")


def test_a_disposition_has_a_plain_name_for_old_readers() -> None:
    assert make_disposition('a "b" ü.mp4') == (
        "inline; filename=\"a _b_ _.mp4\"; filename*=UTF-8''a%20%22b%22%20%C3%BC.mp4"
    )
    assert read_disposition(make_disposition("video.mp4")) == ("inline", "video.mp4")


@given(name=_NAMES)
def test_a_disposition_is_one_header_whatever_the_name(name: str) -> None:
    try:
        kept = check_filename(name)
    except FieldInvalid:
        return
    header = make_disposition(kept)
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2
    assert header.count(";") == 2 + header.split('"')[1].count(";")


@pytest.mark.parametrize(
    ("filename", "numbered"),
    [
        ("a.mp4", "a-7.mp4"),
        ("a", "a-7"),
        ("a.tar.gz", "a.tar-7.gz"),
        (".hidden", ".hidden-7"),
        ("ä" * 120 + ".mp4", "ä" * 120 + "-7.mp4"),
        ("ä" * 125 + ".mp4", "ä" * 124 + "-7.mp4"),
        ("a b" * 83 + " .mp4", "a b" * 83 + "-7.mp4"),
    ],
)
def test_a_number_stands_before_the_extension_and_the_name_stays_short_enough(
    filename: str, numbered: str
) -> None:
    assert number_name(filename, 7) == numbered
    assert check_filename(number_name(filename, 7)) == numbered


@given(st.text(min_size=1, max_size=300), st.integers(1, 20_000))
def test_whatever_name_was_taken_is_one_with_a_number(filename: str, number: int) -> None:
    try:
        taken = check_filename(filename)
    except FieldInvalid:
        return
    assert check_filename(number_name(taken, number))
