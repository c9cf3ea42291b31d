"""docs/architecture.md against the code it draws."""

from __future__ import annotations

import re

from ingest.states import TRANSITIONS
from storage.records.tables import metadata
from storage.signals import INGEST_QUEUE, WEBHOOK_QUEUE
from tests.support.pages import ROOT, find_blocks, find_table, read_page

_PAGE = read_page("docs/architecture.md")
_EDGE = re.compile(r"^ *(\S+) --> (\S+)$", re.MULTILINE)


def test_the_drawn_states_are_the_table_of_transitions() -> None:
    (drawing,) = [b for b in find_blocks(_PAGE, "mermaid") if "stateDiagram" in b.text]
    edges = set(_EDGE.findall(drawing.text))
    moves = {(source, target) for source, targets in TRANSITIONS.items() for target in targets}
    ends = {(source, "[*]") for source, targets in TRANSITIONS.items() if not targets}

    assert edges == moves | ends | {("[*]", "pending")}


def test_who_makes_each_move_is_told() -> None:
    told = [(row[0].strip("`"), row[1].strip("`")) for row in find_table(_PAGE, "from").rows]

    assert len(told) == len(set(told))
    assert set(told) == {
        (source, target) for source, targets in TRANSITIONS.items() for target in targets
    }


def test_every_table_of_the_database_is_described() -> None:
    table = find_table(_PAGE, "table")

    assert [row[0].strip("`") for row in table.rows] == list(metadata.tables)


def test_the_places_that_are_named_exist() -> None:
    named = set(re.findall(r"`((?:api|cli|ingest|storage|workers)/[\w/]+\.py)`", _PAGE))

    assert named
    assert all((ROOT / name).is_file() for name in named)


def test_the_rooms_import_what_the_drawing_says() -> None:
    drawing = find_blocks(_PAGE, "mermaid")[0].text
    drawn = {
        (source, target)
        for source, targets in re.findall(r"^ *(\w+) --> ([\w &]+)$", drawing, re.MULTILINE)
        for target in targets.split(" & ")
    }
    imported = {
        (room, part)
        for room in ("cli", "api", "workers")
        for file in (ROOT / room).rglob("*.py")
        for part in re.findall(r"(?:from|import) storage\.(\w+)", file.read_text())
        if part in {"records", "objects", "signals"}
    }

    assert drawn == imported | {(part, "ingest") for part in ("records", "objects", "signals")}


def test_what_lives_in_redis_is_called_as_the_page_says() -> None:
    keys = [row[0].partition("`")[2].rstrip("`") for row in find_table(_PAGE, "key").rows]

    assert keys[:2] == [INGEST_QUEUE, WEBHOOK_QUEUE]
    source = read_page("storage/signals.py")
    named = {match.rstrip(":") for match in re.findall(r"\"(headrace:[a-z]+:?)", source)}
    assert {key.partition(":<")[0] for key in keys[2:]} == named
