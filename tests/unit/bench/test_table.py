"""The table says what was reached, and does not flatter."""

from __future__ import annotations

import pytest

from bench.table import Bounds, Judged, Line, draw_table


@pytest.mark.parametrize(
    ("ours", "reached"), [(189.0, "floor"), (190.0, "goal"), (130.0, "floor"), (129.0, "no")]
)
def test_a_ratio_is_held_against_floor_and_goal(ours: float, reached: str) -> None:
    line = Line("work", "MiB/s", [ours], "peer", [100.0], Bounds(Judged.RATIO_AT_LEAST, 1.3, 1.9))

    assert line.reached == reached


@pytest.mark.parametrize(("ours", "reached"), [(0.4, "goal"), (0.5, "floor"), (0.53, "no")])
def test_where_less_is_better_a_ratio_must_be_below(ours: float, reached: str) -> None:
    line = Line("work", "CPU s", [ours], "peer", [1.0], Bounds(Judged.RATIO_AT_MOST, 0.52, 0.4))

    assert line.reached == reached


@pytest.mark.parametrize(("ours", "reached"), [(60.0, "goal"), (61.0, "floor"), (121.0, "no")])
def test_what_has_no_peer_is_held_against_its_own_figure(ours: float, reached: str) -> None:
    line = Line("work", "ms", [ours], bounds=Bounds(Judged.OURS_AT_MOST, 120, 60))

    assert line.reached == reached
    assert line.ratio is None


def test_a_ratio_that_was_not_measured_is_not_reached() -> None:
    line = Line("work", "MiB/s", [100.0], bounds=Bounds(Judged.RATIO_AT_LEAST, 1.3, 1.9))

    assert line.reached == "no"


def test_a_peer_that_took_nothing_at_all_gives_no_ratio() -> None:
    bounds = Bounds(Judged.RATIO_AT_MOST, 0.52, 0.4)

    assert Line("work", "CPU s", [1.0], "peer", [0.0], bounds).reached == "no"


def test_a_ratio_is_that_of_the_medians() -> None:
    line = Line("work", "MiB/s", [100.0, 300.0, 900.0], "peer", [200.0, 100.0, 150.0])

    assert line.ratio == 2.0
    assert line.reached == ""


def test_a_line_shows_median_spread_ratio_and_what_is_to_be_reached() -> None:
    fast = Line(
        "1 GiB",
        "MiB/s",
        [1900.4, 2000.6, 2100.0],
        "a|b",
        [1000.0],
        Bounds(Judged.RATIO_AT_LEAST, 1.3, 1.9),
    )
    short = Line("1 MiB", "ms", [55.5], bounds=Bounds(Judged.OURS_AT_MOST, 120, 60))

    assert draw_table([fast, short]) == [
        "| work | Headrace | peer | peer's | ratio | floor | goal | reached |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| 1 GiB, MiB/s | 2,001 (1,900..2,100) | a\\|b | 1,000 | 2.00x | 1.3x | 1.9x | goal |",
        "| 1 MiB, ms | 55.5 |  |  |  | <= 120 | <= 60 | goal |",
    ]
