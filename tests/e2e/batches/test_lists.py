"""``POST /batches``: every form of list becomes tasks, and what is wrong with one is said."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import cast

import pytest

from cli.local import LocalStack
from ingest.access import Scope
from ingest.model import Limits
from storage.records import projects
from storage.records.database import Database
from tests.support.api import Api, JsonDict, read_error, read_list, read_object
from tests.support.batches import read_results, send_items, send_list, wait_until_over
from tests.support.inbox import open_task_inbox
from tests.support.origin import Origin
from tests.support.projects import make_project


def _write_csv(url: str) -> str:
    return f"url,folder,filename,ref,metadata.title\n{url},a,1.jpg,r1,One\n{url},,,r2,\n"


def _write_ndjson(url: str) -> str:
    first = {"url": url, "folder": "a", "filename": "1.jpg", "ref": "r1"}
    items = ({**first, "metadata": {"title": "One"}}, {"url": url, "ref": "r2"})
    return "".join(f"{json.dumps(item)}\n" for item in items)


@pytest.mark.parametrize(
    ("content_type", "write"),
    [
        ("text/csv", _write_csv),
        ("text/csv; charset=utf-8", _write_csv),
        ("application/x-ndjson", _write_ndjson),
        ("application/jsonl", _write_ndjson),
    ],
)
def test_each_item_of_a_list_is_ingested_as_it_says(
    content_type: str, write: Callable[[str], str], owner: Api, picture_url: str
) -> None:
    batch = send_list(owner, write(picture_url), content_type, "?ref=mine&priority=2")
    assert (batch["total"], batch["rejected"], batch["ref"]) == (2, 0, "mine")
    over = wait_until_over(owner, batch)
    counts = {"pending": 0, "processing": 0, "complete": 2, "failed": 0, "cancelled": 0}
    assert (over["status"], over["progress"], over["counts"]) == ("complete", 100, counts)
    first, second = read_results(owner, batch)
    assert (first["status"], first["folder"], first["filename"], first["ref"]) == (
        "complete", "a", "1.jpg", "r1"
    )  # fmt: skip
    assert (second["folder"], second["filename"], second["ref"]) == (None, None, "r2")
    file = read_object(owner.get(f"/files/{first['file_id']}"))
    assert (file["metadata"], file["url"]) == ({"title": "One"}, first["file_url"])
    assert over["stored_bytes"] == 2 * cast("int", file["filesize"])


def test_a_list_of_urls_and_one_of_googles_are_taken(
    owner: Api, picture_url: str, picture: bytes
) -> None:
    batch = send_list(owner, f"# mine\n{picture_url}\n\n{picture_url}\n", "text/plain", "?folder=f")
    md5 = base64.b64encode(hashlib.md5(picture, usedforsecurity=False).digest()).decode()
    lines = [f"{picture_url}\t{len(picture)}\t{md5}", f"{picture_url}\t{len(picture) - 1}",
             f"{picture_url}\t{len(picture)}\t{'A' * 22}=="]  # fmt: skip
    tsv = "\n".join(["TsvHttpData-1.0", *lines])
    google = send_list(owner, tsv, "text/tab-separated-values")
    assert wait_until_over(owner, batch)["total"] == 2
    assert [row["folder"] for row in read_results(owner, batch)] == ["f", "f"]
    wait_until_over(owner, google)
    assert [(row["line"], row["error_code"]) for row in read_results(owner, google)] == [
        (2, None), (3, "source_too_large"), (4, "checksum_mismatch")
    ]  # fmt: skip


def test_what_cannot_be_taken_is_told_and_the_rest_is_done(owner: Api, picture_url: str) -> None:
    items: list[JsonDict] = [
        {"url": picture_url, "filename": "x"},
        {"url": "nothing"},
        {"url": picture_url, "filename": "x"},
        {"url": picture_url, "title": "?"},
        {"url": picture_url, "ref": "last"},
    ]
    batch = send_items(owner, items, defaults={"ref": "all"})
    assert (batch["total"], batch["rejected"]) == (2, 3)
    rejects = cast("list[JsonDict]", batch["rejects"])
    assert [(one["line"], one["code"], one["param"]) for one in rejects] == [
        (2, "field_invalid", "url"), (3, "file_exists", "filename"), (4, "field_invalid", "title")
    ]  # fmt: skip
    wait_until_over(owner, batch)
    rows = read_results(owner, batch)
    assert [(row["line"], row["status"], row["ref"]) for row in rows] == [
        (1, "complete", "all"), (2, "rejected", None), (3, "rejected", None),
        (4, "rejected", None), (5, "complete", "last"),
    ]  # fmt: skip


def test_a_dry_run_tells_all_of_it_and_makes_nothing(owner: Api, picture_url: str) -> None:
    body = {"dry_run": True, "items": [{"url": picture_url}, {"url": "nothing"}]}
    told = read_object(owner.post("/batches", body))
    assert (told["object"], told["total"], told["rejected"]) == ("batch_check", 1, 1)
    assert read_list(owner.get("/tasks"))[0] == []
    assert read_list(owner.get("/batches"))[0] == []


def test_who_asked_for_it_is_told_when_all_have_ended(
    owner: Api, origin: Origin, picture_url: str
) -> None:
    inbox = open_task_inbox(owner, origin)
    batch = send_items(owner, [{"url": picture_url}], webhook_url=inbox.url)
    (told,) = inbox.wait_for("batch.completed")
    over = wait_until_over(owner, batch)
    assert told.data == over


@pytest.mark.parametrize(
    ("content_type", "body", "query", "status", "code", "param"),
    [
        ("application/json", "{", "", 400, "body_invalid", None),
        ("application/json", "[]", "", 400, "body_invalid", None),
        ("application/json", "{}", "", 400, "body_invalid", None),
        ("application/json", '{"items": []}', "", 422, "field_invalid", "items"),
        ("application/json", '{"items": [{"url": "x"}]}', "", 422, "field_invalid", "url"),
        ("application/json", '{"items": [{"url": "x"}], "a": 1}', "", 422, "field_invalid", "a"),
        ("application/json", '{"items": [], "priority": 11}', "", 422, "field_invalid", "priority"),
        ("application/json", '{"items": [], "dry_run": 1}', "", 422, "field_invalid", "dry_run"),
        ("application/json", '{"items": [], "defaults": {"url": "x"}}', "", 422, "field_invalid",
         "defaults.url"),
        ("application/json", '{"items": []}', "?priority=1", 422, "field_invalid", "priority"),
        ("text/csv", "", "", 422, "field_invalid", "url"),
        ("text/csv", 'url,"ref\n', "", 422, "field_invalid", None),
        ("text/csv", 'url\n"x\n', "", 400, "body_invalid", None),
        ("text/csv", "link\nx\n", "", 422, "field_invalid", "url"),
        ("text/csv", "url\n", "", 422, "field_invalid", "items"),
        ("text/csv", "url\nx\n", "?priority=11", 422, "field_invalid", "priority"),
        ("text/csv", "url\nx\n", "?color=1", 422, "field_invalid", "color"),
        ("text/csv", "url\nx\n", "?ref=1&ref=2", 422, "field_invalid", "ref"),
        ("text/csv", "url\nhttps://a/\nx\n", "?on_error=abort", 422, "field_invalid", "url"),
        ("text/plain; charset=latin-1", "x", "", 415, "media_type_unsupported", None),
        ("text/html", "x", "", 415, "media_type_unsupported", None),
        ("", "x", "", 415, "media_type_unsupported", None),
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_taken_is_refused_with_the_reason(
    content_type: str, body: str, query: str, status: int, code: str, param: str | None, owner: Api
) -> None:
    answer = owner.send("POST", f"/batches{query}", body.encode(), {"Content-Type": content_type})
    assert read_error(answer, status, code)["param"] == param
    assert read_list(owner.get("/batches"))[0] == []


def test_a_list_in_chunks_is_taken_and_a_compressed_one_refused(
    owner: Api, picture_url: str
) -> None:
    chunks = [b"url\n", picture_url.encode(), b"\n"]
    made = owner.send("POST", "/batches", iter(chunks), {"Content-Type": "text/csv"})
    wait_until_over(owner, read_object(made, 201))
    gzip = {"Content-Type": "text/csv", "Content-Encoding": "gzip"}
    read_error(owner.send("POST", "/batches", b"x", gzip), 415, "media_type_unsupported")


@pytest.mark.parametrize("scope", list(Scope))
def test_each_scope_opens_what_it_should(
    scope: Scope, stack: LocalStack, database: Database
) -> None:
    _, secret = make_project(database, scopes=[scope])
    unknown = "/batches/batch_01k9x3v5w8r2m4n6p7q8s9t0v1"
    with Api(stack.api_url, secret) as api:
        looks = [api.get("/batches"), api.get(unknown), api.get(f"{unknown}/results.csv")]
        deeds = [api.post("/batches", {}), api.post(f"{unknown}/cancel", {})]
    for answers, opening in (
        (looks, {Scope.READ, Scope.ADMIN}),
        (deeds, {Scope.WRITE, Scope.ADMIN}),
    ):
        assert {answer.status_code == 403 for answer in answers} == {scope not in opening}


def test_a_field_that_no_database_can_store_stops_no_other_row(
    owner: Api, picture_url: str
) -> None:
    items: list[JsonDict] = [{"url": picture_url}, {"url": picture_url, "a\x00": 1}]
    batch = send_items(owner, items)
    assert (batch["total"], batch["rejected"]) == (1, 1)
    lines = "\n".join(json.dumps(item) for item in items)
    assert send_list(owner, lines, "application/x-ndjson")["rejected"] == 1


def test_a_dry_run_judges_the_receiver_too(owner: Api, picture_url: str) -> None:
    body = {"dry_run": True, "items": [{"url": picture_url}], "webhook_url": "ftp://x"}
    error = read_error(owner.post("/batches", body), 422, "field_invalid")
    assert error["param"] == "webhook_url"


def test_a_list_that_is_sent_again_is_answered_though_the_project_is_full_by_then(
    stack: LocalStack, database: Database, picture_url: str
) -> None:
    project, secret = make_project(database, limits=Limits(max_stored_bytes=1_000_000))
    with Api(stack.api_url, secret) as api:
        key = {"Idempotency-Key": "full"}
        body = {"items": [{"url": picture_url}]}
        first = api.post("/batches", body, key)
        wait_until_over(api, read_object(first, 201))
        with database.transaction() as connection:
            projects.set_limits(connection, project.id, Limits(max_stored_bytes=1))
        assert api.post("/batches", body, key).content == first.content
        read_error(api.post("/batches", body), 403, "quota_exceeded")


def test_a_download_gives_its_place_back(owner: Api, picture_url: str) -> None:
    batch = send_items(owner, [{"url": picture_url}])
    wait_until_over(owner, batch)
    for _ in range(40):
        assert owner.get(f"/batches/{batch['id']}/results.csv").status_code == 200
