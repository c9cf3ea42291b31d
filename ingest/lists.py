"""Lists of what is to be ingested, in any form but a JSON body (:mod:`ingest.json_list`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from ingest.csv_list import read_csv
from ingest.line_lists import TSV_HEADER, read_ndjson, read_tsv, read_urls
from ingest.list_rows import Lines, ListFormat, ListRow

_READERS: Mapping[ListFormat, Callable[[Lines], Iterator[ListRow]]] = {
    ListFormat.NDJSON: read_ndjson,
    ListFormat.CSV: read_csv,
    ListFormat.TEXT: read_urls,
    ListFormat.TSV: read_tsv,
}


def read_rows(stream: BinaryIO, form: ListFormat) -> Iterator[ListRow]:
    """Read the rows of a list, of a form other than :data:`ListFormat.JSON`.

    A plain list that begins as a TSV does is one.

    Raises:
        BodyInvalid, FieldInvalid: as a list it cannot be read at all.
    """
    lines = Lines(stream)
    if form is ListFormat.TEXT and lines.peek().strip() == TSV_HEADER:
        form = ListFormat.TSV
    return _READERS[form](lines)
