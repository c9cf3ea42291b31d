"""A row that breaks says so in the table, and keeps nothing from being measured."""

from __future__ import annotations

import pytest

from tests.support.figures import Figures, draw_table, dump_tables, open_table, take_tables


def test_a_row_takes_all_its_figures_before_it_fails() -> None:
    figures = Figures()

    def run() -> None:
        with figures.row("R0", "x") as row:
            row.note("none doubled", 1, held=False)
            row.note("none lost", 0, held=True)
            row.done = "x, twice"

    with pytest.raises(AssertionError, match="none doubled: 1"):
        run()
    assert draw_table(figures.lines)[2:] == [
        "| R0 | x, twice | none doubled | 1 | NO |",
        "|  |  | none lost | 0 | yes |",
    ]


def test_the_lines_of_several_processes_are_one_table() -> None:
    here, there = pytest.Stash(), pytest.Stash()
    for stash, row in ((here, "S1"), (there, "S2")):
        with open_table(stash, "a table").row(row, "x") as one:
            one.note("nothing", 0, held=True)
    take_tables(here, dump_tables(there))
    assert [line.row for line in open_table(here, "a table").lines] == ["S1", "S2"]
    assert open_table(here, "a table").lines[1] == open_table(there, "a table").lines[0]


def test_a_row_that_breaks_off_did_not_hold() -> None:
    figures = Figures()
    with pytest.raises(TimeoutError), figures.row("R0", "x"):
        raise TimeoutError("a | b\nc")
    assert draw_table(figures.lines)[2:] == [
        r"| R0 | x | the row runs to its end | TimeoutError: a \| b c | NO |"
    ]
