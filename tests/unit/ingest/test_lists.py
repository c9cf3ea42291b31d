"""Lists of what is to be ingested, of each form: rows are read, and what is wrong told by line."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import BodyInvalid, FieldInvalid, RequestError
from ingest.line_lists import TSV_HEADER
from ingest.list_rows import MAX_ROW_BYTES, ListFormat
from ingest.lists import read_rows

URL = "https://example.com/a.mp4"
MD5_BASE64 = "DMF1ucDxtqgxw5niaXcmYQ=="
MD5_CHECKSUM = "md5:0cc175b9c0f1b6a831c399e269772661"


def _read(text: str | bytes, form: ListFormat) -> list[tuple[int, object]]:
    raw = text.encode() if isinstance(text, str) else text
    return [
        (row.line, row.fields if row.error is None else row.error.message)
        for row in read_rows(io.BytesIO(raw), form)
    ]


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        (ListFormat.NDJSON, '{"url": "a", "ref": "1"}\n\n  \n{"url": "b"}',
         [(1, {"url": "a", "ref": "1"}), (4, {"url": "b"})]),
        (ListFormat.NDJSON, '\ufeff{"url": "a"}\r\n', [(1, {"url": "a"})]),
        (ListFormat.TEXT, f"# mine\n{URL}\n\n  {URL}?b \r\n",
         [(2, {"url": URL}), (4, {"url": f"{URL}?b"})]),
        (ListFormat.TEXT, f"{TSV_HEADER}\n{URL}\t7\n", [(2, {"url": URL, "max_bytes": 7})]),
        (ListFormat.TSV, f"{TSV_HEADER}\r\n{URL}\n{URL}\t7\t{MD5_BASE64}\r\n\n",
         [(2, {"url": URL}), (3, {"url": URL, "max_bytes": 7, "checksum": MD5_CHECKSUM})]),
        (ListFormat.CSV, "url,ref,max_bytes,priority\na,1,7,-3\nb,,,\n",
         [(2, {"url": "a", "ref": "1", "max_bytes": 7, "priority": -3}), (3, {"url": "b"})]),
        (ListFormat.CSV, "\ufeffurl;folder\r\na;b,c\r\n\r\n", [(2, {"url": "a", "folder": "b,c"})]),
        (ListFormat.CSV, "ref\turl\n1\ta\n", [(2, {"url": "a", "ref": "1"})]),
        (ListFormat.CSV, 'url,ref\n"a","x ""y""\nz"\nb,2\n',
         [(2, {"url": "a", "ref": 'x "y"\nz'}), (4, {"url": "b", "ref": "2"})]),
        (ListFormat.CSV, 'url,metadata,headers\na,"{""k"": [1]}","{""X-A"": ""b""}"\n',
         [(2, {"url": "a", "metadata": {"k": [1]}, "headers": {"X-A": "b"}})]),
        (ListFormat.CSV, 'url,metadata.title,metadata,metadata.year\na,T,"{""k"": 1}",\n',
         [(2, {"url": "a", "metadata": {"k": 1, "title": "T"}})]),
        (ListFormat.CSV, "url,media_id,if_exists\na,med_1,skip\n",
         [(2, {"url": "a", "media_id": "med_1", "if_exists": "skip"})]),
        (ListFormat.CSV, "url,poster\na,true\nb,FALSE\nc,\nd,1\n",
         [(2, {"url": "a", "poster": True}), (3, {"url": "b", "poster": False}), (4, {"url": "c"}),
          (5, {"url": "d", "poster": "1"})]),
        (ListFormat.CSV, "url, max_bytes\na,many\n", [(2, {"url": "a", "max_bytes": "many"})]),
    ],
)  # fmt: skip
def test_a_list_is_read_row_by_row(
    form: ListFormat, text: str, expected: Sequence[tuple[int, object]]
) -> None:
    assert _read(text, form) == expected


@pytest.mark.parametrize(
    ("form", "text", "line", "said"),
    [
        (ListFormat.NDJSON, b'{"url": "a"}\n{"url": \n{"url": "b"}\n', 2, "not valid JSON"),
        (ListFormat.NDJSON, b'{"url": "a"}\n["b"]\n{"url": "b"}\n', 2, "no JSON object"),
        (ListFormat.NDJSON, b'{"url": "a"}\n{"url": "b", "url": "c"}\n{"url": "b"}\n', 2, "twice"),
        (ListFormat.NDJSON, b'{"url": "a"}\n{"max_bytes": NaN}\n{"url": "b"}\n', 2, "NaN"),
        (ListFormat.NDJSON, b'{"url": "a"}\n"\xff"\n{"url": "b"}\n', 2, "not UTF-8"),
        (ListFormat.NDJSON, b'{"url": "a"}\n"' + MAX_ROW_BYTES * 3 * b"x" + b'"\n{"url": "b"}\n', 2,
         "longer than"),
        (ListFormat.TSV, f"{TSV_HEADER}\na\nb\t1\tx\nb\n".encode(), 3, "16 bytes in Base64"),
        (ListFormat.TSV, f"{TSV_HEADER}\na\nb\t1\tx\tz\nb\n".encode(), 3, "4 cells"),
        (ListFormat.CSV, b"url,ref\na,\nb\nb,\n", 3, "1 cells; the first line names 2"),
        (ListFormat.CSV, b'url,ref\na,\n"b"c,1\nb,\n', 3, "no CSV"),
        (ListFormat.CSV, b"url,ref\na,\n\xff,1\nb,\n", 3, "not UTF-8"),
        (ListFormat.CSV, b'url,metadata\na,\nb,{"k\nb,\n', 3, "'metadata' takes a JSON object"),
        (ListFormat.CSV, b"url,ref\na,\nb," + MAX_ROW_BYTES * b"x" + b"\nb,\n", 3, "longer than"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_with_its_line_and_the_next_is_read(
    form: ListFormat, text: bytes, line: int, said: str
) -> None:
    first, broken, last = _read(text, form)
    assert (first[1], last[1]) == ({"url": "a"}, {"url": "b"})
    assert broken[0] == line
    assert said in str(broken[1])
    assert str(broken[1]).endswith(".")


@pytest.mark.parametrize(
    ("form", "text", "kind", "said"),
    [
        (ListFormat.CSV, "", FieldInvalid, "empty"),
        (ListFormat.CSV, "link,ref\n", FieldInvalid, "no column 'url'"),
        (ListFormat.CSV, "url,title\n", FieldInvalid, "'title' is no field"),
        (ListFormat.CSV, "url,metadata.\n", FieldInvalid, "'metadata.' is no field"),
        (ListFormat.CSV, "url,ref,url\n", FieldInvalid, "twice"),
        (ListFormat.CSV, 'url,"ref\n', FieldInvalid, "no CSV"),
        (ListFormat.CSV, 'url\n"' + "x\n" * 2 * MAX_ROW_BYTES, BodyInvalid, "longer than"),
        (
            ListFormat.CSV,
            'url,ref\na,\nb,"x\nc,\n',
            BodyInvalid,
            "line 3 is never closed",
        ),
        (ListFormat.TEXT, "\n" * 100_001, BodyInvalid, "lines that are no rows"),
        (ListFormat.TSV, f"{URL}\n", BodyInvalid, TSV_HEADER),
        (ListFormat.TSV, "", BodyInvalid, TSV_HEADER),
    ],
)
def test_what_is_no_list_of_its_form_is_refused(
    form: ListFormat, text: str, kind: type[RequestError], said: str
) -> None:
    with pytest.raises(kind, match=said.replace(".", r"\.")):
        _read(text, form)


@given(st.binary(max_size=200), st.sampled_from([one for one in ListFormat if one != "json"]))
def test_whatever_is_sent_is_read_or_refused(raw: bytes, form: ListFormat) -> None:
    try:
        rows = _read(b"url\n" + raw if form is ListFormat.CSV else raw, form)
    except RequestError:
        return
    assert all(line >= 1 for line, _ in rows)
