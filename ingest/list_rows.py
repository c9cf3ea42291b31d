"""Rows of lists of what is to be ingested, and the lines they are read from.

Invariants: no more than a row is held, and no line is longer than :data:`MAX_ROW_BYTES`; what
cannot be read of a list is told with its line, and what follows is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import BinaryIO

from ingest.errors import BodyInvalid, RequestError

# Of a URL, headers and metadata of their greatest lengths together, and half as much again.
MAX_ROW_BYTES = 64 * 1024


class ListFormat(StrEnum):
    """How a list is written."""

    JSON = "json"
    NDJSON = "ndjson"
    CSV = "csv"
    TEXT = "text"
    TSV = "tsv"


# By the type that a body is sent as, or a list is served as.
FORMATS: Mapping[str, ListFormat] = MappingProxyType(
    {
        "application/json": ListFormat.JSON,
        "application/x-ndjson": ListFormat.NDJSON,
        "application/ndjson": ListFormat.NDJSON,
        "application/jsonl": ListFormat.NDJSON,
        "application/x-jsonlines": ListFormat.NDJSON,
        "text/csv": ListFormat.CSV,
        "text/plain": ListFormat.TEXT,
        "text/tab-separated-values": ListFormat.TSV,
    }
)


@dataclass(frozen=True, slots=True)
class ListRow:
    """A row of a list: the fields of an order as they were written, or why there are none.

    ``line`` counts from 1, the header included; of a row over several lines it is the first.
    """

    line: int
    fields: Mapping[str, object] | None
    error: RequestError | None = None


class Lines:
    """The lines of a stream with their numbers, without their ends."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._ahead: str | RequestError | None = None
        self.number = 0
        # Since somebody last began a row.
        self.row_bytes = 0

    def peek(self) -> str:
        """Return the first line, which is read again after this; empty where it cannot be read."""
        try:
            self._ahead = self.read()
        except RequestError as error:
            self._ahead = error
        return self._ahead if isinstance(self._ahead, str) else ""

    def read(self) -> str | None:
        """Return the next line; None at the end.

        Raises:
            BodyInvalid: it is too long, or not UTF-8; the one after it can be read.
        """
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            if isinstance(ahead, RequestError):
                raise ahead
            return ahead
        raw = self._stream.readline(MAX_ROW_BYTES + 1)
        if not raw:
            return None
        self.number += 1
        self.row_bytes += len(raw)
        if len(raw) > MAX_ROW_BYTES:
            while raw and not raw.endswith(b"\n"):
                raw = self._stream.readline(MAX_ROW_BYTES)
            raise BodyInvalid(f"The line is longer than {MAX_ROW_BYTES} bytes.")
        try:
            text = raw.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise BodyInvalid("The line is not UTF-8.") from None
        return text.rstrip("\r\n")
