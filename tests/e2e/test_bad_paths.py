"""What bad paths, ids, methods and queries get; and that other projects' ids are unknown ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests

from tests.support.api import Api, read_error, read_list, read_object

LISTS = ["/files", "/tasks"]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nope",
        "/files/",
        "/tasks/",
        "/files//x",
        "/files/a/b",
        "/Files",
        "/files%2F",
        "/.env",
        "/docs/none",
        "/static/x",
        "/files.json",
        "/delivery",
        "/delivery/",
        "/" + "a" * 5000,
        "/%00",
        "/%ff%fe",
        "/%0d%0aSet-Cookie:%20a=b",
        "/../etc/passwd",
        "/?a=b",
    ],
)
def test_a_path_that_leads_nowhere_is_404(path: str, api: Api) -> None:
    read_error(api.send_untidied("GET", path), 404, "not_found")


@pytest.mark.parametrize("name", ["/files", "/tasks"])
@pytest.mark.parametrize(
    "wrong",
    [
        "x",
        "0",
        "%00",
        "%ff",
        "%F0%9F%8E%AC",
        "..",
        "%2e%2e",
        "'%20OR%201=1",
        "{prefix}_",
        "{prefix}_0",
        "{prefix}_01k9x3v5w8r2m4n6p7q8s9t0v1",
        "{prefix}_81k9x3v5w8r2m4n6p7q8s9t0v1",
        "{PREFIX}_01K9X3V5W8R2M4N6P7Q8S9T0V1",
        "{prefix}_01k9x3v5w8r2m4n6p7q8s9t0v1%00",
        "{prefix}_01k9x3v5w8r2m4n6p7q8s9t0v1%0a",
        "a" * 2000,
    ],
)
def test_an_id_that_is_none_is_404(name: str, wrong: str, api: Api) -> None:
    prefix = {"/files": "file", "/tasks": "task"}[name]
    path = f"{name}/{wrong.replace('{prefix}', prefix).replace('{PREFIX}', prefix.upper())}"
    read_error(api.send_untidied("GET", path), 404, "not_found")
    if name == "/files":
        read_error(api.send_untidied("DELETE", path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/files", "GET, HEAD, OPTIONS, POST"),
        ("DELETE", "/files", "GET, HEAD, OPTIONS, POST"),
        ("PATCH", "/tasks", "GET, HEAD, OPTIONS, POST"),
        ("POST", "/files/x", "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("DELETE", "/tasks/x", "GET, HEAD, OPTIONS, PATCH"),
        ("GET", "/tasks/x/cancel", "OPTIONS, POST"),
        ("PATCH", "/tasks/x/retry", "OPTIONS, POST"),
        ("POST", "/delivery/x", "GET, HEAD, OPTIONS"),
        ("GET", "/signatures", "OPTIONS, POST"),
        ("GET", "/uploads/x/y", "OPTIONS, PUT"),
        ("POST", "/uploads/x/y", "OPTIONS, PUT"),
        ("POST", "/healthz", "GET, HEAD, OPTIONS"),
        ("DELETE", "/metrics", "GET, HEAD, OPTIONS"),
        ("BREW", "/files", "GET, HEAD, OPTIONS, POST"),
    ],
)
def test_another_method_is_405_and_says_which_are_taken(
    method: str, path: str, allowed: str, api: Api
) -> None:
    answer = api.send(method, path)
    read_error(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == allowed


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=101", "limit"),
        ("limit=abc", "limit"),
        ("limit=", "limit"),
        ("limit=1.5", "limit"),
        ("limit=%00", "limit"),
        ("limit=9999999999999999999999", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=two", "page"),
        ("page=1000001", "page"),
        ("page=9223372036854775808", "page"),
        ("after=x", "after"),
        ("after=%00", "after"),
        ("before=task_", "before"),
        ("before=1'--", "before"),
        ("ref=%00", "ref"),
        ("ref=a%00b", "ref"),
        ("ref=" + "a" * 256, "ref"),
        ("kind=transcode", "kind"),
        ("kind=", "kind"),
        ("kind=%00", "kind"),
        ("colour=red", "colour"),
        ("Limit=5", "Limit"),
        ("limit=5&limit%00=5", "limit\\x00"),
        ("limit=5&limit=6", "limit"),
        ("ref=a&page=1&ref=a", "ref"),
        ("colour=red&" + "a" * 100 + "=1&" + "a" * 100 + "=2", "a" * 60 + "\u2026"),
    ],
)
@pytest.mark.parametrize("path", LISTS)
def test_a_bad_query_of_a_list_is_refused_by_name(
    path: str, query: str, param: str, api: Api
) -> None:
    error = read_error(api.get(f"{path}?{query}"), 422, "field_invalid")
    assert error["param"] == param
    assert len(str(error["message"])) < 400


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("status=done", "status"),
        ("status=Complete", "status"),
        ("status=", "status"),
        ("created_from=yesterday", "created_from"),
        ("created_from=", "created_from"),
        ("created_from=nan", "created_from"),
        ("created_from=1e300", "created_from"),
        ("created_from=2026-02-30T00:00:00Z", "created_from"),
        ("created_until=2026-13-01", "created_until"),
        ("created_until=%00", "created_until"),
        ("created_from=0", "created_from"),
        ("created_until=0.5", "created_until"),
        ("created_until=1767225600", "created_until"),
        ("created_until=99999-01-01T00:00:00Z", "created_until"),
    ],
)
def test_a_bad_query_of_the_tasks_is_refused_by_name(query: str, param: str, api: Api) -> None:
    error = read_error(api.get(f"/tasks?{query}"), 422, "field_invalid")
    assert error["param"] == param


@pytest.mark.parametrize(
    "query",
    [
        "created_from=0001-01-01T00:00:00%2B14:00",
        "created_until=9999-12-31T23:59:59-14:00",
        "created_from=2026-01-01",
        "ref=%ff%fe",
        "ref=%F0%9F%8E%AC",
        "ref=%ED%A0%80",
        "page=1000000&limit=100",
    ],
)
def test_an_odd_query_of_the_tasks_is_answered(query: str, api: Api) -> None:
    read_list(api.get(f"/tasks?{query}"))


def test_two_projects_may_use_one_name_and_land_in_two_places(
    open_project: Callable[[], Api], picture_url: str
) -> None:
    first, second = open_project(), open_project()
    order = {"url": picture_url, "folder": "same", "filename": "name.jpg"}
    files = [read_object(api.post("/files", order), 201) for api in (first, second)]
    assert files[0]["url"] != files[1]["url"]
    first.delete(f"/files/{files[0]['id']}")
    assert requests.get(str(files[1]["url"]), timeout=10).status_code == 200
