"""The table: what was measured, beside what is to be reached."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Judged(StrEnum):
    """Which figure of a line is held against floor and goal, and from which side."""

    RATIO_AT_LEAST = "x"
    RATIO_AT_MOST = "<= x"
    OURS_AT_MOST = "<="
    OURS_AT_LEAST = ">="


@dataclass(frozen=True, slots=True)
class Bounds:
    """The figure that must be reached, and the one that is aimed at."""

    judged: Judged
    floor: float
    goal: float


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table.

    Attributes:
        work: what is done.
        unit: of all figures.
        ours: Headrace's figure of each round.
        peer_name: who is beside it.
        peer: the peer's figure of each round; empty where there is no peer.
        bounds: None on lines that are told for information.
    """

    work: str
    unit: str
    ours: Sequence[float]
    peer_name: str = ""
    peer: Sequence[float] = ()
    bounds: Bounds | None = None

    @property
    def ratio(self) -> float | None:
        """Headrace's median over the peer's; None where there is no peer, or nothing of it."""
        beside = statistics.median(self.peer) if self.peer else 0
        return statistics.median(self.ours) / beside if beside else None

    @property
    def reached(self) -> str:
        """``goal``, ``floor``, ``no``, or nothing where nothing is to be reached."""
        if self.bounds is None:
            return ""
        judged = self.bounds.judged
        is_own = judged in {Judged.OURS_AT_MOST, Judged.OURS_AT_LEAST}
        figure = statistics.median(self.ours) if is_own else self.ratio
        if figure is None:
            return "no"
        is_least = judged in {Judged.RATIO_AT_LEAST, Judged.OURS_AT_LEAST}
        for name, bound in (("goal", self.bounds.goal), ("floor", self.bounds.floor)):
            if figure >= bound if is_least else figure <= bound:
                return name
        return "no"


_TITLES = ("work", "Headrace", "peer", "peer's", "ratio", "floor", "goal", "reached")


def draw_table(lines: Sequence[Line]) -> list[str]:
    """Return the lines as a table in Markdown; in brackets, the lowest and the highest."""
    drawn = [_TITLES, tuple("---" for _ in _TITLES)]
    for line in lines:
        bounds = line.bounds
        drawn.append(
            (
                f"{line.work}, {line.unit}",
                _show(line.ours),
                line.peer_name,
                _show(line.peer),
                "" if line.ratio is None else f"{line.ratio:.2f}x",
                "" if bounds is None else _show_bound(bounds.judged, bounds.floor),
                "" if bounds is None else _show_bound(bounds.judged, bounds.goal),
                line.reached,
            )
        )
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in drawn]


def _show(values: Sequence[float]) -> str:
    if not values:
        return ""
    low, high = _round(min(values)), _round(max(values))
    median = _round(statistics.median(values))
    return median if low == high else f"{median} ({low}..{high})"


def _round(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _show_bound(judged: Judged, value: float) -> str:
    if judged in {Judged.OURS_AT_MOST, Judged.OURS_AT_LEAST}:
        return f"{judged} {value:g}"
    return f"<= {value:g}x" if judged is Judged.RATIO_AT_MOST else f"{value:g}x"
