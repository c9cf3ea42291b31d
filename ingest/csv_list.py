"""Lists as CSV (RFC 4180): a first line that names the fields, and a row for each item.

Commas, semicolons or tabs stand between cells, whichever the first line has: spreadsheets write all
of them. An empty cell is a field that is not given.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence

from ingest.errors import BodyInvalid, FieldInvalid, RequestError
from ingest.line_lists import to_flag, to_number
from ingest.list_rows import MAX_ROW_BYTES, Lines, ListRow
from ingest.strict_json import parse_json

_NUMBERS = frozenset({"max_bytes", "priority", "max_attempts"})
_FLAGS = frozenset({"poster"})
_OBJECTS = frozenset({"metadata", "headers"})
_TEXTS = frozenset(
    {
        "url",
        "folder",
        "filename",
        "ref",
        "checksum",
        "webhook_url",
        "if_exists",
        "media_id",
        "access",
    }
)
_METADATA = "metadata."
_DELIMITERS = (",", ";", "\t")


def read_csv(lines: Lines) -> Iterator[ListRow]:
    """Read rows.

    Raises:
        FieldInvalid: the first line names no fields of items.
        BodyInvalid: a row has no end.
    """
    header = lines.read()
    if header is None:
        raise FieldInvalid("The list is empty; its first line names the fields.", param="url")
    delimiter = next((one for one in _DELIMITERS if one in header), ",")
    try:
        names = _check_names(next(csv.reader([header], delimiter=delimiter, strict=True)))
    except csv.Error as error:
        raise FieldInvalid(f"The first line is no CSV: {error}.") from None
    fed = _Feed(lines)
    reader = csv.reader(fed, delimiter=delimiter, strict=True)
    while True:
        began = fed.begin()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            if fed.is_over:
                raise BodyInvalid(
                    f"The quotation mark in the row that begins with line {began} is never closed."
                ) from None
            yield ListRow(began, None, BodyInvalid(f"The row is no CSV: {error}."))
            continue
        if fed.problem is not None:
            yield ListRow(lines.number, None, fed.problem)
        elif cells:
            yield _parse_cells(began, names, cells)
        if cells is None:
            return


class _Feed:
    """Lines for the CSV reader until it ``is_over``. One that cannot be read is an empty row, and
    ``problem``."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.is_over = False
        self.problem: RequestError | None = None

    def begin(self) -> int:
        """Begin a row, and return its line."""
        self._lines.row_bytes, self.problem = 0, None
        return self._lines.number + 1

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        try:
            line = self._lines.read()
        except RequestError as error:
            self.problem = error
            return "\n"
        if line is None:
            self.is_over = True
            raise StopIteration
        if self._lines.row_bytes > 2 * MAX_ROW_BYTES:
            raise BodyInvalid(
                f"The row that begins with a quotation mark before line {self._lines.number} is "
                f"longer than {2 * MAX_ROW_BYTES} bytes."
            )
        return line + "\n"


def _check_names(names: Sequence[str]) -> Sequence[str]:
    found = [name.strip() for name in names]
    if "url" not in found:
        raise FieldInvalid("The first line names no column 'url'.", param="url")
    for name in found:
        known = name in _TEXTS | _NUMBERS | _FLAGS | _OBJECTS or (
            name.startswith(_METADATA) and len(name) > len(_METADATA)
        )
        if not known:
            shown = name[:60].encode(errors="backslashreplace").decode()
            raise FieldInvalid(f"The column '{shown}' is no field of an item.", param=shown)
        if found.count(name) > 1:
            raise FieldInvalid(f"The column '{name}' is there twice.", param=name)
    return found


def _parse_cells(line: int, names: Sequence[str], cells: Sequence[str]) -> ListRow:
    if len(cells) != len(names):
        error = BodyInvalid(f"The row has {len(cells)} cells; the first line names {len(names)}.")
        return ListRow(line, None, error)
    fields: dict[str, object] = {}
    metadata: dict[str, object] = {}
    try:
        for name, cell in zip(names, cells, strict=True):
            if cell == "":
                continue
            if name.startswith(_METADATA):
                metadata[name.removeprefix(_METADATA)] = cell
            elif name in _OBJECTS:
                fields[name] = _to_object(name, cell)
            elif name in _FLAGS:
                fields[name] = to_flag(cell)
            else:
                fields[name] = to_number(cell) if name in _NUMBERS else cell
    except RequestError as error:
        return ListRow(line, None, error)
    if metadata:
        given = fields.get("metadata", {})
        fields["metadata"] = {**given, **metadata} if isinstance(given, dict) else given
    return ListRow(line, fields)


def _to_object(name: str, text: str) -> object:
    try:
        return parse_json(text)
    except BodyInvalid as error:
        reason = error.message.replace("The body", "it", 1)
        raise FieldInvalid(f"'{name}' takes a JSON object; {reason}", param=name) from None
