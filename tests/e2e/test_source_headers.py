"""Headers that an order has sent to its source: to whom they go, and where they must not be."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import pytest
from sqlalchemy import text

from cli.local import LocalStack
from storage.records.database import Database
from tests.e2e.refusals import strip_answer
from tests.support.api import Api, JsonDict, read_error, read_object
from tests.support.figures import Figures
from tests.support.origin import Cut, Drip, Origin, Reply, Request
from tests.support.tasks import create_task, wait_for_end


@pytest.fixture
def token() -> str:
    """A secret that is nowhere else."""
    return f"hunter-{secrets.token_hex(8)}"


def list_tokens(origin: Origin, path: str) -> list[str | None]:
    """Return what each request for a path had for a token, in order."""
    return [one.headers.get("x-token") for one in _list_requests(origin, path)]


def _list_requests(origin: Origin, path: str) -> list[Request]:
    return [one for one in origin.requests if one.path == path]


def ingest(api: Api, url: str, token: str, **more: object) -> JsonDict:
    """Make a file of what asks for a token; return it."""
    order = {"url": url, "headers": {"X-Token": token}, **more}
    return read_object(api.post("/files", order), 201)


def test_headers_are_sent_in_place_of_our_own(api: Api, origin: Origin, picture: bytes) -> None:
    url = origin.serve("/headers/own.jpg", picture)
    headers = {"User-Agent": "mine/1", "Accept": "image/*", "Authorization": "Bearer x", "A": "b c"}
    read_object(api.post("/files", {"url": url, "headers": headers}), 201)
    (asked,) = _list_requests(origin, "/headers/own.jpg")
    assert {name: asked.headers[name.lower()] for name in headers} == headers
    assert asked.headers["range"] == "bytes=0-"
    assert asked.headers["accept-encoding"] == "identity"


@pytest.mark.security
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_headers_follow_a_redirect_within_their_origin_alone(
    api: Api, origin: Origin, picture: bytes, token: str, status: int, security_figures: Figures
) -> None:
    # Another name for the same server is another origin.
    elsewhere = f"http://localhost:{origin.port}"
    names = [f"/headers/{status}/{token}/{name}" for name in ("a", "b", "c", "d")]
    origin.redirect(names[0], names[1], status)
    origin.redirect(names[1], elsewhere + names[2], status)
    # It leads back, to wherever it likes.
    origin.redirect(names[2], origin.url(names[3]), status)
    origin.serve(names[3], picture)

    ingest(api, origin.url(names[0]), token)

    seen = [list_tokens(origin, name) for name in names]
    with security_figures.row(
        "S2", f"a secret header, and {status} to another origin and back"
    ) as row:
        row.note("its own origin gets it", len(seen[:2]), held=seen[:2] == [[token], [token]])
        row.note(
            "nobody gets it from there on",
            sum(map(any, seen[2:])),
            held=seen[2:] == [[None], [None]],
        )


def test_the_rest_of_a_file_is_asked_for_with_the_headers_that_its_beginning_had(
    api: Api, origin: Origin, video: bytes, token: str
) -> None:
    within = Reply(body=video, ranges=True, etag='"one"', cut=Cut(len(video) // 2))
    whole = Reply(body=video, ranges=True, etag='"one"')
    near, far = f"/headers/near/{token}", f"/headers/far/{token}"
    for name in (near, far):
        origin.route(name, within, whole)
    origin.redirect(f"{far}/start", f"http://localhost:{origin.port}{far}")

    ingest(api, origin.url(near), token)
    ingest(api, origin.url(f"{far}/start"), token)

    assert list_tokens(origin, near) == [token, token]
    # The rest of it was asked for where the redirect had led, which got none before.
    assert list_tokens(origin, f"{far}/start") == [token]
    assert list_tokens(origin, far) == [None, None]


def test_headers_are_kept_sealed_and_no_longer_than_they_are_needed(
    api: Api, origin: Origin, picture: bytes, token: str, stack: LocalStack, database: Database
) -> None:
    url = origin.serve(f"/headers/{token[-4:]}.jpg", picture, drip=Drip(200, 0.02))
    order = {"kind": "ingest", "url": url, "headers": {"X-Token": token}}
    answers = [api.post("/tasks", order)]
    task = read_object(answers[0], 201)
    rows = [_read_row(database, str(task["id"]))]
    assert wait_for_end(api, task)["status"] == "complete"
    rows.append(_read_row(database, str(task["id"])))

    assert rows[0]["sealed_headers"] is not None
    assert rows[1]["sealed_headers"] is None
    answers += [api.get(f"/tasks/{task['id']}"), api.get("/tasks"), api.get("/files")]
    logs = [path.read_text() for path in stack.home.logs.glob("*.log")]
    for said in [*map(str, rows), *(answer.text for answer in answers), *logs]:
        assert token not in said


def _read_row(database: Database, task_id: str) -> Mapping[str, object]:
    with database.transaction() as connection:
        row = connection.execute(text("SELECT * FROM tasks WHERE id = :id"), {"id": task_id}).one()
    return dict(row._mapping)


def test_a_task_that_is_tried_again_has_its_headers_still(
    api: Api, origin: Origin, picture: bytes, token: str
) -> None:
    path = f"/headers/again/{token}"
    origin.route(path, Reply(status=404), Reply(body=picture))
    task = create_task(api, origin.url(path), headers={"X-Token": token})
    assert wait_for_end(api, task)["status"] == "failed"
    read_object(api.post(f"/tasks/{task['id']}/retry", {}))
    assert wait_for_end(api, task)["status"] == "complete"
    assert list_tokens(origin, path) == [token, token]


@pytest.mark.parametrize(
    ("host", "change", "expected"),
    [
        ("127.0.0.1", {}, "old"),
        ("localhost", {}, None),
        ("127.0.0.1", {"headers": None}, None),
        ("127.0.0.1", {"headers": {}}, None),
        ("127.0.0.1", {"headers": {"X-Token": "new"}}, "new"),
        ("localhost", {"headers": {"X-Token": "new"}}, "new"),
    ],
)
def test_a_new_url_gets_no_headers_that_were_meant_for_another_origin(
    api: Api,
    origin: Origin,
    picture: bytes,
    token: str,
    host: str,
    change: JsonDict,
    expected: str | None,
) -> None:
    path = f"/headers/changed/{token}"
    origin.serve(path, picture)
    task = create_task(api, origin.url(f"{path}/missing"), headers={"X-Token": "old"})
    assert wait_for_end(api, task)["status"] == "failed"
    url = f"http://{host}:{origin.port}{path}"
    read_object(api.patch(f"/tasks/{task['id']}", {"url": url, **change}))
    read_object(api.post(f"/tasks/{task['id']}/retry", {}))
    assert wait_for_end(api, task)["status"] == "complete"
    assert list_tokens(origin, path) == [expected]


@pytest.mark.parametrize("path", ["/files", "/tasks"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "hunter7"},
        {"Range": "bytes=hunter7"},
        {"X-Token": "hunter7\r\nX-Other: b"},
        {"X-Token\r\nhunter7": "b"},
        {"X-Token": ""},
        {"X-Token": "hunter7ä"},
        {"X-Token": ["hunter7"]},
        {"X-Token": None},
        {"X-Token": 7},
        {"X-Token": "hunter7", "x-token": "hunter7"},
        {"X-Token": "hunter7" * 2000},
        {f"X-{number}": "hunter7" for number in range(33)},
        ["X-Token: hunter7"],
        "X-Token: hunter7",
    ],
    ids=lambda value: value if isinstance(value, str) else ascii(value)[:50],
)
def test_bad_headers_are_refused_and_not_shown(api: Api, path: str, headers: object) -> None:
    order = {"url": "http://nowhere.invalid/a.mp4", "headers": headers}
    answer = api.post(path, order if path == "/files" else {"kind": "ingest", **order})
    assert read_error(answer, 422, "field_invalid")["param"] == "headers"
    assert "hunter7" not in answer.text


def test_an_object_takes_no_headers(api: Api) -> None:
    order = {"url": "s3://archive/a.mp4", "headers": {"A": "b"}}
    error = read_error(api.post("/files", order), 422, "field_invalid")
    assert error["param"] == "headers"


def test_no_headers_are_as_good_as_none(api: Api, picture_url: str) -> None:
    nothing: list[JsonDict | None] = [None, {}]
    for headers in nothing:
        read_object(api.post("/files", {"url": picture_url, "headers": headers}), 201)


def test_the_answer_to_a_task_with_headers_is_that_of_one_without(
    api: Api, picture_url: str
) -> None:
    order = {"kind": "ingest", "url": picture_url}
    plain = api.post("/tasks", order)
    sealed = api.post("/tasks", {**order, "headers": {"A": "b"}})
    assert plain.json()["data"].keys() == sealed.json()["data"].keys()
    assert strip_answer(plain)[0] == strip_answer(sealed)[0] == 201
