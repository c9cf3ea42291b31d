"""Every way an attempt can end, and what follows from it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import errors
from ingest.errors import (
    AttemptsExhausted,
    ChecksumMismatch,
    HeadraceError,
    IngestError,
    InternalError,
    ServiceError,
    SourceChanged,
    SourceForbidden,
    SourceNotFound,
    SourceNotMedia,
    SourceTimeout,
    SourceUnavailable,
    StorageUnavailable,
    UploadLost,
    WorkerStopped,
)
from ingest.retry import RetryPolicy, Verdict, plan_retry

POLICY = RetryPolicy(base_s=5, cap_s=600, storage_patience_s=86400)
ALMOST_ONE = 1 - 2**-53
ENDS = [
    one
    for one in vars(errors).values()
    if isinstance(one, type)
    and issubclass(one, (IngestError, ServiceError))
    and one not in {IngestError, ServiceError}
]
OUTAGES = [StorageUnavailable, UploadLost]


def plan(
    error: HeadraceError | type[HeadraceError],
    *,
    tries: int = 1,
    max_attempts: int = 5,
    outage_s: float = 0,
    drawn: float = 0,
    policy: RetryPolicy = POLICY,
) -> Verdict:
    return plan_retry(
        error("It failed.") if isinstance(error, type) else error,
        tries=tries,
        max_attempts=max_attempts,
        outage_s=outage_s,
        policy=policy,
        draw=lambda: drawn,
    )


def wait(
    error: HeadraceError | type[HeadraceError],
    *,
    tries: int = 1,
    max_attempts: int = 5,
    outage_s: float = 0,
    drawn: float = 0,
) -> float:
    planned = plan(error, tries=tries, max_attempts=max_attempts, outage_s=outage_s, drawn=drawn)
    assert planned.retry_after_s is not None
    return planned.retry_after_s


@pytest.mark.parametrize("error", [one for one in ENDS if not one.retryable])
def test_what_time_does_not_mend_is_given_up_at_once(error: type[HeadraceError]) -> None:
    verdict = plan(error)
    assert verdict.retry_after_s is None
    assert verdict.charged


@pytest.mark.parametrize("error", [one for one in ENDS if one.retryable])
def test_what_time_may_mend_is_tried_again(error: type[HeadraceError]) -> None:
    assert plan(error).retry_after_s is not None


@pytest.mark.parametrize("error", [InternalError, SourceTimeout, SourceUnavailable, SourceChanged])
def test_the_last_attempt_is_the_last(error: type[HeadraceError]) -> None:
    assert plan(error, tries=4).retry_after_s is not None
    for tries in (5, 6):
        assert plan(error, tries=tries).retry_after_s is None
    assert plan(error, tries=1, max_attempts=1).retry_after_s is None


@pytest.mark.parametrize(
    ("tries", "ceiling_s"), [(1, 5), (2, 10), (3, 20), (7, 320), (8, 600), (9, 600), (99, 600)]
)
def test_a_wait_is_drawn_from_nothing_up_to_a_ceiling_that_doubles(
    tries: int, ceiling_s: float
) -> None:
    waits = [wait(SourceTimeout, tries=tries, max_attempts=100, drawn=d) for d in (0, 0.5, 1)]
    assert waits == [0, ceiling_s / 2, ceiling_s]


def test_no_number_of_tries_is_too_much_for_a_float() -> None:
    assert wait(SourceTimeout, tries=10**6, max_attempts=10**7, drawn=0.5) == 300


@pytest.mark.parametrize("drawn", [0, 0.3, ALMOST_ONE])
@pytest.mark.parametrize("tries", [1, 4])
def test_nobody_comes_back_before_the_time_that_the_source_named(tries: int, drawn: float) -> None:
    error = SourceUnavailable("busy", retry_after_s=60)
    assert 60 <= wait(error, tries=tries, drawn=drawn) <= 75


def test_a_time_that_the_source_named_shortens_no_wait() -> None:
    error = SourceUnavailable("busy", retry_after_s=1)
    assert wait(error, tries=4, drawn=1) == wait(SourceTimeout, tries=4, drawn=1) == 40


@pytest.mark.parametrize(("named_s", "least_s"), [(86400.0, 3600), (-5.0, 0), (0.0, 0)])
def test_a_time_that_makes_no_sense_is_cut(named_s: float, least_s: float) -> None:
    assert wait(SourceUnavailable("busy", retry_after_s=named_s)) == least_s


@pytest.mark.parametrize("named_s", [1, 60, 3600])
def test_a_thousand_tasks_that_were_told_one_time_come_back_over_several_seconds(
    named_s: float,
) -> None:
    source = random.Random(1)
    error = SourceUnavailable("busy", retry_after_s=named_s)
    waits = [wait(error, drawn=source.random()) for _ in range(1000)]
    busiest = max(
        sum(int(one) == second for one in waits) for second in {int(one) for one in waits}
    )
    assert busiest < 300


@pytest.mark.parametrize("error", OUTAGES)
@pytest.mark.parametrize("tries", [1, 5, 50])
def test_an_outage_of_the_store_costs_no_attempt_however_many_there_were(
    error: type[HeadraceError], tries: int
) -> None:
    for outage_s in (0, 600, 86399):
        verdict = plan(error, tries=tries, outage_s=outage_s)
        assert verdict.retry_after_s is not None
        assert not verdict.charged


@pytest.mark.parametrize("error", OUTAGES)
def test_patience_with_the_store_has_an_end(error: type[HeadraceError]) -> None:
    charged = plan(error, tries=4, outage_s=86400)
    assert charged.retry_after_s is not None
    assert charged.charged
    assert plan(error, tries=5, outage_s=86400).retry_after_s is None


def test_no_patience_at_all_charges_the_first_outage() -> None:
    policy = RetryPolicy(base_s=5, cap_s=600, storage_patience_s=0)
    assert plan(StorageUnavailable, policy=policy).charged


@pytest.mark.parametrize(
    ("outage_s", "ceiling_s"), [(0, 5), (4, 5), (12, 12), (59, 59), (61, 60), (80000, 60)]
)
def test_a_wait_in_an_outage_is_as_long_again_and_at_least_half_of_that(
    outage_s: float, ceiling_s: float
) -> None:
    error = StorageUnavailable("away", retry_after_s=None)
    for drawn in (0, 0.5, 1):
        expected = ceiling_s * (1 + drawn) / 2
        assert wait(error, outage_s=outage_s, drawn=drawn) == expected


def test_a_cap_below_a_minute_holds_in_an_outage_too() -> None:
    policy = RetryPolicy(base_s=0.1, cap_s=1, storage_patience_s=86400)
    error = StorageUnavailable("away", retry_after_s=None)
    assert plan(error, outage_s=500, drawn=1, policy=policy).retry_after_s == 1


@given(st.floats(0, ALMOST_ONE))
def test_ten_minutes_without_the_store_are_looked_at_a_few_dozen_times(drawn: float) -> None:
    outage_s, looks = 0.0, 0
    while outage_s < 600:
        outage_s += wait(StorageUnavailable, outage_s=outage_s, drawn=drawn)
        looks += 1
    assert 10 <= looks <= 30


def test_a_worker_that_was_stopped_hands_over_at_once_and_nothing_is_charged() -> None:
    verdict = plan(WorkerStopped, tries=9, drawn=0.9)
    assert verdict == Verdict(0, charged=False, keeps_checkpoint=True)


KEEPING = {
    "attempts_exhausted",
    "database_unavailable",
    "internal_error",
    "lease_lost",
    "redis_unavailable",
    "source_dns",
    "source_forbidden",
    "source_not_found",
    "source_timeout",
    "source_too_slow",
    "source_truncated",
    "source_unavailable",
    "storage_unavailable",
    "worker_stopped",
}


@pytest.mark.parametrize("error", ENDS)
def test_parts_are_kept_where_the_bytes_are_good_and_may_be_asked_for_again(
    error: type[HeadraceError],
) -> None:
    for tries in (1, 5):
        assert plan(error, tries=tries).keeps_checkpoint is (error.code in KEEPING)


@pytest.mark.parametrize("error", [AttemptsExhausted, SourceForbidden, SourceNotFound])
def test_what_a_person_can_mend_fails_and_keeps_its_parts(error: type[HeadraceError]) -> None:
    assert plan(error) == Verdict(None, charged=True, keeps_checkpoint=True)


@pytest.mark.parametrize("error", [ChecksumMismatch, SourceNotMedia])
def test_what_says_that_the_bytes_are_bad_fails_and_keeps_nothing(
    error: type[HeadraceError],
) -> None:
    assert plan(error) == Verdict(None, charged=True, keeps_checkpoint=False)


def test_two_tasks_that_failed_in_one_moment_are_not_told_the_same() -> None:
    waits = {
        plan_retry(
            SourceTimeout("late"), tries=1, max_attempts=5, outage_s=0, policy=POLICY
        ).retry_after_s
        for _ in range(100)
    }
    assert len(waits) > 90
