"""What a source calls its file: Content-Disposition (RFC 6266, RFC 8187), or else its URL.

Servers write the header in every way there is, so it is read as browsers read it: what can be
understood counts, the rest is passed over. ``filename*`` comes before ``filename``, and whatever is
found goes through :mod:`ingest.naming` until it is harmless. The name is for display and for our
own Content-Disposition; a key is never made from it.

No pattern here looks at a character more than a few times: the header is a stranger's.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Sequence
from urllib.parse import unquote, unquote_to_bytes

from ingest.naming import clean_name, clean_source_name

# As long as a URL may be, whose name has to do where a header is longer.
_MAX_HEADER_CHARS = 8192
# A value without quotes may hold spaces, and goes on until what must be the next parameter.
_PARAMETER = re.compile(
    r"""[;\s="]*(?P<name>[^\s;="]+)
    (?:\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)|
    (?P<bare>(?:(?!\s(?:filename|name|size|(?:creation|modification|read)-date)\*?\s*=)[^;])*)))?
    """,
    re.ASCII | re.DOTALL | re.IGNORECASE | re.VERBOSE,
)
_EXTENDED = re.compile(r"(?P<charset>[^']*)'[^']*'(?P<value>.*)", re.DOTALL)
_CHARSETS = frozenset({"utf-8", "utf8", "iso-8859-1", "us-ascii"})
_ESCAPED = re.compile(r'\\(["\\])')
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_WORD = re.compile(r"=\?(?P<charset>[^?\s]+)\?(?P<form>[BbQq])\?(?P<data>[^?]*)\?=")
_BETWEEN_WORDS = re.compile(r"(?<=\?=)[ \t]+(?==\?)")


def find_source_name(headers: Sequence[str], path: str) -> str | None:
    """Return a harmless name for what a source sent, or None where neither tells one.

    Args:
        headers: every Content-Disposition of the answer, each byte a character, as HTTP libraries
            give them. The first one that names something counts.
        path: of the URL the answer came from; its last segment has to do without a header.
    """
    for header in headers:
        for text in _read_filenames(header):
            name = clean_name(text)
            if name is not None:
                return name
    return clean_source_name(path)


def _read_filenames(header: str) -> Iterator[str]:
    """Yield the names a header tells, the best first; of two alike the first one counts."""
    if len(header) > _MAX_HEADER_CHARS:
        return
    found: dict[str, str] = {}
    at = 0
    while parameter := _PARAMETER.match(header, at):
        at = parameter.end()
        quoted, bare = parameter["quoted"], parameter["bare"]
        if quoted is not None or bare:
            value = bare.strip(" \t") if quoted is None else _ESCAPED.sub(r"\1", quoted)
            found.setdefault(parameter["name"].lower(), value)
    for name, decode in (("filename*", _decode_extended), ("filename", _decode_plain)):
        text = decode(found[name]) if name in found else None
        if text is not None:
            yield text


def _decode_extended(value: str) -> str | None:
    """Decode RFC 8187's form; None where it is malformed or its charset is not known."""
    found = _EXTENDED.fullmatch(value)
    if found is None or _BAD_PERCENT.search(found["value"]):
        return None
    try:
        return _decode(unquote_to_bytes(found["value"].encode("latin-1")), found["charset"])
    except ValueError:
        return None


def _decode_plain(value: str) -> str | None:
    """Decode what servers put where only ASCII belongs: UTF-8, encoded words, percents."""
    try:
        # What can be read as UTF-8 is hardly ever anything else.
        text = value.encode("latin-1").decode()
    except UnicodeError:
        text = value
    try:
        if _WORD.search(text):
            # RFC 2047, which is for mail; white space between two words is none of theirs.
            return _WORD.sub(_decode_word, _BETWEEN_WORDS.sub("", text))
    except ValueError:
        return None
    try:
        return text if _BAD_PERCENT.search(text) else unquote(text, errors="strict")
    except UnicodeError:
        return text


def _decode_word(word: re.Match[str]) -> str:
    if word["form"] in "Bb":
        return _decode(binascii.a2b_base64(word["data"]), word["charset"])
    return _decode(binascii.a2b_qp(word["data"], header=True), word["charset"])


def _decode(content: bytes, charset: str) -> str:
    # A list, since Python's codecs are more than charsets.
    if charset.lower() not in _CHARSETS:
        raise ValueError("a charset that is not known")
    return content.decode(charset)
