"""``/keys``: what each scope opens, and that a key ends when it is revoked or its time is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from cli.local import LocalStack
from ingest.access import Scope
from ingest.ids import Prefix, make_id
from storage.records.database import Database
from tests.support.api import ULID, Api, JsonDict, read_error, read_list, read_object
from tests.support.projects import make_project
from tests.support.waiting import wait_until

LOOKS = ["/files", "/tasks", f"/files/{make_id(Prefix.FILE)}", f"/tasks/{make_id(Prefix.TASK)}"]
TASK = f"/tasks/{make_id(Prefix.TASK)}"
DEEDS = [
    ("POST", "/files"),
    ("POST", "/tasks"),
    ("PATCH", TASK),
    ("POST", f"{TASK}/cancel"),
    ("POST", f"{TASK}/retry"),
    ("DELETE", f"/files/{make_id(Prefix.FILE)}"),
]
KEEPING = [
    ("GET", "/keys"),
    ("POST", "/keys"),
    ("GET", f"/keys/{make_id(Prefix.KEY)}"),
    ("DELETE", f"/keys/{make_id(Prefix.KEY)}"),
]


@pytest.fixture(scope="module")
def admin(stack: LocalStack, database: Database) -> Iterator[Api]:
    """A key that keeps the keys of an empty project."""
    _, secret = make_project(database, scopes=[Scope.ADMIN])
    with Api(stack.api_url, secret) as api:
        yield api


@pytest.fixture
def make_key(admin: Api, stack: LocalStack) -> Iterator[Callable[..., tuple[JsonDict, Api]]]:
    """Makes a key over the API; returns it, and a client that has it."""
    opened: list[Api] = []

    def make(**fields: object) -> tuple[JsonDict, Api]:
        key = read_object(admin.post("/keys", {"name": "made", **fields}), 201)
        opened.append(Api(stack.api_url, str(key["secret"])))
        return key, opened[-1]

    yield make
    for api in opened:
        api.__exit__()


def is_let_in(api: Api, method: str, path: str) -> bool:
    """Return whether a key opens an endpoint: what comes then is none of the key's business."""
    answer = api.send(method, path, b"{}", {"Content-Type": "application/json"})
    if answer.status_code == 403:
        error = read_error(answer, 403, "forbidden")
        assert "scope" in str(error["message"])
        assert error["param"] is None
        return False
    assert answer.status_code in {200, 204, 404, 422}
    return True


@pytest.mark.parametrize(
    ("scopes", "looks", "deeds", "keeps"),
    [
        (["read"], True, False, False),
        (["write"], False, True, False),
        (["read", "write"], True, True, False),
        (["admin"], True, True, True),
        (["admin", "read"], True, True, True),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_a_key_opens_what_its_scopes_say(
    make_key: Callable[..., tuple[JsonDict, Api]],
    scopes: list[str],
    *,
    looks: bool,
    deeds: bool,
    keeps: bool,
) -> None:
    _, api = make_key(scopes=scopes)
    assert {is_let_in(api, "GET", path) for path in LOOKS} == {looks}
    assert {is_let_in(api, *deed) for deed in DEEDS} == {deeds}
    assert {is_let_in(api, *deed) for deed in KEEPING} == {keeps}


def test_a_key_is_shown_with_its_secret_once(
    admin: Api, make_key: Callable[..., tuple[JsonDict, Api]]
) -> None:
    key, _ = make_key(name="laptop", scopes=["write", "read", "write"])
    secret = str(key.pop("secret"))
    assert secret.startswith(str(key["prefix"]))
    assert key["scopes"] == ["read", "write"]
    assert (key["last_used"], key["expires"], key["revoked"]) == (None, None, None)
    assert read_object(admin.get(f"/keys/{key['id']}")) == key
    listed, _, _ = read_list(admin.get("/keys?limit=1"))
    assert listed == [key]
    assert secret not in admin.get("/keys").text


def test_a_key_reads_and_writes_if_nothing_else_is_said(
    make_key: Callable[..., tuple[JsonDict, Api]],
) -> None:
    assert make_key()[0]["scopes"] == ["read", "write"]


def test_a_key_that_was_used_says_when(
    admin: Api, make_key: Callable[..., tuple[JsonDict, Api]]
) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    key, api = make_key()
    read_list(api.get("/files"))
    used = str(read_object(admin.get(f"/keys/{key['id']}"))["last_used"])
    assert before < datetime.fromisoformat(used) < datetime.now(UTC) + timedelta(seconds=1)
    # To a minute: what comes soon after is not written.
    read_list(api.get("/files"))
    assert read_object(admin.get(f"/keys/{key['id']}"))["last_used"] == used


def test_a_key_ends_with_the_answer_that_revokes_it(
    admin: Api, make_key: Callable[..., tuple[JsonDict, Api]]
) -> None:
    key, api = make_key()
    read_list(api.get("/files"))
    for _ in range(2):
        assert admin.delete(f"/keys/{key['id']}").status_code == 204
        read_error(api.get("/files"), 401, "unauthorized")
    assert read_object(admin.get(f"/keys/{key['id']}"))["revoked"] is not None


def test_a_key_may_revoke_itself(make_key: Callable[..., tuple[JsonDict, Api]]) -> None:
    key, api = make_key(scopes=["admin"])
    assert api.delete(f"/keys/{key['id']}").status_code == 204
    read_error(api.delete(f"/keys/{key['id']}"), 401, "unauthorized")


def test_a_key_ends_when_its_time_is_over(
    make_key: Callable[..., tuple[JsonDict, Api]],
) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=1.5)
    key, api = make_key(expires=ends.isoformat())
    read_list(api.get("/files"))
    assert datetime.fromisoformat(str(key["expires"])) == pytest.approx(
        ends, abs=timedelta(milliseconds=1)
    )
    wait_until(lambda: api.get("/files").status_code == 401, "the key ended")
    assert datetime.now(UTC) >= ends - timedelta(seconds=0.1)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": "a\x00"}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"name": 5}, "name"),
        ({"name": "a", "scopes": []}, "scopes"),
        ({"name": "a", "scopes": ["root"]}, "scopes.0"),
        ({"name": "a", "scopes": ["READ"]}, "scopes.0"),
        ({"name": "a", "scopes": "read"}, "scopes"),
        ({"name": "a", "scopes": None}, "scopes"),
        ({"name": "a", "scopes": ["read"] * 4}, "scopes"),
        ({"name": "a", "expires": "yesterday"}, "expires"),
        ({"name": "a", "expires": "2020-01-01T00:00:00Z"}, "expires"),
        ({"name": "a", "expires": "2099-01-01T00:00:00"}, "expires"),
        ({"name": "a", "expires": "2099-01-01"}, "expires"),
        ({"name": "a", "expires": "2099-13-01T00:00:00Z"}, "expires"),
        ({"name": "a", "expires": "4102444800"}, "expires"),
        ({"name": "a", "expires": 4102444800}, "expires"),
        ({"name": "a", "secret": "hr_mine"}, "secret"),
        ({"name": "a", "project_id": "prj_other"}, "project_id"),
    ],
    ids=ascii,
)
def test_a_bad_field_of_a_key_is_refused_by_name(admin: Api, fields: JsonDict, param: str) -> None:
    before = read_list(admin.get("/keys"))[1]["total"]
    assert read_error(admin.post("/keys", fields), 422, "field_invalid")["param"] == param
    assert read_list(admin.get("/keys"))[1]["total"] == before


@pytest.mark.parametrize(
    "key_id", [f"{Prefix.KEY}_{ULID}", f"{Prefix.TASK}_{ULID}", "x", "%00", "key_"]
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_unknown_key_is_404(admin: Api, method: str, key_id: str) -> None:
    read_error(admin.send(method, f"/keys/{key_id}"), 404, "not_found")
