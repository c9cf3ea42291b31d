"""``dry_run`` with ``check_sources``: each source is asked how it begins, and nothing is made."""

from __future__ import annotations

from typing import cast

import pytest

from tests.support.api import Api, JsonDict, read_error, read_list, read_object
from tests.support.batches import (
    check_sources,
    order_list,
    read_batch,
    read_results,
    send_items,
    wait_until_over,
)
from tests.support.origin import Framing, Origin, Reply, Stall
from tests.support.waiting import wait_until

# What an ingest looks at to know a type, and so what is asked for.
HEAD_BYTES = 4096


def _check(api: Api, items: list[JsonDict], **options: object) -> tuple[JsonDict, list[JsonDict]]:
    batch = check_sources(api, items, **options)
    assert (batch["status"], batch["dry_run"]) == ("processing", True)
    over = wait_until_over(api, batch)
    assert (over["status"], over["progress"]) == ("complete", 100)
    return over, read_results(api, batch)


def test_good_sources_are_told_with_size_type_and_validator(
    owner: Api, origin: Origin, picture: bytes, video: bytes
) -> None:
    headers = {"Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT"}
    ranged = origin.serve(
        "/checks/ranged.mp4", video, ranges=True, etag='"v1"', headers=headers,
        content_type="text/plain",
    )  # fmt: skip
    whole = origin.serve("/checks/whole.mp4", video, etag='W/"weak"')
    chunked = origin.serve("/checks/chunked.mp4", video, framing=Framing.CHUNKED)
    short = origin.serve("/checks/short.gif", b"GIF89a" + bytes(20), ranges=True)
    away = origin.redirect("/checks/away", ranged)
    urls = [ranged, whole, chunked, short, away]
    over, rows = _check(owner, [{"url": url} for url in urls])
    assert cast("JsonDict", over["counts"])["complete"] == len(urls)
    size = len(video)
    shown = ("status", "type", "filesize", "ranges", "etag", "last_modified")
    assert [tuple(row[name] for name in shown) for row in rows] == [
        ("ok", "video/mp4", size, True, '"v1"', headers["Last-Modified"]),
        ("ok", "video/mp4", size, False, 'W/"weak"', None),
        ("ok", "video/mp4", None, False, None, None),
        ("ok", "image/gif", 26, True, None, None),
        ("ok", "video/mp4", size, True, '"v1"', headers["Last-Modified"]),
    ]
    assert [(row["line"], row["url"]) for row in rows] == list(enumerate(urls, 1))
    asked = origin.list_served("/checks/ranged.mp4")
    assert {one.range for one in asked} == {f"bytes=0-{HEAD_BYTES - 1}"}
    assert {one.sent_bytes for one in asked} == {HEAD_BYTES}


@pytest.mark.parametrize(
    ("reply", "item", "code"),
    [
        (Reply(status=404), {}, "source_not_found"),
        (Reply(status=403), {}, "source_forbidden"),
        (Reply(status=503), {}, "source_unavailable"),
        (Reply(body=b""), {}, "source_empty"),
        (Reply(body=b"", ranges=True), {}, "source_empty"),
        (Reply(body=b"<!doctype html>Sign in", content_type="video/mp4"), {}, "source_not_media"),
        (Reply(body=b"GIF89a" + bytes(99), ranges=True), {"max_bytes": 100}, "source_too_large"),
        (Reply(body=b"GIF89a", headers={"Content-Encoding": "br"}), {}, "source_invalid"),
        (Reply(status=206, body=b"GIF89a", headers={"Content-Range": "bytes 5-10/11"}), {},
         "source_invalid"),
        (Reply(body=b"GIF89a", stall=Stall()), {}, "source_timeout"),
        (Reply(raw=b"nonsense\r\n\r\n"), {}, "source_invalid"),
    ],
)  # fmt: skip
def test_a_bad_source_is_told_with_the_error_of_an_ingest(
    reply: Reply, item: JsonDict, code: str, owner: Api, origin: Origin
) -> None:
    url = origin.route("/checks/bad", reply)
    over, (row,) = _check(owner, [{"url": url, **item}])
    assert (row["status"], row["error_code"], row["type"]) == ("failed", code, None)
    assert row["error_message"]
    assert cast("JsonDict", over["counts"])["failed"] == 1
    ingested = wait_until_over(owner, send_items(owner, [{"url": url, **item}]))
    assert [one["error_code"] for one in read_results(owner, ingested)] == [code]


def test_rows_that_cannot_be_taken_are_rejects_and_the_others_are_asked(
    owner: Api, origin: Origin, picture_url: str
) -> None:
    hidden = origin.redirect("/checks/hidden", "http://169.254.169.254/a.jpg")
    items: list[JsonDict] = [
        {"url": "nothing"},
        {"url": picture_url, "filename": "x"},
        {"url": picture_url, "filename": "x"},
        {"url": "http://127.0.0.1:1/a.jpg"},
        {"url": hidden},
    ]
    over, rows = _check(owner, items, ref="mine")
    assert (over["total"], over["rejected"], over["ref"]) == (3, 2, "mine")
    assert [(row["line"], row["status"], row["error_code"]) for row in rows] == [
        (1, "rejected", "field_invalid"), (2, "ok", None), (3, "rejected", "file_exists"),
        (4, "failed", "address_blocked"), (5, "failed", "address_blocked"),
    ]  # fmt: skip
    assert read_list(owner.get("/tasks"))[0] == []
    assert read_list(owner.get("/events"))[0] == []
    assert read_list(owner.get(f"/batches/{over['id']}/tasks"))[0] == []
    # No name was kept.
    made = send_items(owner, items[1:2])
    assert (made["total"], made["rejected"]) == (1, 0)
    for decision in ("cancel", "retry", "pause", "resume"):
        read_error(owner.post(f"/batches/{over['id']}/{decision}", {}), 409, "conflict")


def test_headers_of_items_go_to_their_sources(owner: Api, origin: Origin, picture: bytes) -> None:
    url = origin.serve("/checks/secret.jpg", picture)
    items: list[JsonDict] = [{"url": url, "headers": {"X-Key": "k3y"}}]
    _, (row,) = _check(owner, items)
    assert row["status"] == "ok"
    assert [one.headers.get("x-key") for one in origin.requests if one.path.endswith("secret.jpg")]


def test_lists_are_checked_with_a_query_and_at_a_url(
    owner: Api, origin: Origin, picture_url: str
) -> None:
    text = f"url,ref\n{picture_url},a\nnothing,b\n"
    answer = owner.send(
        "POST", "/batches?dry_run=true&check_sources=true", text.encode(),
        {"Content-Type": "text/csv"},
    )  # fmt: skip
    sent = read_object(answer, 202)
    url = origin.serve("/checks/list.csv", text.encode())
    sourced = order_list(owner, url, dry_run=True, check_sources=True)
    assert sourced["status"] == "loading"
    for batch in (sent, sourced):
        wait_until_over(owner, batch)
        assert [(row["line"], row["status"]) for row in read_results(owner, batch)] == [
            (2, "ok"), (3, "rejected")
        ]  # fmt: skip


def test_a_check_asks_one_host_by_few_connections_and_can_be_cancelled(
    owner: Api, origin: Origin, picture: bytes, picture_url: str
) -> None:
    stalls = [Stall() for _ in range(12)]
    slow = [
        origin.serve(f"/checks/slow-{number}.jpg", picture, stall=stall)
        for number, stall in enumerate(stalls)
    ]
    batch = check_sources(owner, [{"url": url} for url in slow])
    wait_until(lambda: sum(one.reached.is_set() for one in stalls) == 8, "eight that are asked")
    paused = read_error(owner.post(f"/batches/{batch['id']}/pause", {}), 409, "conflict")
    assert "dry run" in str(paused["message"])
    assert read_batch(owner, batch)["status"] == "processing"
    read_object(owner.post(f"/batches/{batch['id']}/cancel", {}))
    over = wait_until_over(owner, batch, 1)
    counts = cast("JsonDict", over["counts"])
    assert (over["status"], counts["cancelled"], counts["pending"]) == ("cancelled", 12, 0)
    assert {row["status"] for row in read_results(owner, batch)} == {"cancelled"}
    for stall in stalls:
        stall.released.set()
    # Its place is free, and the counts stay.
    _check(owner, [{"url": picture_url}])
    assert read_batch(owner, batch)["counts"] == counts


def test_sources_are_asked_in_dry_runs_alone_and_not_of_any_number(owner: Api) -> None:
    items: list[JsonDict] = [{"url": "https://a.invalid/x"}]
    body = {"items": items, "check_sources": True}
    error = read_error(owner.post("/batches", body), 422, "field_invalid")
    assert error["param"] == "check_sources"
    too_many = {"items": items * 10_001, "check_sources": True, "dry_run": True}
    read_error(owner.post("/batches", too_many), 413, "body_too_large")
    assert read_list(owner.get("/batches"))[0] == []


def test_a_check_that_is_ordered_again_under_its_key_is_one(owner: Api, picture_url: str) -> None:
    body = {"items": [{"url": picture_url}], "dry_run": True, "check_sources": True}
    key = {"Idempotency-Key": "check"}
    first, again = owner.post("/batches", body, key), owner.post("/batches", body, key)
    assert (first.status_code, again.content) == (202, first.content)
    assert len(read_list(owner.get("/batches"))[0]) == 1
