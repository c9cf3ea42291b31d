"""Batches as they are shown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingest.batch_resources import show_batch
from ingest.batches import BatchStatus, Counts
from tests.unit.ingest.test_batches import BATCH

NOTHING = Counts(0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("status", "progress"),
    [(BatchStatus.LOADING, 0), (BatchStatus.COMPLETE, 100), (BatchStatus.CANCELLED, 100)],
)
def test_a_batch_without_tasks_is_done_unless_its_list_is_still_read(
    status: BatchStatus, progress: int
) -> None:
    batch = replace(BATCH, status=status, total=0, counts=NOTHING)
    assert show_batch(batch).progress == progress


def test_progress_counts_all_that_ended_however_it_did() -> None:
    assert show_batch(BATCH).progress == 36
