"""What bad requests get: one answer for every bad key, the reason for a bad body, never a 5xx."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
import requests

from cli.local import LocalStack
from ingest.ids import Prefix, make_id
from storage.records import keys, projects
from storage.records.database import Database
from tests.e2e.refusals import strip_answer
from tests.support.api import Api, read_error, read_list

ENDPOINT = f"/webhooks/endpoints/{make_id(Prefix.ENDPOINT)}"
DELIVERY = f"/webhooks/deliveries/{make_id(Prefix.DELIVERY)}"
BATCH = f"/batches/{make_id(Prefix.BATCH)}"
ENDPOINTS = [
    ("POST", "/files"),
    ("GET", "/files"),
    ("GET", f"/files/{make_id(Prefix.FILE)}"),
    ("PATCH", f"/files/{make_id(Prefix.FILE)}"),
    ("DELETE", f"/files/{make_id(Prefix.FILE)}"),
    ("GET", "/media"),
    ("GET", f"/media/{make_id(Prefix.MEDIA)}"),
    ("DELETE", f"/media/{make_id(Prefix.MEDIA)}"),
    ("POST", "/tasks"),
    ("GET", "/tasks"),
    ("GET", f"/tasks/{make_id(Prefix.TASK)}"),
    ("GET", f"/tasks/{make_id(Prefix.TASK)}/events"),
    ("PATCH", f"/tasks/{make_id(Prefix.TASK)}"),
    ("POST", f"/tasks/{make_id(Prefix.TASK)}/cancel"),
    ("POST", f"/tasks/{make_id(Prefix.TASK)}/retry"),
    ("POST", "/batches"),
    ("GET", "/batches"),
    ("GET", BATCH),
    ("GET", f"{BATCH}/tasks"),
    ("GET", f"{BATCH}/results.csv"),
    ("GET", f"{BATCH}/results.ndjson"),
    ("POST", f"{BATCH}/pause"),
    ("POST", f"{BATCH}/resume"),
    ("POST", f"{BATCH}/cancel"),
    ("POST", f"{BATCH}/retry"),
    ("POST", "/webhooks/endpoints"),
    ("GET", "/webhooks/endpoints"),
    ("GET", ENDPOINT),
    ("PATCH", ENDPOINT),
    ("DELETE", ENDPOINT),
    ("GET", f"{ENDPOINT}/secret"),
    ("POST", f"{ENDPOINT}/rotate"),
    ("POST", f"{ENDPOINT}/test"),
    ("POST", f"{ENDPOINT}/replay"),
    ("GET", "/webhooks/secret"),
    ("POST", "/webhooks/secret/rotate"),
    ("GET", "/webhooks/deliveries"),
    ("GET", DELIVERY),
    ("POST", f"{DELIVERY}/redeliver"),
    ("GET", "/events"),
    ("GET", f"/events/{make_id(Prefix.EVENT)}"),
    ("POST", "/signatures"),
    ("GET", "/project"),
    ("POST", "/keys"),
    ("GET", "/keys"),
    ("GET", f"/keys/{make_id(Prefix.KEY)}"),
    ("DELETE", f"/keys/{make_id(Prefix.KEY)}"),
]
ENDPOINT_IDS = [f"{method} {path.partition('_')[0]}" for method, path in ENDPOINTS]
GOOD_BODY = b'{"kind": "ingest", "url": "http://nowhere.invalid/a.mp4"}'
JSON = {"Content-Type": "application/json"}
POSTS = ["/files", "/tasks"]


@pytest.fixture(scope="module")
def project(open_project: Callable[[], Api]) -> Iterator[Api]:
    """A project in which nothing may be left by anything that was refused."""
    api = open_project()
    yield api
    assert read_list(api.get("/tasks"))[1]["total"] == 0


@pytest.fixture(scope="module")
def revoked_key(database: Database) -> str:
    with database.transaction() as connection:
        project = projects.ensure_project(connection)
        key, secret = keys.create_key(connection, project.id, "revoked")
        assert keys.revoke_key(connection, project.id, key.id)
    return secret


def _make_bad_keys(good: str, revoked: str) -> dict[str, str | None]:
    return {
        "no header": None,
        "empty": "",
        "no key": "Bearer",
        "empty key": "Bearer  ",
        "wrong": "Bearer hr_" + "a" * 32,
        "revoked": f"Bearer {revoked}",
        "one letter more": f"Bearer {good}a",
        "one letter less": f"Bearer {good[:-1]}",
        "upper case": f"Bearer {good.upper()}",
        "in quotes": f'Bearer "{good}"',
        "two keys": f"Bearer {good} {good}",
        "another scheme": f"Basic {good}",
        "no scheme": good,
        "other letters": "Bearer hr_äöü",
        "long": "Bearer " + "a" * 4000,
        "injection": "Bearer ' OR 1=1 --",
    }


@pytest.mark.parametrize(("method", "path"), ENDPOINTS, ids=ENDPOINT_IDS)
def test_every_bad_key_gets_one_and_the_same_answer(
    method: str, path: str, stack: LocalStack, revoked_key: str
) -> None:
    answers = {}
    with Api(stack.api_url, None) as stranger:
        for name, value in _make_bad_keys(stack.api_key, revoked_key).items():
            headers = {} if value is None else {"Authorization": value.encode("latin-1")}
            answer = stranger.send(method, path, b"not even JSON", headers)  # type: ignore[arg-type]
            read_error(answer, 401, "unauthorized")
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="headrace"'
            answers[name] = strip_answer(answer)
    for name, stripped in answers.items():
        assert stripped == answers["no header"], name


def test_the_scheme_of_a_key_is_read_in_any_case(stack: LocalStack) -> None:
    with Api(stack.api_url, None) as stranger:
        for scheme in ("bearer", "BEARER"):
            read_list(stranger.get("/files", {"Authorization": f"{scheme} {stack.api_key}"}))


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "body",
    [
        b" ",
        b"{",
        b"}",
        b"url=http://nowhere.invalid/",
        b'{"url": "http://nowhere.invalid/"',
        b'{"url": "http://nowhere.invalid/"} {}',
        b"{'url': 'http://nowhere.invalid/'}",
        b'{"url": "http://nowhere.invalid/",}',
        b'{"url": "http://nowhere.invalid/\xff"}',
        b'{"url": "http://nowhere.invalid/\n"}',
        b'{"kind": "ingest", "url": "http://nowhere.invalid/", "max_bytes": NaN}',
        b'{"kind": "ingest", "url": "http://nowhere.invalid/", "metadata": {"a": NaN}}',
        b'{"kind": "ingest", "url": "http://nowhere.invalid/", "metadata": {"a": -Infinity}}',
        b'{"kind": "ingest", "url": "http://nowhere.invalid/", "metadata": {"a": 1e999}}',
        b'{"kind": "ingest", "url": "http://nowhere.invalid/", "url": "http://other.invalid/"}',
        b'{"kind": "ingest", "url": "http://nowhere.invalid/", "metadata": {"a": 1, "a": 2}}',
        b'{"max_bytes": ' + b"9" * 5000 + b"}",
        b"\xff\xfe\x00",
        GOOD_BODY.decode().encode("utf-16"),
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"metadata":' + b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:70]),
)
def test_a_body_that_is_no_json_is_refused(path: str, body: bytes, project: Api) -> None:
    error = read_error(project.send("POST", path, body, JSON), 400, "body_invalid")
    assert error["param"] is None


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("body", ["[]", '[{"url": "x"}]', '"text"', "5", "5.5", "true", "null"])
def test_a_body_that_is_no_object_is_refused(path: str, body: str, project: Api) -> None:
    error = read_error(project.send("POST", path, body.encode(), JSON), 400, "body_invalid")
    assert "object" in str(error["message"])


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "application/json-seq",
        "application/xml",
        "json",
        "application/octet-stream; application/json",
    ],
)
def test_a_body_of_another_type_is_refused(
    path: str, content_type: str | None, project: Api
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    error = read_error(
        project.send("POST", path, GOOD_BODY, headers), 415, "media_type_unsupported"
    )
    assert "application/json" in str(error["message"])


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/json;x=1",
        "application/json ;",
    ],
)
def test_a_type_with_parameters_or_in_another_case_is_taken(
    content_type: str, project: Api
) -> None:
    answer = project.send("POST", "/tasks", b"{}", {"Content-Type": content_type})
    read_error(answer, 422, "field_invalid")


def _pad(size: int) -> bytes:
    return b"{" + b" " * (size - 2) + b"}"


@pytest.mark.parametrize("path", POSTS)
def test_a_body_over_one_mebibyte_is_refused_however_it_is_sent(path: str, project: Api) -> None:
    read_error(project.send("POST", path, _pad(1024**2), JSON), 422, "field_invalid")
    over = _pad(1024**2 + 1)
    error = read_error(project.send("POST", path, over, JSON), 413, "body_too_large")
    assert "1 MiB" in str(error["message"])
    pieces = (over[at : at + 65536] for at in range(0, len(over), 65536))
    read_error(project.send("POST", path, pieces, JSON), 413, "body_too_large")


def test_a_body_of_several_mebibytes_is_refused_before_it_was_read(project: Api) -> None:
    # Headers alone: nothing of the body was sent when the answer comes.
    session = requests.Session()
    session.trust_env = False
    request = requests.Request("POST", f"{project.url}/files").prepare()
    request.headers.update(
        {**JSON, "Authorization": f"Bearer {project.key}", "Content-Length": str(50 * 1024**2)}
    )
    answer = session.send(request, timeout=10)
    read_error(answer, 413, "body_too_large")
    session.close()


def test_a_chunked_body_of_good_size_is_taken(project: Api) -> None:
    answer = project.send("POST", "/tasks", iter([b'{"kind": ', b'"x"}']), JSON)
    assert read_error(answer, 422, "field_invalid")["param"] in {"kind", "url"}


@pytest.mark.parametrize("depth", [9, 100, 500, 900])
def test_metadata_that_is_nested_too_deep_is_refused_by_name(depth: int, project: Api) -> None:
    nested = "[" * depth + "]" * depth
    body = f'{{"kind": "ingest", "url": "http://nowhere.invalid/", "metadata": {{"a": {nested}}}}}'
    error = read_error(project.send("POST", "/tasks", body.encode(), JSON), 422, "field_invalid")
    assert error["param"] == "metadata"


def test_an_answer_never_shows_the_insides(api: Api) -> None:
    """No traceback, no SQL, no path of a module, whatever was sent."""
    for body in ({"url": "\x00"}, {"url": ["a"]}, {"url": {"$ne": 1}}, {"kind": "x" * 9000}):
        text = api.post("/tasks", body).text
        assert "Traceback" not in text
        assert "pydantic" not in text
        assert ".py" not in text
        assert len(text) < 1000
        json.loads(text)
