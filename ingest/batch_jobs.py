"""What a worker does for a batch beside its tasks: it reads the list, or asks the sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ingest.list_rows import ListFormat


class JobKind(StrEnum):
    """What is to be done."""

    LOAD = "load"
    CHECK = "check"


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed job; ``attempt`` is its fencing token, ``tries`` are those that were charged.

    Of a list to be read: ``url``, the ``form`` that was asked for, the ``options`` of the batch
    without their headers, and headers for the list's source and for its items.
    """

    batch_id: str
    project_id: str
    kind: JobKind
    attempt: int
    tries: int
    request_id: str
    dry_run: bool
    url: str | None
    form: ListFormat | None
    options: Mapping[str, object] | None
    sealed_headers: bytes | None
    sealed_item_headers: bytes | None
