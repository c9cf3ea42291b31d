"""``Idempotency-Key``: a POST that is sent again is done once, and answered alike."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import cast

import pytest
import requests
import structlog
from sqlalchemy import text

from api.app import create_app
from api.services import Services
from cli.local import LocalStack
from ingest.access import Scope
from ingest.config import Settings
from storage.records.database import Database
from tests.support.api import Api, JsonDict, read_error, read_list, read_object
from tests.support.origin import Origin
from tests.support.projects import make_project

AT_ONCE = 100


@pytest.fixture
def owner(stack: LocalStack, database: Database) -> Iterator[Api]:
    """An empty project, with a key of the scope admin."""
    _, secret = make_project(database, scopes=[Scope.ADMIN])
    with Api(stack.api_url, secret) as api:
        yield api


def _key(text: str) -> dict[str, str]:
    return {"Idempotency-Key": text}


def _order(url: str) -> JsonDict:
    return {"kind": "ingest", "url": url}


def _see(answer: requests.Response) -> tuple[int, bytes, str | None, str | None]:
    headers = answer.headers
    return answer.status_code, answer.content, headers.get("Location"), headers["Content-Type"]


def test_a_hundred_at_once_make_one_task_and_have_one_answer(
    owner: Api, stack: LocalStack, picture_url: str
) -> None:
    def send(_: int) -> requests.Response:
        with Api(stack.api_url, owner.key) as api:
            return api.post("/tasks", _order(picture_url), _key("b6"))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(send, range(AT_ONCE)))
    assert {_see(one)[0] for one in answers} == {201}
    assert len({_see(one) for one in answers}) == 1
    replayed = [one.headers.get("Idempotency-Replayed") for one in answers]
    assert sorted(replayed, key=str) == [None] + ["true"] * (AT_ONCE - 1)
    assert read_list(owner.get("/tasks"))[1]["total"] == 1
    assert len({one.headers["X-Request-Id"] for one in answers}) == AT_ONCE


@pytest.mark.parametrize("path", ["/files", "/tasks", "/batches", "/keys", "/webhooks/endpoints"])
def test_whatever_is_made_is_made_once(path: str, owner: Api, picture_url: str) -> None:
    body: JsonDict = {
        "/files": {"url": picture_url},
        "/tasks": _order(picture_url),
        "/batches": {"items": [{"url": picture_url}]},
        "/keys": {"name": "once"},
        "/webhooks/endpoints": {"url": "https://example.com/", "topics": ["*"]},
    }[path]  # type: ignore[assignment]  # one of them
    before = cast("int", read_list(owner.get(path))[1]["total"])
    first, again = (owner.post(path, body, _key(f"once {path}".replace(" ", "-"))) for _ in "12")
    assert first.status_code == 201
    assert _see(again) == _see(first)
    assert read_list(owner.get(path))[1]["total"] == before + 1


def test_a_refusal_is_kept_too_and_another_request_is_refused(
    owner: Api, origin: Origin, picture_url: str
) -> None:
    order: JsonDict = {"url": origin.url("/idempotency/nothing")}
    first, again = (owner.post("/files", order, _key("gone")) for _ in "12")
    assert first.status_code == 422
    assert _see(again) == _see(first)
    for path, body in (("/files", {"url": picture_url}), ("/files?x=1", order), ("/tasks", order)):
        answer = owner.post(path, body, _key("gone"))
        assert read_error(answer, 422, "idempotency_mismatch")["param"] == "Idempotency-Key"


def test_a_key_is_known_to_its_project_alone(
    owner: Api, stack: LocalStack, database: Database, picture_url: str
) -> None:
    _, secret = make_project(database)
    first = read_object(owner.post("/tasks", _order(picture_url), _key("mine")), 201)
    with Api(stack.api_url, secret) as stranger:
        second = read_object(stranger.post("/tasks", _order(picture_url), _key("mine")), 201)
    assert first["id"] != second["id"]


@pytest.mark.parametrize("key", ["", "a b", "a" * 256, "ä"])
def test_what_is_no_key_is_refused(key: str, owner: Api, picture_url: str) -> None:
    headers = {"Idempotency-Key": key.encode("latin-1")}
    answer = owner.post("/tasks", _order(picture_url), headers)  # type: ignore[arg-type]
    assert read_error(answer, 422, "field_invalid")["param"] == "Idempotency-Key"


def test_one_that_is_being_answered_is_waited_for_and_then_told_to_come_again(
    owner: Api, database: Database, picture_url: str
) -> None:
    first = owner.post("/tasks", _order(picture_url), _key("busy"))
    _forget_answer(database, "busy", lease_s=60)
    late = owner.post("/tasks", _order(picture_url), _key("busy"))
    read_error(late, 409, "idempotency_in_flight")
    assert late.headers["Retry-After"] == "1"
    assert late.elapsed.total_seconds() > 4
    _forget_answer(database, "busy", lease_s=1)
    again = owner.post("/tasks", _order(picture_url), _key("busy"))
    assert read_object(again, 201)["id"] == read_object(first, 201)["id"]


def test_one_that_died_before_it_was_answered_has_made_its_task_once(
    owner: Api, database: Database, picture_url: str
) -> None:
    made = read_object(owner.post("/tasks", _order(picture_url), _key("died")), 201)
    _forget_answer(database, "died")
    again = read_object(owner.post("/tasks", _order(picture_url), _key("died")), 201)
    assert again["id"] == made["id"]
    batch = {"items": [{"url": picture_url}]}
    made = read_object(owner.post("/batches", batch, _key("died-too")), 201)
    _forget_answer(database, "died-too")
    assert read_object(owner.post("/batches", batch, _key("died-too")), 201)["id"] == made["id"]
    file = read_object(owner.post("/files", {"url": picture_url}, _key("died-last")), 201)
    _forget_answer(database, "died-last")
    again = read_object(owner.post("/files", {"url": picture_url}, _key("died-last")), 201)
    assert again["id"] == file["id"]


def _forget_answer(database: Database, key: str, lease_s: float = -1) -> None:
    """Leave a request as a process leaves it that is killed before it answers.

    Args:
        lease_s: how long others take it for busy still.
    """
    with database.transaction() as connection:
        connection.execute(
            text(
                "UPDATE idempotency_keys SET status = NULL, lease_until = now() + :lease"
                " WHERE key = :key"
            ),
            {"key": key, "lease": timedelta(seconds=lease_s)},
        )


def test_answers_are_kept_sealed(owner: Api, database: Database) -> None:
    made = read_object(owner.post("/keys", {"name": "sealed"}, _key("sealed")), 201)
    with database.transaction() as connection:
        query = text("SELECT body, is_sealed FROM idempotency_keys WHERE key = 'sealed'")
        row = connection.execute(query).one()
    assert row.is_sealed
    assert str(made["secret"]).encode() not in bytes(row.body)


def test_without_keys_to_seal_with_a_secret_is_not_kept(settings: Settings, owner: Api) -> None:
    app = create_app(settings.model_copy(update={"secret_keys": ()}))
    headers = {"Authorization": f"Bearer {owner.key}", **_key("bare")}
    client = app.test_client()
    try:
        first, again = (client.post("/keys", json={"name": "bare"}, headers=headers) for _ in "12")
    finally:
        structlog.contextvars.clear_contextvars()
        services: Services = app.extensions["headrace"]
        services.queue.close()
        services.signals.close()
        services.database.close()
    made, told = first.get_json()["data"], again.get_json()["data"]
    assert (first.status_code, again.status_code) == (201, 201)
    assert told == {**made, "secret": None}
