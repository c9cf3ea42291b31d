"""Links between the pages, and what no page may hold."""

from __future__ import annotations

import re

import pytest

from tests.support.pages import ROOT, read_page

_PAGES = [
    "README.md",
    "CHANGELOG.md",
    *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")),
]
_LINK = re.compile(r"\]\((?!https?:)([\w./-]*)(?:#([\w-]+))?\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def _list_anchors(page: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", _FENCE.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", _PAGES)
def test_every_link_leads_to_a_page_and_a_heading_that_are_there(name: str) -> None:
    folder = (ROOT / name).parent
    for target, anchor in _LINK.findall(read_page(name)):
        page = folder / target if target else ROOT / name
        assert page.is_file(), target
        if anchor:
            assert anchor in _list_anchors(page.read_text()), anchor


@pytest.mark.parametrize("name", _PAGES)
def test_pages_keep_to_the_width_of_the_code(name: str) -> None:
    prose = _FENCE.sub("", read_page(name))
    long = [line for line in prose.splitlines() if len(line) > 120 and not line.startswith("|")]

    assert long == []


@pytest.mark.parametrize("name", _PAGES)
def test_pages_have_no_emoji(name: str) -> None:
    assert re.findall(r"[\u2600-\u27bf\U0001f000-\U0001faff]", read_page(name)) == []
