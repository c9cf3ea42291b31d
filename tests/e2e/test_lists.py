"""Lists: numbered pages, cursors both ways, and filters; no gaps and no doubles."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import cast
from urllib.parse import quote

import pytest

from tests.support.api import Api, read_error, read_list, read_object
from tests.support.origin import Origin
from tests.support.waiting import wait_until

TASKS = 7


@pytest.fixture(scope="module")
def project(open_project: Callable[[], Api], picture_url: str, origin: Origin) -> Api:
    """A project with seven tasks: five pictures, two of them with a ref, and two failures."""
    api = open_project()
    for number in range(5):
        ref = {"ref": "a b&ü" if number % 2 else "even"}
        read_object(api.post("/files", {"url": picture_url, **ref}), 201)
    for _ in range(2):
        asked = {"kind": "ingest", "url": origin.url("/lists/nothing")}
        read_object(api.post("/tasks", asked), 201)
    wait_until(lambda: len(_list_ids(api, "/tasks?status=failed")) == 2, "two failed tasks")
    return api


def _list_ids(api: Api, path: str) -> list[str]:
    return [str(one["id"]) for one in read_list(api.get(path))[0]]


def _walk(api: Api, path: str, rel: str) -> list[list[str]]:
    """Follow one kind of link to its end; return the ids of each page."""
    pages = []
    following: str | None = path
    while following is not None:
        data, _, links = read_list(api.get(following))
        pages.append([str(one["id"]) for one in data])
        assert len(pages) <= 2 * TASKS
        following = cast("str | None", links[rel])
    return pages


def _join(pages: list[list[str]]) -> list[str]:
    return [one for page in pages for one in page]


def test_a_list_is_newest_first_and_says_how_long_it_is(project: Api) -> None:
    data, meta, links = read_list(project.get("/tasks"))

    ids = [str(task["id"]) for task in data]
    assert len(ids) == TASKS
    assert ids == sorted(ids, reverse=True)
    assert {name: meta[name] for name in ("total", "page", "limit", "pages")} == {
        "total": TASKS,
        "page": 1,
        "limit": 20,
        "pages": 1,
    }
    page = f"{project.url}/tasks?page=1"
    assert links == {"self": page, "first": page, "prev": None, "next": None, "last": page}


def test_pages_hold_every_task_once_and_their_links_lead_through(project: Api) -> None:
    everything = _list_ids(project, "/tasks")

    forward = _walk(project, "/tasks?limit=3", "next")
    assert [len(page) for page in forward] == [3, 3, 1]
    assert _join(forward) == everything
    assert _walk(project, "/tasks?limit=3&page=3", "prev") == forward[::-1]
    _, meta, links = read_list(project.get("/tasks?limit=3&page=2"))
    assert (meta["total"], meta["page"], meta["limit"], meta["pages"]) == (TASKS, 2, 3, 3)
    assert links == {
        "self": f"{project.url}/tasks?limit=3&page=2",
        "first": f"{project.url}/tasks?limit=3&page=1",
        "prev": f"{project.url}/tasks?limit=3&page=1",
        "next": f"{project.url}/tasks?limit=3&page=3",
        "last": f"{project.url}/tasks?limit=3&page=3",
    }


def test_a_page_past_the_end_is_empty_and_leads_back(project: Api) -> None:
    data, meta, links = read_list(project.get("/tasks?limit=3&page=9"))
    assert (data, meta["page"], meta["pages"], links["next"]) == ([], 9, 3, None)
    assert links["prev"] == f"{project.url}/tasks?limit=3&page=3"


@pytest.mark.parametrize("limit", [1, 2, 3, TASKS - 1, TASKS, TASKS + 1])
def test_cursors_walk_the_whole_list_both_ways(limit: int, project: Api) -> None:
    everything = _list_ids(project, "/tasks")

    newest, oldest = everything[0], everything[-1]
    forward = _walk(project, f"/tasks?limit={limit}&after={newest}", "next")
    assert _join(forward) == everything[1:]
    assert all(len(page) == limit for page in forward[:-1])
    backward = _walk(project, f"/tasks?limit={limit}&before={oldest}", "prev")
    assert _join(backward[::-1]) == everything[:-1]


def test_a_walk_by_cursor_can_turn_round_anywhere(project: Api) -> None:
    everything = _list_ids(project, "/tasks")
    data, _, links = read_list(project.get(f"/tasks?limit=2&after={everything[2]}"))
    assert [task["id"] for task in data] == everything[3:5]
    assert _list_ids(project, str(links["prev"])) == everything[1:3]
    assert _list_ids(project, str(links["next"])) == everything[5:7]
    assert links["last"] is None
    assert _list_ids(project, str(links["first"])) == everything[:2]


def test_links_by_cursor_are_null_at_the_ends(project: Api) -> None:
    everything = _list_ids(project, "/tasks")
    newest, oldest = everything[0], everything[-1]
    for query, rel in (
        (f"limit=3&after={everything[-4]}", "next"),
        (f"limit=3&before={everything[3]}", "prev"),
        (f"limit=3&after={oldest}", "next"),
        (f"limit=3&before={newest}", "prev"),
    ):
        assert read_list(project.get(f"/tasks?{query}"))[2][rel] is None, query


def test_a_list_is_read_from_its_oldest_end_too(project: Api) -> None:
    oldest_first = list(reversed(_list_ids(project, "/tasks")))
    assert _list_ids(project, "/tasks?sort=created") == oldest_first
    assert _list_ids(project, "/tasks?sort=-created") == oldest_first[::-1]
    assert _join(_walk(project, "/tasks?sort=created&limit=2", "next")) == oldest_first
    first = oldest_first[0]
    by_cursor = _walk(project, f"/tasks?sort=created&limit=2&after={first}", "next")
    assert _join(by_cursor) == oldest_first[1:]
    last = oldest_first[-1]
    back = _walk(project, f"/tasks?sort=created&limit=2&before={last}", "prev")
    assert _join(back[::-1]) == oldest_first[:-1]
    _, _, links = read_list(project.get(f"/tasks?sort=created&limit=3&before={oldest_first[3]}"))
    assert links["prev"] is None
    assert str(links["next"]).endswith(f"sort=created&limit=3&after={oldest_first[2]}")


@pytest.mark.parametrize(
    "path",
    ["/files", "/tasks", "/batches", "/webhooks/endpoints", "/webhooks/deliveries", "/events"],
)
def test_every_list_takes_an_order_and_no_other(path: str, project: Api) -> None:
    newest_first = _list_ids(project, f"{path}?limit=100")
    assert _list_ids(project, f"{path}?limit=100&sort=created") == newest_first[::-1]
    assert read_error(project.get(f"{path}?sort=size"), 422, "field_invalid")["param"] == "sort"


def test_a_cursor_need_not_be_there_any_more(project: Api) -> None:
    everything = _list_ids(project, "/tasks")
    between = everything[3][:-1] + ("0" if everything[3][-1] != "0" else "1")
    rest = _list_ids(project, f"/tasks?after={between}")
    assert rest in (everything[3:], everything[4:])


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("status=complete", 5),
        ("status=failed", 2),
        ("status=pending", 0),
        ("kind=ingest", TASKS),
        ("ref=even", 3),
        (f"ref={quote('a b&ü')}", 2),
        ("ref=EVEN", 0),
        ("ref=even&status=failed", 0),
        ("status=complete&ref=even&kind=ingest", 3),
    ],
)
def test_tasks_are_narrowed_by_what_the_query_says(query: str, wanted: int, project: Api) -> None:
    data, meta, _ = read_list(project.get(f"/tasks?{query}"))
    assert (len(data), meta["total"]) == (wanted, wanted)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [("", 5), ("kind=image", 5), ("kind=video", 0), ("ref=even", 3), ("kind=image&ref=even", 3)],
)
def test_files_are_narrowed_by_what_the_query_says(query: str, wanted: int, project: Api) -> None:
    data, meta, _ = read_list(project.get(f"/files?{query}"))
    assert (len(data), meta["total"]) == (wanted, wanted)
    assert {file["kind"] for file in data} <= {"image"}


def test_a_filter_goes_along_in_the_links(project: Api) -> None:
    path = f"/tasks?ref={quote('a b&ü')}&limit=1"
    pages = _walk(project, path, "next")
    assert [len(page) for page in pages] == [1, 1]
    data, meta, _ = read_list(project.get(f"{path}&after={pages[0][0]}"))
    assert ([task["id"] for task in data], meta["total"]) == (pages[1], 2)


def test_tasks_are_narrowed_by_the_time_of_their_creation(project: Api) -> None:
    data, _, _ = read_list(project.get("/tasks"))
    third = datetime.fromisoformat(str(data[2]["created"]))
    # What is shown is cut to milliseconds, so the third from the end lies within this one.
    after = third + timedelta(milliseconds=1)

    def count(**limits: datetime) -> int:
        query = "&".join(f"{name}={quote(limit.isoformat())}" for name, limit in limits.items())
        return len(_list_ids(project, f"/tasks?{query}"))

    assert count(created_from=third) == 3
    assert count(created_from=after) == 2
    assert count(created_until=third) == TASKS - 3
    assert count(created_until=after) == TASKS - 2
    assert count(created_from=third, created_until=after) == 1
    assert count(created_from=datetime.now(UTC) + timedelta(hours=1)) == 0
    assert count(created_from=third.astimezone(UTC).replace(tzinfo=None)) == 3


def test_an_empty_list_has_one_page(open_project: Callable[[], Api]) -> None:
    api = open_project()
    for path in ("/files", "/tasks"):
        data, meta, links = read_list(api.get(path))
        assert (data, meta["total"], meta["pages"]) == ([], 0, 1)
        assert links["prev"] is links["next"] is None


def test_a_bare_list_walks_by_its_link_header(project: Api) -> None:
    version = {"Accept-Version": "2025-08-20"}
    found: list[str] = []
    path: str | None = "/files?limit=2"
    while path is not None:
        answer = project.get(path, version)
        assert answer.headers["X-Total"] == "5"
        found += [file["id"] for file in answer.json()]
        path = answer.links.get("next", {}).get("url")
    assert found == _list_ids(project, "/files")
