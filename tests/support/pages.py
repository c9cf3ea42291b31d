"""The project's own pages as data: tables and fenced blocks, so that tests can hold them to the
code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)
_RULE = re.compile(r"\|[ :|-]+\|")
# A pipe that stands in a cell is written as \|.
_CELL_END = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, and the heading it stands under."""

    heading: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table under its heading; cells are stripped of white space."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def read_page(name: str) -> str:
    """Return a file of the repository, by its path from the root."""
    return (ROOT / name).read_text()


def find_blocks(page: str, language: str) -> list[Block]:
    """Return the fenced blocks of one language, in order."""
    return [
        Block(_find_heading(page, found.start()), language, found["text"])
        for found in _FENCE.finditer(page)
        if found["language"] == language
    ]


def find_table(page: str, first_column: str) -> Table:
    """Return the one table whose first column has this title."""
    found: list[Table] = []
    at = 0
    lines: list[str] = []
    for line in [*page.splitlines(keepends=True), "\n"]:
        if line.startswith("|"):
            lines.append(line.strip())
        elif lines:
            table = _build_table(_find_heading(page, at), lines)
            if table.columns[0] == first_column:
                found.append(table)
            lines = []
        at += len(line)
    if len(found) != 1:
        raise LookupError(f"{len(found)} tables begin with the column {first_column!r}")
    return found[0]


def _build_table(heading: str, lines: Sequence[str]) -> Table:
    columns, *rows = [
        [cell.strip().replace("\\|", "|") for cell in _CELL_END.split(line[1:-1])]
        for line in lines
        if _RULE.fullmatch(line) is None
    ]
    return Table(heading, columns, rows)


def _find_heading(page: str, at: int) -> str:
    title = ""
    for heading in _HEADING.finditer(_FENCE.sub(lambda fence: "\n" * len(fence[0]), page)):
        if heading.start() > at:
            break
        title = heading["title"]
    return title
