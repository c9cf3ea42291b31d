"""Peers measured in turn, so that whatever the machine does meanwhile it does to all of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Run:
    """One piece of work done once: how long it took, and the CPU time of who did it."""

    elapsed_s: float
    cpu_s: float


def find_percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent of all are not above."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def interleave(
    peers: Mapping[str, Callable[[int], T]], rounds: int, *, warm_up: bool = True
) -> dict[str, list[T]]:
    """Let every peer work once a round; return what each gave, by name.

    The order turns with each round, so none always comes after the same other.

    Args:
        peers: each is told the number of the round, from 1.
        warm_up: whether a round 0 comes first, of which nothing is returned.
    """
    found: dict[str, list[T]] = {name: [] for name in peers}
    for number in range(0 if warm_up else 1, rounds + 1):
        names = list(peers) if number % 2 else list(peers)[::-1]
        for name in names:
            result = peers[name](number)
            if number:
                found[name].append(result)
    return found


def choose_fastest(runs: Mapping[str, Sequence[Run]]) -> str:
    """Return who is fastest by the median; of two alike, the one that is named first."""
    return min(runs, key=lambda name: statistics.median(run.elapsed_s for run in runs[name]))
