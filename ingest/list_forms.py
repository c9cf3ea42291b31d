"""How a list is written that somebody serves: what is said of it, and how it begins.

What was asked for wins. A Content-Type that names a form is next, but for ``text/plain``, which
servers call any text; then the extension of the name; then the first bytes.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ingest.errors import MediaTypeUnsupported
from ingest.formats import describe_unknown
from ingest.list_rows import FORMATS, ListFormat

# How much of a list tells its form.
HEAD_BYTES = 4096
_EXTENSIONS: Mapping[str, ListFormat] = MappingProxyType(
    {
        "csv": ListFormat.CSV,
        "json": ListFormat.JSON,
        "jsonl": ListFormat.NDJSON,
        "ndjson": ListFormat.NDJSON,
        "tsv": ListFormat.TSV,
        "txt": ListFormat.TEXT,
    }
)
_DELIMITERS = (",", ";", "\t")
_PAGES = frozenset({"an HTML page", "an SVG drawing"})
_NO_TEXT = frozenset({"a PDF document", "an archive", "binary data of no known media format"})


def find_form(
    asked: ListFormat | None, content_type: str | None, names: Sequence[str | None], head: bytes
) -> ListFormat:
    """Return how a list is written.

    Args:
        asked: what the order says of it.
        content_type: as the source sent it.
        names: what the list may be called, the best first: names of files or paths.
        head: how it begins, :data:`HEAD_BYTES` if it has them.

    Raises:
        MediaTypeUnsupported: it is a page, or no text at all.
    """
    _refuse_what_is_no_list(head)
    if asked is not None:
        return asked
    said = FORMATS.get((content_type or "").partition(";")[0].strip().lower())
    if said not in {None, ListFormat.TEXT}:
        return said or ListFormat.TEXT
    for name in names:
        extension = (name or "").rpartition("/")[2].rpartition(".")[2].lower()
        # Any of these may be in a text file.
        if extension in _EXTENSIONS and extension != "txt":
            return _EXTENSIONS[extension]
    return _guess(head)


def _refuse_what_is_no_list(head: bytes) -> None:
    found = describe_unknown(head)
    if found in _PAGES | _NO_TEXT:
        raise MediaTypeUnsupported(f"The source of the list sent {found}.")


def _guess(head: bytes) -> ListFormat:
    text = head.decode("utf-8-sig", errors="replace").lstrip()
    first = text.partition("\n")[0].rstrip("\r")
    if text.startswith("{"):
        return ListFormat.NDJSON if _is_item(first) else ListFormat.JSON
    if _names_fields(first):
        return ListFormat.CSV
    # A TSV is known by its first line when it is read.
    return ListFormat.TEXT


def _is_item(line: str) -> bool:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "items" not in found


def _names_fields(line: str) -> bool:
    for delimiter in _DELIMITERS:
        cells = next(csv.reader([line], delimiter=delimiter), [])
        if "url" in [cell.strip() for cell in cells]:
            return True
    return False
