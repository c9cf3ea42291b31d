"""What sources call their files: every form of Content-Disposition, right and broken, and URLs."""

from __future__ import annotations

import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.disposition import find_source_name
from ingest.naming import MAX_SEGMENT_BYTES, make_disposition

PATH = "/folder/from%20url.mp4"
FROM_URL = "from url.mp4"


def sent(header: str) -> str:
    """Return a header that was sent in UTF-8, as HTTP libraries give it."""
    return header.encode().decode("latin-1")


PLAIN = {
    "attachment; filename=a.mp4": "a.mp4",
    'attachment; filename="a.mp4"': "a.mp4",
    'inline; filename="a b.mp4"': "a b.mp4",
    'ATTACHMENT; FILENAME="a.mp4"': "a.mp4",
    'attachment ; filename = "a.mp4" ': "a.mp4",
    'attachment;filename="a.mp4";size=5': "a.mp4",
    'attachment; size=5; filename="a.mp4"': "a.mp4",
    r'attachment; filename="a \"b\" \\.mp4"': "mp4",
    r'attachment; filename="a \"b\".mp4"': "a b.mp4",
    'attachment; filename="a;b=c.mp4"': "a;b=c.mp4",
    'attachment; name="x; filename=evil.mp4"; filename="a.mp4"': "a.mp4",
    'attachment; xfilename="x.mp4"; filename="a.mp4"': "a.mp4",
    'attachment; filename="a+b.mp4"': "a+b.mp4",
    "attachment; filename='a.mp4'": "'a.mp4'",
    'filename="a.mp4"': "a.mp4",
    'form-data; name="file"; filename="a.mp4"': "a.mp4",
}
EXTENDED = {
    "attachment; filename*=UTF-8''%c3%bcber%20a.mp4": "über a.mp4",
    "attachment; filename*=utf-8'en'%E2%82%AC%20rates.mp4": "€ rates.mp4",
    "attachment; filename*=ISO-8859-1''%fcber.mp4": "über.mp4",
    "attachment; filename*=iso-8859-1'de'%A3.mp4": "£.mp4",
    "attachment; filename*=UTF-8''a.mp4; filename=b.mp4": "a.mp4",
    "attachment; filename=b.mp4; filename*=UTF-8''a.mp4": "a.mp4",
    "attachment; FileName*=Utf-8''a.mp4": "a.mp4",
    "attachment; filename*= UTF-8''a.mp4": "a.mp4",
    "attachment; filename*=UTF-8''%27a%27.mp4": "'a'.mp4",
    "attachment; filename*=UTF-8''a%25b.mp4": "a%b.mp4",
    "attachment; filename*=UTF-8''u%CC%88.mp4": "ü.mp4",
    # Not in their form, and still to be understood.
    "attachment; filename*=\"UTF-8''%c3%bc.mp4\"": "ü.mp4",
    "attachment; filename*=utf8''%c3%bc.mp4": "ü.mp4",
    "attachment; filename*=UTF-8''a b.mp4": "a b.mp4",
    sent("attachment; filename*=UTF-8''ü.mp4"): "ü.mp4",
    # Not to be understood: the plain one counts, or the URL.
    "attachment; filename*=UTF-8''%fc.mp4; filename=b.mp4": "b.mp4",
    "attachment; filename*=UTF-8''a%2.mp4; filename=b.mp4": "b.mp4",
    "attachment; filename*=UTF-8''a%zz.mp4; filename=b.mp4": "b.mp4",
    "attachment; filename*=KOI8-R''a.mp4; filename=b.mp4": "b.mp4",
    "attachment; filename*=rot13''a.mp4; filename=b.mp4": "b.mp4",
    "attachment; filename*=''a.mp4; filename=b.mp4": "b.mp4",
    "attachment; filename*=UTF-8'a.mp4; filename=b.mp4": "b.mp4",
    "attachment; filename*=a.mp4; filename=b.mp4": "b.mp4",
    "attachment; filename*=UTF-8''; filename=b.mp4": "b.mp4",
    "attachment; filename*=UTF-8''%2e%2e; filename=b.mp4": "b.mp4",
    "attachment; filename*=UTF-8''%fc.mp4": FROM_URL,
    "attachment; filename*0=a; filename*1=b.mp4": FROM_URL,
}
BROKEN = {
    "attachment; filename=my holiday video.mp4": "my holiday video.mp4",
    "attachment; filename=my video.mp4 ; size=5": "my video.mp4",
    "attachment; filename=a, b.mp4": "a, b.mp4",
    "attachment filename=a.mp4": "a.mp4",
    'attachment filename="a.mp4" size=5': "a.mp4",
    "attachment; filename=a b.mp4 size=5": "a b.mp4",
    "attachment; filename=b.mp4 filename*=UTF-8''a.mp4": "a.mp4",
    "attachment;; ;filename=a.mp4": "a.mp4",
    'attachment; =x; "y"; filename=a.mp4': "a.mp4",
    'attachment; filename="a.mp4': "a.mp4",
    'attachment; filename=a.mp4"': "a.mp4",
    "attachment; filename=a.mp4; filename=b.mp4": "a.mp4",
    "attachment; filename=; filename=b.mp4": "b.mp4",
    "attachment; filename=": FROM_URL,
    'attachment; filename=""': FROM_URL,
    "attachment; filename": FROM_URL,
    "attachment": FROM_URL,
    "": FROM_URL,
    ";": FROM_URL,
}
MISPLACED = {
    sent('attachment; filename="über a.mp4"'): "über a.mp4",
    sent("attachment; filename=動画.mp4"): "動画.mp4",
    # The last byte of "à" is white space to who takes bytes for characters.
    sent("attachment; filename=voilà"): "voilà",
    sent('attachment; filename="u\u0308.mp4"'): "ü.mp4",
    'attachment; filename="\xfcber.mp4"': "über.mp4",
    'attachment; filename="\x93a\x94.mp4"': "a.mp4",
    'attachment; filename="my%20video.mp4"': "my video.mp4",
    'attachment; filename="%E5%8B%95%E7%94%BB.mp4"': "動画.mp4",
    'attachment; filename="100% fun.mp4"': "100% fun.mp4",
    'attachment; filename="%fc.mp4"': "%fc.mp4",
    'attachment; filename="=?UTF-8?B?w7xiZXIubXA0?="': "über.mp4",
    'attachment; filename="=?utf-8?Q?=C3=BCber_a.mp4?="': "über a.mp4",
    'attachment; filename="=?ISO-8859-1?q?=FCber.mp4?="': "über.mp4",
    'attachment; filename="=?UTF-8?Q?a?= =?UTF-8?Q?b.mp4?="': "ab.mp4",
    'attachment; filename="=?UTF-8?Q?a?=.mp4"': "a.mp4",
    'attachment; filename="=?UTF-8?B?w7x?="': FROM_URL,
    'attachment; filename="=?UTF-8?Q?=FC?="': FROM_URL,
    'attachment; filename="=?idna?Q?a.mp4?="': FROM_URL,
}
HARMFUL = {
    'attachment; filename="../../etc/passwd"': "passwd",
    'attachment; filename="/etc/passwd"': "passwd",
    "attachment; filename*=UTF-8''..%2F..%2Fetc%2Fpasswd": "passwd",
    'attachment; filename="..%2f..%2fa.mp4"': "a.mp4",
    r'attachment; filename="..\..\a.mp4"': "a.mp4",
    r'attachment; filename="C:\dir\x.mp4"': "x.mp4",
    r"attachment; filename=C:\dir\x.mp4": "x.mp4",
    r'attachment; filename="\\\\server\\share\\x.mp4"': "x.mp4",
    "attachment; filename*=UTF-8''C%3A%5Cx.mp4": "x.mp4",
    'attachment; filename=".."': FROM_URL,
    'attachment; filename="."': FROM_URL,
    'attachment; filename="a/"': FROM_URL,
    'attachment; filename=".htaccess"': "htaccess",
    'attachment; filename=" a.mp4. "': "a.mp4",
    'attachment; filename="a\x00b\x01.mp4\x7f"': "ab.mp4",
    "attachment; filename*=UTF-8''a%00%0D%0ASet-Cookie%3A%20b.mp4": "aSet-Cookie b.mp4",
    "attachment; filename*=UTF-8''gpj.%E2%80%AEgp4": "gpj.gp4",
    "attachment; filename*=UTF-8''%EF%BB%BFa%E2%80%8B.mp4": "a.mp4",
    "attachment; filename*=UTF-8''%F4%8F%BF%BF": FROM_URL,
    'attachment; filename="a\t\x0b\x1cb.mp4"': "ab.mp4",
    'attachment; filename="<a>:*?|.mp4"': "a.mp4",
    "attachment; filename=" + "a" * 300 + ".mp4": "a" * 251 + ".mp4",
    "attachment; filename*=UTF-8''" + "%C3%A4" * 400 + ".mp4": "ä" * 125 + ".mp4",
    "attachment; filename=" + "a" * 10_000 + ".mp4": FROM_URL,
}
ROWS = PLAIN | EXTENDED | BROKEN | MISPLACED | HARMFUL


@pytest.mark.parametrize(("header", "name"), ROWS.items(), ids=lambda text: ascii(text)[:70])
def test_a_name_is_read_from_a_header_in_every_form(header: str, name: str) -> None:
    assert find_source_name([header], PATH) == name


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ([], FROM_URL),
        (["attachment", "attachment; filename=a.mp4"], "a.mp4"),
        (["attachment; filename=a.mp4", "attachment; filename=b.mp4"], "a.mp4"),
        (["attachment; filename=..", "attachment; filename*=UTF-8''b.mp4"], "b.mp4"),
        (["inline", "attachment"], FROM_URL),
    ],
    ids=repr,
)
def test_of_several_headers_the_first_that_names_something_counts(
    headers: list[str], name: str
) -> None:
    assert find_source_name(headers, PATH) == name


@pytest.mark.parametrize("path", ["/", "/%2e%2e"])
def test_a_source_that_names_nothing_at_all_has_no_name(path: str) -> None:
    assert find_source_name(["attachment; filename=.."], path) is None
    assert find_source_name(["attachment; filename=a.mp4"], path) == "a.mp4"


_PIECES = st.sampled_from(
    [
        "attachment",
        "filename=",
        "filename*=",
        "UTF-8''",
        "iso-8859-1''",
        "=?utf-8?q?",
        "=?utf-8?b?",
        "?=",
        '"',
        "\\",
        ";",
        "/",
        "..",
        "%2f",
        "%5C",
        "%00",
        "%e2%80%ae",
        "\x85",
        "\xa0",
        "a.mp4",
        " ",
    ]
)
_HEADERS = st.lists(st.one_of(_PIECES, st.text(max_size=4)), max_size=14).map("".join)


@given(headers=st.lists(_HEADERS, max_size=3), path=st.text(max_size=30))
def test_no_name_has_a_separator_or_a_control_character_or_leaves_its_place(
    headers: list[str], path: str
) -> None:
    name = find_source_name(
        [f"attachment; filename={header}" for header in headers] + headers,
        f"/{quote(path, errors='replace')}",
    )
    if name is None:
        return
    assert name not in {"", ".", ".."}
    assert not set(name) & set('/\\"')
    assert not {unicodedata.category(char) for char in name} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert len(name.encode()) <= MAX_SEGMENT_BYTES
    assert name == name.strip() == unicodedata.normalize("NFC", name)
    # It comes back from our own header as it went in.
    assert find_source_name([make_disposition(name)], "/") == name


@pytest.mark.parametrize(
    "header",
    [
        ";" * 8192,
        " " * 8192,
        "a=" * 4096,
        "filename=" + " " * 8183,
        "filename=" + " filename" * 900,
        'filename="' + "\\" * 8182,
        'filename="' + "=?utf-8?q?" * 800,
        "filename*=" + "'" * 8182,
        "filename=" + "%" * 8183,
    ],
    ids=lambda header: header[:20],
)
@pytest.mark.timeout(5)
def test_a_header_made_to_take_long_does_not(header: str) -> None:
    find_source_name([header] * 50, PATH)
