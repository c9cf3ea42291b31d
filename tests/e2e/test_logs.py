"""What the roles write down: events in JSON, one ingest followed by its ids, and no secret."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from cli.local import LocalStack
from tests.support.api import Api, JsonDict, read_error, read_object
from tests.support.origin import Origin, TlsCase
from tests.support.waiting import wait_until

ROLES = ["api", "worker", "sender", "beat"]


def _read_events(stack: LocalStack, role: str) -> list[Mapping[str, object]]:
    lines = (stack.home.logs / f"{role}.log").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert all(isinstance(event, dict) for event in events)
    return events


def _find_events(stack: LocalStack, role: str, **wanted: object) -> list[Mapping[str, object]]:
    return [
        event
        for event in _read_events(stack, role)
        if all(event.get(name) == value for name, value in wanted.items())
    ]


@pytest.mark.parametrize("role", ROLES)
def test_every_line_of_a_role_is_an_event_in_json(role: str, stack: LocalStack) -> None:
    events = _read_events(stack, role)
    assert events
    for event in events:
        assert {"event", "level", "time", "logger"} <= set(event)
        assert event["level"] in {"debug", "info", "warning", "error", "critical"}


def test_an_ingest_is_followed_through_api_and_worker_by_its_ids(
    stack: LocalStack, api: Api, picture_url: str
) -> None:
    # A connection that stands is not judged again, so this host has to be another than before.
    picture_url = picture_url.replace("127.0.0.1", "localhost.")
    answer = api.post("/files", {"url": picture_url})
    file = read_object(answer, 201)
    request_id = answer.headers["X-Request-Id"]

    (created,) = _find_events(stack, "api", event="task.created", request_id=request_id)
    task_id = created["task_id"]
    (answered,) = _find_events(stack, "api", event="request.answered", request_id=request_id)
    assert (answered["method"], answered["path"], answered["status"]) == ("POST", "/files", 201)
    ids = {"task_id": task_id, "request_id": request_id, "attempt": 1}
    (started,) = _find_events(stack, "worker", event="ingest.started", **ids)
    assert started["source"] == picture_url
    (judged,) = _find_events(stack, "worker", event="egress.judged", **ids)
    assert (judged["allowed"], judged["reason"]) == (True, "excepted")

    def find_end() -> list[Mapping[str, object]]:
        return _find_events(stack, "worker", event="ingest.ended", **ids)

    (ended,) = wait_until(find_end, "the last word on an ingest")
    assert (ended["outcome"], ended["bytes"]) == ("complete", file["filesize"])
    assert {event["worker"] for event in (started, judged, ended)} == {ended["worker"]}


def test_a_failed_ingest_is_told_with_its_code(stack: LocalStack, api: Api, origin: Origin) -> None:
    error = read_error(
        api.post("/files", {"url": origin.url("/logs/nothing")}), 422, "source_not_found"
    )

    def find_end() -> list[Mapping[str, object]]:
        return _find_events(stack, "worker", event="ingest.ended", task_id=error["task_id"])

    (ended,) = wait_until(find_end, "the last word on an ingest")
    assert ended["outcome"] == "source_not_found"


def _make_sources(
    origin: Origin, tls: Origin, closed_port: int, secret: str
) -> dict[str, tuple[str, int]]:
    """Return URLs with a secret in the query, by what becomes of them."""
    query = f"?X-Amz-Signature={secret}&x=1"
    return {
        "good": (origin.url("/good/picture.jpg" + query), 201),
        "missing": (origin.url("/logs/nothing" + query), 422),
        "unresolved": (f"http://nowhere.invalid/a{query}", 422),
        "refused": (f"http://127.0.0.1:{closed_port}/a{query}", 422),
        "blocked": (f"http://127.0.0.1:1/a{query}", 422),
        "tls": (tls.url("/a" + query), 422),
        "no http": (origin.serve_raw("/logs/ssh", b"SSH-2.0\r\n") + query, 422),
        "redirected": (origin.redirect("/logs/there", "/good/picture.jpg" + query), 201),
        "redirected away": (origin.redirect("/logs/ftp", f"ftp://nowhere.invalid/{query}"), 422),
        "redirected nowhere": (
            origin.redirect("/logs/dns", f"http://nowhere.invalid/{query}"),
            422,
        ),
        "cut": (
            origin.serve("/logs/cut", b"GIF89a", content_lengths=("100",)) + query,
            422,
        ),
        "no media": (origin.serve("/logs/text", b"hello") + query, 422),
        "not taken": (f"ftp://nowhere.invalid/{query}", 422),
    }


def _list_logs(stack: LocalStack) -> list[Path]:
    return sorted(stack.home.logs.glob("*.log"))


@pytest.mark.usefixtures("picture_url")
def test_no_signature_stands_in_any_log_or_answer(
    stack: LocalStack,
    api: Api,
    origin: Origin,
    tls_origins: dict[TlsCase, Origin],
    closed_port: int,
) -> None:
    secret = secrets.token_hex(20)
    sources = _make_sources(origin, tls_origins[TlsCase.EXPIRED], closed_port, secret)

    for name, (url, status) in sources.items():
        answer = api.post("/files", {"url": url})
        assert answer.status_code == status, name
        # What was asked for may be shown to who asked, as it was refused; nothing else is.
        assert name == "not taken" or secret not in answer.text, name

    for log in _list_logs(stack):
        assert secret not in log.read_text(errors="replace"), log.name


def test_no_api_key_stands_in_any_log(stack: LocalStack, api: Api) -> None:
    wrong = "hr_" + secrets.token_hex(16)
    api.get("/files")
    for headers in ({"Authorization": f"Bearer {wrong}"}, {"Authorization": f"Basic {wrong}"}):
        api.get("/files", headers)
        api.post("/tasks", {"url": 5}, headers)
    for log in _list_logs(stack):
        text = log.read_text(errors="replace")
        assert stack.api_key not in text, log.name
        assert wrong not in text, log.name


def test_no_password_of_a_server_stands_in_the_log_of_a_role(stack: LocalStack) -> None:
    kept = stack.home.load_secrets().model_dump()
    for role in ROLES:
        text = (stack.home.logs / f"{role}.log").read_text()
        for name, value in kept.items():
            assert value not in text, (role, name)


def test_the_query_of_a_request_is_not_written_down(stack: LocalStack, api: Api) -> None:
    answer = api.get("/files?ref=a-secret-of-mine")
    request_id = answer.headers["X-Request-Id"]
    (event,) = _find_events(stack, "api", event="request.answered", request_id=request_id)
    assert event["path"] == "/files"
    assert "a-secret-of-mine" not in (stack.home.logs / "api.log").read_text()


@pytest.mark.parametrize(
    "path", ["/files/a%0ab", '/files/"},{"event":"fake"', "/files/%1b[31mred", "/files/%E2%80%AE"]
)
def test_nobody_writes_a_line_of_their_own_into_a_log(
    path: str, stack: LocalStack, api: Api, find_request: Callable[[str], JsonDict]
) -> None:
    answer = api.send_untidied("GET", path.replace('"', "%22"))
    event = find_request(answer.headers["X-Request-Id"])
    assert event["status"] == 404
    assert str(event["path"]).startswith("/files/")
    raw = (stack.home.logs / "api.log").read_bytes()
    assert b"\x1b" not in raw


@pytest.fixture
def find_request(stack: LocalStack) -> Callable[[str], JsonDict]:
    """Returns the one event that a request ended with."""

    def find(request_id: str) -> JsonDict:
        (event,) = _find_events(stack, "api", event="request.answered", request_id=request_id)
        return dict(event)

    return find
