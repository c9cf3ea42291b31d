"""A batch as one JSON object, read as a stream: its items one by one, the rest as a whole.

``{"defaults": …, "items": [{…}, …], …}``, the fields in any order. Invariants: no more than an item
is held; what stands beside the items is bounded like a body of one order. Since options may stand
behind the items they are for, a list is read twice: :func:`read_options`, then :func:`read_items`.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from ingest.errors import BodyInvalid
from ingest.list_rows import MAX_ROW_BYTES, ListRow
from ingest.strict_json import parse_first, say_what_is_wrong

ITEMS = "items"
_CHUNK_BYTES = 64 * 1024
_MOST_OPTIONS = 64
_SPACE = re.compile(r"[ \t\n\r]*")


def read_options(stream: BinaryIO) -> dict[str, object]:
    """Return what stands beside the items. Reads all of the stream.

    Raises:
        BodyInvalid: it is no JSON object with a list of items.
    """
    options, has_items = read_fields(stream)
    if not has_items:
        raise BodyInvalid("The body has no 'items'.")
    return options


def read_fields(stream: BinaryIO) -> tuple[dict[str, object], bool]:
    """Return what stands beside the items, and whether there are any. Reads all of the stream.

    Raises:
        BodyInvalid: it is no JSON object, or its items are no list.
    """
    options: dict[str, object] = {}
    for name, value in _read(stream, keeps_items=False):
        if name in options:
            raise BodyInvalid("The body names a field twice in one object.")
        options[name] = value
        if len(options) > _MOST_OPTIONS:
            raise BodyInvalid(f"The body holds an object of more than {_MOST_OPTIONS} fields.")
    has_items = ITEMS in options
    options.pop(ITEMS, None)
    return options, has_items


def read_items(stream: BinaryIO) -> Iterator[ListRow]:
    """Read the items, which count from 1.

    Raises:
        BodyInvalid: it is no JSON object with a list of items.
    """
    number = 0
    for name, value in _read(stream, keeps_items=True):
        if name != ITEMS:
            continue
        number += 1
        if isinstance(value, dict):
            yield ListRow(number, value)
        else:
            yield ListRow(number, None, BodyInvalid("The item is no JSON object."))


def _read(stream: BinaryIO, *, keeps_items: bool) -> Iterator[tuple[str, object]]:
    """Read names and values; the items each under that name, or all of them as one None."""
    text = _Text(stream)
    text.take("{")
    if text.takes_one_of("}", "") == "}":
        return
    while True:
        name = text.read_value()
        if not isinstance(name, str):
            raise BodyInvalid("The body is not valid JSON: a name is no string.")
        text.take(":")
        if name == ITEMS:
            for item in text.read_array():
                if keeps_items:
                    yield name, item
            if not keeps_items:
                yield name, None
        else:
            yield name, text.read_value()
        if text.takes_one_of(",", "}") == "}":
            break
    text.end()


class _Text:
    """A text that is read on as it is needed."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._at, self._is_whole = "", 0, False

    def take(self, mark: str) -> None:
        """Step over a mark that has to be there."""
        if self._look() != mark:
            raise BodyInvalid(f"The body is not valid JSON: it has no '{mark}' where one must be.")
        self._at += 1

    def takes_one_of(self, first: str, second: str) -> str:
        """Step over one of two marks and return it; over nothing where ``second`` is empty."""
        found = self._look()
        if found in {first, second} and found:
            self._at += 1
            return found
        if second == "":
            return ""
        raise BodyInvalid(
            f"The body is not valid JSON: it has no '{first}' or '{second}' where one must be."
        )

    def read_array(self) -> Iterator[object]:
        """Read the values of an array."""
        if self._look() != "[":
            raise BodyInvalid("'items' is no array.")
        self._at += 1
        if self.takes_one_of("]", "") == "]":
            return
        while True:
            yield self.read_value()
            if self.takes_one_of(",", "]") == "]":
                return

    def read_value(self) -> object:
        """Read one value, of at most :data:`ingest.list_rows.MAX_ROW_BYTES` characters."""
        self._look()
        while True:
            with say_what_is_wrong():
                try:
                    value, end = parse_first(self._text, self._at)
                except json.JSONDecodeError:
                    if self._is_whole or len(self._text) - self._at > MAX_ROW_BYTES:
                        raise
                    end = -1
                # A number that ends where the text ends may go on.
                if end >= 0 and (end < len(self._text) or self._is_whole):
                    break
            self._fill()
        if end - self._at > MAX_ROW_BYTES:
            raise BodyInvalid(f"The body holds a value of more than {MAX_ROW_BYTES} characters.")
        self._at = end
        return value

    def end(self) -> None:
        """Make sure that nothing follows."""
        if self._look():
            raise BodyInvalid("The body is not valid JSON: something follows its end.")

    def _look(self) -> str:
        """Return the next character that is no white space; empty at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._at = self._at if found is None else found.end()
            if self._at < len(self._text) or self._is_whole:
                return self._text[self._at : self._at + 1]
            self._fill()

    def _fill(self) -> None:
        chunk = self._stream.read(_CHUNK_BYTES)
        try:
            more = self._decoder.decode(chunk, not chunk)
        except UnicodeDecodeError:
            raise BodyInvalid("The body is not UTF-8.") from None
        self._text = self._text[self._at :] + more
        self._at = 0
        self._is_whole = not chunk
