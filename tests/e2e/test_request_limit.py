"""What a key meets that sends more requests than it may."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli.local import LocalStack
from storage.records import keys, projects
from storage.records.database import Database
from tests.e2e.conftest import MakeStack
from tests.support.api import Api, read_error, read_list, read_object
from tests.support.origin import Origin

LIMIT = 12


@pytest.fixture(scope="module")
def stack(make_stack: MakeStack, origin: Origin) -> Iterator[LocalStack]:
    """A stack whose keys may do little."""
    with make_stack(origin, HEADRACE_RATE_LIMIT=f"{LIMIT}/day") as running:
        yield running


@pytest.fixture
def api(stack: LocalStack, own_database: Database) -> Iterator[Api]:
    """A key that has sent nothing yet."""
    with own_database.transaction() as connection:
        _, secret = keys.create_key(connection, projects.ensure_project(connection).id, "fresh")
    with Api(stack.api_url, secret) as opened:
        yield opened


def test_each_answer_says_how_the_key_stands_and_one_too_many_is_refused(
    api: Api, picture_url: str
) -> None:
    for sent in range(1, LIMIT + 1):
        answer = api.get("/files" if sent % 2 else "/tasks")
        read_list(answer)
        assert answer.headers["RateLimit-Limit"] == str(LIMIT)
        assert answer.headers["RateLimit-Remaining"] == str(LIMIT - sent)
        assert 0 < int(answer.headers["RateLimit-Reset"]) <= 86_400
    for refused in (api.post("/files", {"url": picture_url}), api.get("/files")):
        error = read_error(refused, 429, "rate_limited")
        assert f"{LIMIT} requests per day" in str(error["message"])
        assert refused.headers["RateLimit-Remaining"] == "0"
        assert refused.headers["Retry-After"] == refused.headers["RateLimit-Reset"]


def test_a_key_that_is_refused_takes_nothing_from_the_others(api: Api, stack: LocalStack) -> None:
    for _ in range(LIMIT + 1):
        answer = api.get("/files")
    read_error(answer, 429, "rate_limited")
    with Api(stack.api_url, stack.api_key) as other:
        read_list(other.get("/files"))


def test_a_refused_request_was_not_begun(
    api: Api, own_database: Database, stack: LocalStack, picture_url: str
) -> None:
    for _ in range(LIMIT):
        api.get("/files/x")
    read_error(
        api.post("/tasks", {"kind": "ingest", "url": picture_url, "ref": "late"}),
        429,
        "rate_limited",
    )
    with Api(stack.api_url, stack.api_key) as other:
        assert read_list(other.get("/tasks?ref=late"))[0] == []


def test_who_has_no_key_is_not_counted(stack: LocalStack) -> None:
    with Api(stack.api_url, "hr_wrong") as stranger:
        for _ in range(LIMIT + 2):
            answer = stranger.get("/files")
            read_error(answer, 401, "unauthorized")
            assert "RateLimit-Limit" not in answer.headers
        assert stranger.get("/healthz").status_code == 200


def test_an_ingest_is_one_request_however_long_it_takes(api: Api, picture_url: str) -> None:
    before = api.post("/files", {"url": picture_url})
    read_object(before, 201)
    assert before.headers["RateLimit-Remaining"] == str(LIMIT - 1)
