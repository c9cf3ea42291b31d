"""The tables at the end: a line for each thing that had to hold, with the figure that shows it.

A row never stops at its first broken promise: all its figures are taken, then the test fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

Line = tuple[str, str, str, str, bool]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    row: str
    done: str
    must: str
    figure: str
    held: bool


@dataclass(slots=True)
class Row:
    """One row while it runs; ``done`` may be told more exactly once it is known."""

    name: str
    done: str
    figures: list[Figure] = field(default_factory=list)

    def note(self, must: str, figure: object, *, held: bool) -> None:
        """Add a line.

        Args:
            must: what must hold.
            figure: what was measured.
        """
        self.figures.append(Figure(self.name, self.done, must, str(figure), held))


class Figures:
    """All lines of one table, in the order of their rows' ends."""

    def __init__(self) -> None:
        self.lines: list[Figure] = []

    @contextmanager
    def row(self, name: str, done: str) -> Iterator[Row]:
        """Take the figures of one row; in the end, fail if one of them did not hold.

        Args:
            name: as the page of the table calls it: R1 to R12, S1 to S9, W1 to W6.
            done: what is done to the service.
        """
        row = Row(name, done)
        try:
            yield row
        except BaseException as error:
            row.note("the row runs to its end", f"{type(error).__name__}: {error}", held=False)
            raise
        finally:
            self.lines += [
                Figure(name, row.done, one.must, one.figure, one.held) for one in row.figures
            ]
        broken = [f"{one.must}: {one.figure}" for one in row.figures if not one.held]
        assert not broken, broken


TABLES = pytest.StashKey[dict[str, Figures]]()


def open_table(stash: pytest.Stash, title: str) -> Figures:
    """Return the session's table of a title, which is printed when all tests have run."""
    return stash.setdefault(TABLES, {}).setdefault(title, Figures())


def dump_tables(stash: pytest.Stash) -> dict[str, list[Line]]:
    """Return all lines as a process hands them to the one that prints them (pytest-xdist)."""
    tables = stash.get(TABLES, {})
    return {
        title: [(one.row, one.done, one.must, one.figure, one.held) for one in table.lines]
        for title, table in tables.items()
    }


def take_tables(stash: pytest.Stash, dumped: Mapping[str, Sequence[Line]]) -> None:
    """Add the lines that another process has dumped."""
    for title, lines in dumped.items():
        open_table(stash, title).lines += [Figure(*line) for line in lines]


def print_tables(stash: pytest.Stash, terminal: pytest.TerminalReporter) -> None:
    """Print each table that has lines."""
    for title, figures in stash.get(TABLES, {}).items():
        if figures.lines:
            terminal.section(title)
            # By number, whichever ended first; a sort keeps the order of what is equal.
            for line in draw_table(sorted(figures.lines, key=lambda one: int(one.row[1:]))):
                terminal.write_line(line)


def draw_table(lines: Sequence[Figure]) -> list[str]:
    """Return the lines as a table in Markdown; what was done stands once a row."""
    drawn = ["| | what is done | must hold | figure | held |", "|---|---|---|---|---|"]
    last = ("", "")
    for one in lines:
        shown = ("", "") if (one.row, one.done) == last else (one.row, one.done)
        last = (one.row, one.done)
        cells = (*shown, one.must, one.figure, "yes" if one.held else "NO")
        drawn.append("| " + " | ".join(_flatten(cell) for cell in cells) + " |")
    return drawn


def _flatten(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
