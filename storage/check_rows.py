"""Rows of a dry run whose sources are to be asked, kept aside until it is rolled back.

A dry run finds out what a list would make by making it, and nothing that is written down meanwhile
stays. Invariant: memory does not grow with the list.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Self

from storage.records.batch_checks import CheckRow
from storage.records.batch_loading import PlannedTask

_KEPT_IN_MEMORY_BYTES = 1024 * 1024


class CheckRows:
    """A list of rows, written once and then read once."""

    def __init__(self) -> None:
        self._kept = SpooledTemporaryFile(  # noqa: SIM115 - closed at the end of the block
            max_size=_KEPT_IN_MEMORY_BYTES
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._kept.close()

    def note(self, row: PlannedTask) -> None:
        """Keep a row."""
        order = row.order
        sealed = order.sealed_headers
        kept = {
            "line": row.line,
            "url": order.url,
            "source_host": row.source_host,
            "max_bytes": order.max_bytes,
            "sealed_headers": None if sealed is None else base64.b64encode(sealed).decode(),
        }
        self._kept.write(json.dumps(kept).encode() + b"\n")

    def read(self) -> Iterator[CheckRow]:
        """Read the rows."""
        self._kept.seek(0)
        for line in self._kept:
            kept = json.loads(line)
            sealed = kept.pop("sealed_headers")
            yield CheckRow(
                **kept, sealed_headers=None if sealed is None else base64.b64decode(sealed)
            )
