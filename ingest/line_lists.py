"""Lists of a row a line: NDJSON, plain URLs, and the TSV of Google's Storage Transfer Service.

Sources: https://github.com/ndjson/ndjson-spec, and "TsvHttpData-1.0" of
https://cloud.google.com/storage-transfer/docs/create-url-list.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping

from ingest.errors import BodyInvalid, FieldInvalid, RequestError
from ingest.list_rows import Lines, ListRow
from ingest.strict_json import parse_json

TSV_HEADER = "TsvHttpData-1.0"
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_MD5_BYTES = 16
# Lines that are empty or comments.
_MOST_PASSED = 100_000


def read_ndjson(lines: Lines) -> Iterator[ListRow]:
    """Read objects, one on each line."""
    return _read_lines(lines, _parse_ndjson)


def read_urls(lines: Lines) -> Iterator[ListRow]:
    """Read URLs, one on each line; what begins with ``#`` is a comment."""
    return _read_lines(lines, _parse_url)


def read_tsv(lines: Lines) -> Iterator[ListRow]:
    """Read URLs with perhaps their sizes and MD5s.

    Raises:
        BodyInvalid: the list has not the first line that it must have.
    """
    header = lines.read()
    if header is None or header.strip() != TSV_HEADER:
        raise BodyInvalid(f"The list does not begin with the line '{TSV_HEADER}'.")
    yield from _read_lines(lines, _parse_tsv)


def to_number(text: str) -> object:
    """Return the number that a text writes, or the text, which is then refused for what it is."""
    return int(text) if _WHOLE.fullmatch(text) else text


def to_flag(text: str) -> object:
    """Return what ``true`` or ``false`` says, or the text, which is then refused for what it is."""
    return {"true": True, "false": False}.get(text.lower(), text)


def _read_lines(
    lines: Lines, parse: Callable[[str], Mapping[str, object] | None]
) -> Iterator[ListRow]:
    """Read a list with a row on each line; ``parse`` returns None for a line that is no row."""
    passed = 0
    while True:
        try:
            line = lines.read()
            if line is None:
                return
            fields = parse(line)
        except RequestError as error:
            yield ListRow(lines.number, None, error)
            continue
        if fields is not None:
            yield ListRow(lines.number, fields)
            continue
        passed += 1
        if passed > _MOST_PASSED:
            raise BodyInvalid(f"The list has more than {_MOST_PASSED} lines that are no rows.")


def _parse_ndjson(line: str) -> Mapping[str, object] | None:
    if not line.strip():
        return None
    try:
        parsed = parse_json(line)
    except BodyInvalid as error:
        raise BodyInvalid(error.message.replace("The body", "The line")) from None
    if not isinstance(parsed, dict):
        raise BodyInvalid("The line is no JSON object.")
    return parsed


def _parse_url(line: str) -> Mapping[str, object] | None:
    url = line.strip()
    return {"url": url} if url and not url.startswith("#") else None


def _parse_tsv(line: str) -> Mapping[str, object] | None:
    if not line.strip():
        return None
    cells = line.split("\t")
    if len(cells) > 3:
        raise BodyInvalid(f"The line has {len(cells)} cells; it takes a URL, a size and an MD5.")
    url, size, md5 = (*(cell.strip() for cell in cells), "", "")[:3]
    fields: dict[str, object] = {"url": url}
    if size:
        fields["max_bytes"] = to_number(size)
    if md5:
        fields["checksum"] = f"md5:{_to_hex(md5)}"
    return fields


def _to_hex(md5: str) -> str:
    try:
        digest = base64.b64decode(md5, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != _MD5_BYTES:
        raise FieldInvalid("The MD5 is not 16 bytes in Base64.", param="checksum")
    return digest.hex()
