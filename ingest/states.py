"""The states of a task, and the one table of moves between them.

``storage.records.tasks`` turns this table into the guard of its UPDATE, so a move that is not drawn
here cannot be written.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Status(StrEnum):
    """Where a task is. ``pending`` and ``processing`` are open, the others are ends."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETE = "complete"
    FAILED = "failed"
    CANCELLED = "cancelled"


TRANSITIONS: Mapping[Status, frozenset[Status]] = MappingProxyType(
    {
        # claimed by a worker
        Status.PENDING: frozenset({Status.PROCESSING, Status.CANCELLED}),
        # ended, or handed back because its lease ran out
        Status.PROCESSING: frozenset(
            {Status.COMPLETE, Status.FAILED, Status.CANCELLED, Status.PENDING}
        ),
        Status.COMPLETE: frozenset(),
        # a person asked for another go
        Status.FAILED: frozenset({Status.PENDING}),
        Status.CANCELLED: frozenset({Status.PENDING}),
    }
)

ENDED = frozenset({Status.COMPLETE, Status.FAILED, Status.CANCELLED})


def find_sources(target: Status) -> frozenset[Status]:
    """Return the states from which a task may move to ``target``."""
    return frozenset(state for state, targets in TRANSITIONS.items() if target in targets)
