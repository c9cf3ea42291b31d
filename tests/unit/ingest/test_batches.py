"""Rates of batches: means in which the new weighs most, and what they say of the end."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ingest.batches import DECISIONS, RATE_WINDOW_S, Batch, BatchStatus, Counts, measure_rate

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BATCH = Batch(
    id="batch_1",
    project_id="prj_1",
    status=BatchStatus.PROCESSING,
    ref=None,
    metadata=None,
    webhook_url=None,
    concurrency=None,
    total=100,
    rejected=0,
    counts=Counts(pending=60, processing=4, complete=30, failed=4, cancelled=2),
    stored_bytes=0,
    tasks_per_s=2.0,
    bytes_per_s=0.0,
    request_id="req_1",
    created=NOW,
    finished=None,
    updated=NOW,
)


def test_a_steady_rate_is_told_as_it_is_from_the_beginning() -> None:
    mean, age_s = 0.0, 0.0
    for _ in range(300):
        age_s += 1
        assert measure_rate(mean, 7, 1, age_s) == pytest.approx(7)
        # As it is kept: without what makes up for the short past.
        kept = math.exp(-1 / RATE_WINDOW_S)
        mean = mean * kept + 7 * (1 - kept)


def test_what_has_stopped_is_told_ever_less() -> None:
    rates = [measure_rate(10, 0, idle_s, 1000) for idle_s in (1, 60, 600)]
    assert rates[0] > rates[1] > rates[2]
    assert rates[1] == pytest.approx(10 / math.e, rel=0.01)
    assert rates[2] < 0.01


@pytest.mark.parametrize(("idle_s", "age_s"), [(0, 10), (-1, 10), (1, 0)])
def test_in_no_time_there_is_no_rate(idle_s: float, age_s: float) -> None:
    assert measure_rate(5, 5, idle_s, age_s) == 0


def test_the_end_is_told_while_there_is_one() -> None:
    assert BATCH.eta_s == 32
    for changed in (
        replace(BATCH, tasks_per_s=0.0),
        replace(BATCH, status=BatchStatus.PAUSED),
        replace(BATCH, status=BatchStatus.CANCELLED),
        replace(BATCH, counts=Counts(0, 0, 94, 4, 2)),
    ):
        assert changed.eta_s is None


def test_nothing_is_decided_about_a_batch_that_was_cancelled() -> None:
    assert not any(BatchStatus.CANCELLED in sources for sources in DECISIONS.values())
