"""Ids sort by time, cannot be guessed, and are known by their shape."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from ingest.ids import Prefix, is_id, make_id, read_time

NOON = dt.datetime(2025, 8, 20, 12, 0, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize("prefix", Prefix)
def test_an_id_shows_what_it_names_and_fits_its_own_shape_alone(prefix: Prefix) -> None:
    made = make_id(prefix)
    assert made.startswith(f"{prefix}_")
    assert made == made.lower()
    assert len(made) == len(prefix) + 1 + 26
    assert [other for other in Prefix if is_id(other, made)] == [prefix]


def test_ids_sort_by_the_time_they_were_made() -> None:
    steps = [0, 1, 2, 999, 1000, 86_400_000, 31_536_000_000]
    made = [make_id(Prefix.TASK, NOON + dt.timedelta(milliseconds=step)) for step in steps]
    assert made == sorted(made)


@pytest.mark.parametrize("prefix", Prefix)
def test_an_id_says_to_a_millisecond_when_it_was_made(prefix: Prefix) -> None:
    moment = NOON + dt.timedelta(milliseconds=123)
    assert read_time(make_id(prefix, moment)) == moment


def test_ids_of_one_millisecond_are_all_different_and_no_neighbours() -> None:
    made = [make_id(Prefix.TASK, NOON) for _ in range(1000)]
    assert len(set(made)) == 1000
    numbers = sorted(int(ULID.from_str(one.removeprefix("task_").upper())) for one in made)
    assert min(after - before for before, after in itertools.pairwise(numbers)) > 1
    # The time part is theirs in common; 80 random bits are not.
    assert len({one[5:15] for one in made}) == 1
    assert numbers[-1] - numbers[0] > 2**78


@given(milliseconds=st.integers(0, 4_102_444_800_000))
def test_the_time_part_of_an_id_is_its_time_to_the_millisecond(milliseconds: int) -> None:
    now = dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(milliseconds=milliseconds)
    made = make_id(Prefix.FILE, now)
    assert ULID.from_str(made.removeprefix("file_").upper()).milliseconds == milliseconds


def test_an_id_made_now_carries_now() -> None:
    before = dt.datetime.now(dt.UTC) - dt.timedelta(milliseconds=1)
    ulid = ULID.from_str(make_id(Prefix.FILE).removeprefix("file_").upper())
    assert before <= ulid.datetime <= dt.datetime.now(dt.UTC)


GOOD = "01k3ajk2mm2zw4pqxv0eabcdtz"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "task",
        "task_",
        f"task_{GOOD[:-1]}",
        f"task_{GOOD}0",
        f"task_{GOOD.upper()}",
        f"TASK_{GOOD}",
        f"file_{GOOD}",
        f"_{GOOD}",
        GOOD,
        f"task_{GOOD}\n",
        f" task_{GOOD}",
        f"task_8{GOOD[1:]}",
        f"task_{GOOD[:-1]}i",
        f"task_{GOOD[:-1]}l",
        f"task_{GOOD[:-1]}o",
        f"task_{GOOD[:-1]}u",
        f"task_{GOOD[:-1]}é",
        f"task_{GOOD[:-1]}٣",
        f"task-{GOOD}",
        "task_%00",
        "task_../../etc",
    ],
    ids=ascii,
)
def test_what_only_looks_like_an_id_is_none(text: str) -> None:
    assert not is_id(Prefix.TASK, text)


def test_the_shape_that_the_others_miss_is_an_id() -> None:
    assert is_id(Prefix.TASK, f"task_{GOOD}")
