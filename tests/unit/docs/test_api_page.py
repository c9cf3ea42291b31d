"""docs/api.md against the errors, resources, requests and routes it describes."""

from __future__ import annotations

import inspect
import json
import re

import pytest
from pydantic import BaseModel

from api.app import create_app
from api.schemas import FileListing, KeyRequest, TaskListing, TaskRequest
from api.tenancy import NewKeyResource, ProjectLimits, ProjectResource, ProjectUsage
from ingest import errors
from ingest.environ import load_settings
from ingest.errors import HeadraceError, IngestError, RequestError, ServiceError
from ingest.resources import FileResource, TaskResource
from tests.support.pages import find_blocks, find_table, read_page

_PAGE = read_page("docs/api.md")
# A variable of a Flask route: <file_id> and <path:name> stand as {id} and {name} on the page.
_VARIABLE = re.compile(r"<(?:path:)?(?:[a-z]+_)?([a-z]+)>")


def _list_classes(base: type[HeadraceError]) -> list[type[HeadraceError]]:
    found = [
        one
        for one in vars(errors).values()
        if inspect.isclass(one) and issubclass(one, base) and one is not base
    ]
    return sorted(found, key=lambda one: one.__name__)


def _read_meaning(error: type[HeadraceError]) -> str:
    return " ".join((inspect.getdoc(error) or "").split())


def _read_section(heading: str) -> str:
    """Return what stands between a heading and the next of its level; ``heading`` has its marks."""
    marks = heading.partition(" ")[0]
    return _PAGE.split(f"\n{heading}\n")[1].split(f"\n{marks} ")[0]


def _list_fields(heading: str) -> list[str]:
    """Return the names in the first column of a section's table; a cell may name several."""
    rows = find_table(_read_section(heading), "field").rows
    return [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]


@pytest.mark.parametrize(
    ("base", "column"),
    [(RequestError, "code"), (ServiceError, "service error")],
    ids=["requests", "services"],
)
def test_each_error_of_a_request_is_listed_with_its_status(
    base: type[HeadraceError], column: str
) -> None:
    assert [list(row) for row in find_table(_PAGE, column).rows] == [
        [f"`{error.code}`", str(error.http_status), _read_meaning(error)]
        for error in _list_classes(base)
    ]


def test_each_error_of_an_ingest_is_listed_with_what_may_be_tried_again() -> None:
    assert [list(row) for row in find_table(_PAGE, "ingest error").rows] == [
        [f"`{error.code}`", "yes" if error.retryable else "no", _read_meaning(error)]
        for error in _list_classes(IngestError)
    ]


@pytest.mark.parametrize(
    ("heading", "resource"), [("File", FileResource), ("Task", TaskResource)], ids=["file", "task"]
)
def test_every_field_of_a_resource_is_described(heading: str, resource: type[BaseModel]) -> None:
    assert sorted(_list_fields(f"## {heading}")) == sorted(resource.model_fields)


def test_every_field_of_a_request_is_described() -> None:
    assert sorted(_list_fields("## What a request takes")) == sorted(TaskRequest.model_fields)


def test_every_field_of_a_key_is_shown_and_each_that_a_request_takes_is_named() -> None:
    section = _read_section("### POST /keys")

    (shown,) = find_blocks(section, "json")
    assert list(json.loads(shown.text)) == list(NewKeyResource.model_fields)
    assert all(f"`{name}`" in section for name in KeyRequest.model_fields)


def test_every_field_of_a_project_is_shown() -> None:
    (shown,) = find_blocks(_read_section("### GET /project"), "json")
    project = json.loads(shown.text)
    assert list(project) == list(ProjectResource.model_fields)
    assert list(project["limits"]) == list(ProjectLimits.model_fields)
    assert list(project["usage"]) == list(ProjectUsage.model_fields)


@pytest.mark.parametrize(
    ("endpoint", "listing"),
    [("GET /files", FileListing), ("GET /tasks", TaskListing)],
    ids=["files", "tasks"],
)
def test_every_parameter_of_a_list_is_named(endpoint: str, listing: type[BaseModel]) -> None:
    section = _read_section(f"### {endpoint}")

    assert all(f"`{name}`" in section for name in listing.model_fields)


def test_every_route_of_the_api_is_listed() -> None:
    app = create_app(
        load_settings(
            {
                "HEADRACE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
                "HEADRACE_REDIS_URL": "redis://127.0.0.1:1/0",
                "HEADRACE_S3_BUCKET": "none",
                "HEADRACE_S3_ACCESS_KEY_ID": "none",
                "HEADRACE_S3_SECRET_ACCESS_KEY": "none",
            }
        )
    )
    routes = {
        method + " " + _VARIABLE.sub(r"{\1}", rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if "/static/" not in rule.rule
    }

    assert {row[0].strip("`") for row in find_table(_PAGE, "endpoint").rows} == routes


def test_the_examples_are_json() -> None:
    blocks = find_blocks(_PAGE, "json")

    assert blocks
    for block in blocks:
        json.loads(block.text)
