"""``/docs``: open to all, loads nothing from elsewhere, and shows all that the document has."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
import requests

from cli.local import LocalStack
from tests.support.api import Api
from tests.support.documented import DOCUMENT_PATH

# Reserved for examples by RFC 2606; shown as text.
_SHOWN_HOSTS = {"example.com", "headrace.example.com"}


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(str(value))
            elif name == "href" and tag == "a":
                self.links.append(str(value))
            elif name in {"src", "href", "srcset", "data", "action"}:
                self.loads.append(str(value))


@pytest.fixture(scope="module")
def answer(stack: LocalStack) -> requests.Response:
    return requests.get(f"{stack.api_url}/docs", timeout=20)


@pytest.fixture(scope="module")
def page(answer: requests.Response) -> _Page:
    parsed = _Page()
    parsed.feed(answer.text)
    return parsed


def test_it_takes_no_key_and_lets_nothing_run(answer: requests.Response) -> None:
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"].split("; ")
    assert policy[0] == "default-src 'none'"
    assert "style-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not any("unsafe" in one or "data:" in one or "http" in one for one in policy)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_all_that_it_loads_is_ours_and_there(page: _Page, api: Api) -> None:
    assert page.loads == ["/docs/static/reference.css"]
    for path in page.loads:
        style = requests.get(f"{api.url}{path}", timeout=10)
        assert style.status_code == 200
        assert style.headers["Content-Type"] == "text/css; charset=utf-8"
        assert style.headers["X-Content-Type-Options"] == "nosniff"
        assert not re.search(r"url\(|@import|//", style.text)


def test_it_needs_no_script_and_no_inline_style(page: _Page) -> None:
    assert page.tags.isdisjoint({"script", "style", "iframe", "object", "embed", "form", "base"})
    assert "style" not in page.attributes
    assert not any(name.startswith("on") for name in page.attributes)


def test_it_names_no_host_but_those_of_examples(answer: requests.Response) -> None:
    hosts = set(re.findall(r"https?://([^/\"'<>\s&]+)", answer.text))
    assert hosts <= _SHOWN_HOSTS


def test_every_link_leads_somewhere(page: _Page, api: Api) -> None:
    assert len(set(page.ids)) == len(page.ids)
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert api.get(link).status_code == 200


def test_all_of_the_document_is_on_it(page: _Page, answer: requests.Response) -> None:
    document = json.loads(DOCUMENT_PATH.read_text())
    for operations in document["paths"].values():
        for operation in operations.values():
            assert operation["operationId"] in page.ids
    for name in document["components"]["schemas"]:
        assert f"model-{name}" in page.ids
    for name, example in document["components"]["examples"].items():
        assert name in answer.text
        assert "summary" not in example or f"<code>{name}</code>" in answer.text


def test_who_has_it_is_not_sent_it_again(answer: requests.Response, api: Api) -> None:
    again = api.get("/docs", {"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_nothing_else_is_served_beside_it(api: Api) -> None:
    for path in ("/docs/", "/docs/static/", "/docs/static/../templates/reference.html"):
        assert api.send_untidied("GET", path).status_code == 404
    assert api.send("POST", "/docs", b"{}").status_code == 405
