"""A batch as one JSON body: its items come one by one, whatever stands around them."""

from __future__ import annotations

import io
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import BodyInvalid
from ingest.json_list import read_items, read_options
from ingest.list_rows import MAX_ROW_BYTES

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
OPTIONS = st.dictionaries(st.text(max_size=8), JSON, max_size=5)


class _Dripping(io.BytesIO):
    """A stream that gives a few bytes at a time."""

    def read(self, size: int | None = -1) -> bytes:
        del size
        return super().read(3)


def _read(text: str | bytes) -> tuple[dict[str, object], list[object]]:
    raw = text.encode() if isinstance(text, str) else text
    rows = list(read_items(_Dripping(raw)))
    assert [row.line for row in rows] == list(range(1, len(rows) + 1))
    found = [row.fields if row.error is None else row.error.message for row in rows]
    return read_options(io.BytesIO(raw)), list(found)


@given(
    st.dictionaries(st.text(max_size=8), JSON, max_size=5), st.lists(JSON, max_size=5), st.data()
)
def test_items_and_options_are_told_apart_in_any_order(
    options: dict[str, object], items: list[object], data: st.DataObject
) -> None:
    options.pop("items", None)
    names = data.draw(st.permutations([*options, "items"]))
    body = {name: items if name == "items" else options[name] for name in names}
    text = json.dumps(body, indent=data.draw(st.sampled_from([None, 2])))
    read, found = _read(text)
    assert read == options
    assert found == [
        one if isinstance(one, dict) else "The item is no JSON object." for one in items
    ]


def test_a_byte_order_mark_and_text_outside_ascii_are_read() -> None:
    assert _read("\ufeff" + '{"items": [{"ref": "ä\U0001f600"}], "ref": "ü"}') == (
        {"ref": "ü"},
        [{"ref": "ä\U0001f600"}],
    )


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{", '{"items"}', '{"items": [}', '{"items": [{}', '{"items": [{},]}',
        '{"items": [{}]', '{"items": [{}]} x', '{"items": {}}', '{"items": [{} {}]}', "{1: 2}",
        '{"a": 1}', '{"items": [], "a": 1, "a": 2}', '{"items": [], "items": []}',
        '{"items": [{"a": 1, "a": 2}]}', '{"items": [{"a": NaN}]}', '{"items": [' + "[" * 100_000,
        b'{"items": ["\xff"]}', '{"items": [{"a": "' + "x" * 3 * MAX_ROW_BYTES + '"}]}',
        "{" + ",".join(f'"a{number}": 1' for number in range(100)) + ', "items": []}',
    ],
)  # fmt: skip
def test_what_is_no_batch_is_refused(text: str | bytes) -> None:
    with pytest.raises(BodyInvalid, match=r"\.$"):
        _read(text)


class _Endless(io.BytesIO):
    """A body whose items never end."""

    taken_bytes = 0

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        item = b'{"items": [{}' if not self.taken_bytes else b',{"url": "https://example.com/a"}'
        self.taken_bytes += len(item)
        return item


def test_items_are_read_as_they_are_asked_for() -> None:
    endless = _Endless()
    for _ in itertools.islice(read_items(endless), 10_000):
        pass
    assert endless.taken_bytes < 10_000 * 34
