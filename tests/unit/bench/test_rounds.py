"""Peers take turns, and the fastest tuning is told by medians."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.rounds import Run, choose_fastest, find_percentile, interleave


def _run(elapsed_s: float) -> Run:
    return Run(elapsed_s, cpu_s=0.0)


def test_peers_work_in_turn_and_the_order_turns_with_each_round() -> None:
    order: list[str] = []

    def make(name: str) -> Callable[[int], int]:
        def work(number: int) -> int:
            order.append(f"{name}{number}")
            return number

        return work

    found = interleave({"a": make("a"), "b": make("b")}, 2)

    assert order == ["b0", "a0", "a1", "b1", "b2", "a2"]
    assert found == {"a": [1, 2], "b": [1, 2]}


def test_without_a_warm_up_the_first_round_counts() -> None:
    assert interleave({"a": lambda number: number}, 2, warm_up=False) == {"a": [1, 2]}


def test_the_fastest_tuning_is_the_one_with_the_best_median() -> None:
    runs = {
        "lucky once": [_run(0.1), _run(2.0), _run(2.0)],
        "steady": [_run(1.0), _run(1.0), _run(1.1)],
        "slow": [_run(3.0), _run(3.0), _run(3.0)],
    }

    assert choose_fastest(runs) == "steady"


def test_of_two_tunings_alike_the_first_is_taken() -> None:
    assert choose_fastest({"first": [_run(1.0)], "second": [_run(1.0)]}) == "first"


@pytest.mark.parametrize(
    ("percent", "expected"), [(50, 100.0), (99, 198.0), (100, 200.0), (0, 1.0)]
)
def test_a_percentile_is_a_value_that_was_measured(percent: float, expected: float) -> None:
    assert find_percentile([float(number) for number in range(200, 0, -1)], percent) == expected
