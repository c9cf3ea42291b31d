"""How a list is written is found from what was asked, what is said of it, and how it begins."""

from __future__ import annotations

import pytest

from ingest.errors import MediaTypeUnsupported
from ingest.list_forms import find_form
from ingest.list_rows import ListFormat

URL = b"https://example.com/a.mp4\n"
CSV = b"ref;url\n1;https://example.com/a.mp4\n"
NDJSON = b'{"url": "https://example.com/a.mp4"}\n'
JSON = b'{"items": [{"url": "https://example.com/a.mp4"}]}'


@pytest.mark.parametrize(
    ("asked", "content_type", "names", "head", "found"),
    [
        (ListFormat.TSV, "text/csv", ["a.json"], NDJSON, ListFormat.TSV),
        (None, "text/csv; header=present", ["a.json"], NDJSON, ListFormat.CSV),
        (None, "TEXT/CSV", [], URL, ListFormat.CSV),
        (None, "application/x-ndjson", ["a.csv"], CSV, ListFormat.NDJSON),
        (None, "application/json", ["a.csv"], CSV, ListFormat.JSON),
        (None, "text/plain", ["a.csv"], URL, ListFormat.CSV),
        (None, "text/plain", [None, "/lists/A.NDJSON"], URL, ListFormat.NDJSON),
        (None, "text/plain", ["a.txt"], CSV, ListFormat.CSV),
        (None, "text/plain", ["a.txt"], URL, ListFormat.TEXT),
        (None, "application/octet-stream", ["a.tsv"], URL, ListFormat.TSV),
        (None, "application/octet-stream", ["first.jsonl", "second.csv"], URL, ListFormat.NDJSON),
        (None, None, ["/v1.csv/download"], URL, ListFormat.TEXT),
        (None, None, [], URL, ListFormat.TEXT),
        (None, None, [], CSV, ListFormat.CSV),
        (None, None, [], b"\xef\xbb\xbf" + CSV, ListFormat.CSV),
        (None, None, [], b'"url","ref"\r\n', ListFormat.CSV),
        (None, None, [], b"url\nhttps://example.com/a.mp4\n", ListFormat.CSV),
        (None, None, [], NDJSON, ListFormat.NDJSON),
        (None, None, [], b"\n" + JSON, ListFormat.JSON),
        (None, None, [], b'{\n  "items": []\n}', ListFormat.JSON),
        (None, None, [], b'{"items": []}\n', ListFormat.JSON),
        (None, None, [], b"{" * 4096, ListFormat.JSON),
        (None, None, [], b"TsvHttpData-1.0\n", ListFormat.TEXT),
        (None, None, [], b"", ListFormat.TEXT),
        (None, "audio/x-mpegurl", ["a.m3u"], b"#EXTM3U\n" + URL, ListFormat.TEXT),
        (None, None, [], b'"', ListFormat.TEXT),
    ],
)
def test_a_form_is_found(
    asked: ListFormat | None,
    content_type: str | None,
    names: list[str | None],
    head: bytes,
    found: ListFormat,
) -> None:
    assert find_form(asked, content_type, names, head) is found


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (b"<!doctype html><title>Sign in", "an HTML page"),
        (b"  <html>", "an HTML page"),
        (b"<svg xmlns=''>", "SVG"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04xl/", "archive"),
        (b"\x00\x01\x02", "binary"),
        ("url\n".encode("utf-16"), "binary"),
    ],
)
def test_what_is_no_list_is_refused_whatever_it_is_called(head: bytes, word: str) -> None:
    with pytest.raises(MediaTypeUnsupported, match=word):
        find_form(ListFormat.CSV, "text/csv", ["a.csv"], head)
