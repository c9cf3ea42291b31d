"""``POST /batches`` with a ``source_url``: a worker reads the list, and it is as if it was sent."""

from __future__ import annotations

import json
from typing import cast

import pytest

from tests.support.api import Api, JsonDict, read_error, read_list, read_object
from tests.support.batches import order_list, read_batch, read_results, wait_until_over
from tests.support.inbox import open_task_inbox
from tests.support.origin import Cut, Framing, Origin, Reply, Stall
from tests.support.waiting import wait_until

CSV = "url,folder,ref,metadata.title\n{0},a,r1,One\n{0},,r2,\n"
NDJSON = (
    '{{"url": "{0}", "folder": "a", "ref": "r1", "metadata": {{"title": "One"}}}}\n'
    '{{"url": "{0}", "ref": "r2"}}\n'
)
JSON = (
    '{{"items": [{{"url": "{0}", "folder": "a", "ref": "r1", "metadata": {{"title": "One"}}}},'
    ' {{"url": "{0}"}}], "defaults": {{"ref": "r2"}}}}'
)
TEXT = "# mine\n{0}\n\n{0}\n"
TSV = "TsvHttpData-1.0\n{0}\n{0}\n"


@pytest.mark.parametrize(
    ("path", "content_type", "text", "asked"),
    [
        ("list", "text/csv; charset=utf-8", CSV, None),
        ("list.csv", "application/octet-stream", CSV, None),
        ("list.csv", "text/plain", CSV, None),
        ("list", None, CSV, None),
        ("list.txt", "text/plain", CSV.replace(",", "\t"), "csv"),
        ("list", "application/x-ndjson", NDJSON, None),
        ("list.jsonl", "application/octet-stream", NDJSON, None),
        ("list", "text/plain", NDJSON, None),
        ("list.csv", "text/csv", NDJSON, "ndjson"),
        ("list", "application/json", JSON, None),
        ("list.json", "application/octet-stream", JSON, None),
        ("list", None, JSON, None),
    ],
)
def test_a_list_of_any_form_makes_what_it_makes_when_it_is_sent(
    path: str,
    content_type: str | None,
    text: str,
    asked: str | None,
    owner: Api,
    origin: Origin,
    picture_url: str,
) -> None:
    content = text.format(picture_url).encode()
    url = origin.serve(f"/sourced/forms/{path}", content, content_type=content_type)
    options = {} if asked is None else {"format": asked}
    batch = order_list(owner, f"{url}?signature=s3cr3t", ref="mine", priority=2, **options)
    assert (batch["status"], batch["total"], batch["source_url"]) == ("loading", 0, url)
    assert batch["progress"] == 0
    over = wait_until_over(owner, batch)
    assert (over["status"], over["total"], over["rejected"]) == ("complete", 2, 0)
    assert (over["ref"], over["error"], over["source_url"]) == ("mine", None, url)
    first, second = read_results(owner, batch)
    assert (first["status"], first["folder"], first["ref"]) == ("complete", "a", "r1")
    assert (second["status"], second["folder"], second["ref"]) == ("complete", None, "r2")
    file = read_object(owner.get(f"/files/{first['file_id']}"))
    assert file["metadata"] == {"title": "One"}
    tasks = read_list(owner.get(f"/batches/{batch['id']}/tasks"))[0]
    assert len(tasks) == 2


@pytest.mark.parametrize(
    ("content_type", "text", "asked"),
    [
        ("text/plain", TEXT, None),
        (None, TEXT, None),
        ("text/csv", TEXT, "urls"),
        ("text/tab-separated-values", TSV, None),
        ("text/plain", TSV, None),
        (None, TSV, "tsv"),
    ],
)
def test_lists_of_urls_are_known_too(
    content_type: str | None, text: str, asked: str | None, owner: Api, origin: Origin,
    picture_url: str,
) -> None:  # fmt: skip
    content = text.format(picture_url).encode()
    url = origin.serve("/sourced/urls", content, content_type=content_type)
    batch = order_list(owner, url, defaults={"folder": "f"}, format=asked)
    assert wait_until_over(owner, batch)["total"] == 2
    assert [row["folder"] for row in read_results(owner, batch)] == ["f", "f"]


def test_bad_rows_are_told_and_the_rest_is_done(
    owner: Api, origin: Origin, picture_url: str
) -> None:
    text = f"url,filename\n{picture_url},x\nnothing,\n{picture_url},x\n{picture_url},y,z\n"
    inbox = open_task_inbox(owner, origin)
    batch = order_list(
        owner, origin.serve("/sourced/bad.csv", text.encode()), webhook_url=inbox.url
    )
    over = wait_until_over(owner, batch)
    assert (over["status"], over["total"], over["rejected"]) == ("complete", 1, 3)
    rejects = cast("list[JsonDict]", over["rejects"])
    assert [(one["line"], one["code"]) for one in rejects] == [
        (3, "field_invalid"), (4, "file_exists"), (5, "body_invalid")
    ]  # fmt: skip
    assert [row["status"] for row in read_results(owner, batch)] == [
        "complete", "rejected", "rejected", "rejected"
    ]  # fmt: skip
    (told,) = inbox.wait_for("batch.completed")
    # As in lists of batches.
    assert told.data == {**over, "rejects": []}


@pytest.mark.parametrize(
    ("reply", "options", "code", "word"),
    [
        (Reply(body=b"url\nhttps://a/\nx\n", content_type="text/csv"), {"on_error": "abort"},
         "field_invalid", "Line 3"),
        (Reply(body=b"url\nx\n", content_type="text/csv"), {}, "field_invalid", "No item of 1"),
        (Reply(body=b"url\n", content_type="text/csv"), {}, "field_invalid", "no items"),
        (Reply(body=b"", content_type="text/csv"), {}, "field_invalid", "empty"),
        (Reply(body=b"link\nx\n", content_type="text/csv"), {}, "field_invalid", "'url'"),
        (Reply(body=b'{"items": [', content_type="application/json"), {}, "body_invalid",
         "The list is not valid JSON"),
        (Reply(body=b'{"items": [], "ref": "x"}', content_type="application/json"), {},
         "field_invalid", "'ref' stands in the request"),
        (Reply(body=b'{"items": [], "defaults": {"url": 1}}', content_type="application/json"), {},
         "field_invalid", "url"),
        (Reply(body=b"<!DOCTYPE html><p>Sign in", content_type="text/csv"), {},
         "media_type_unsupported", "an HTML page"),
        (Reply(body=b"\x89PNG\r\n\x1a\n\x00\x00", content_type="text/csv"), {},
         "media_type_unsupported", "binary"),
        (Reply(status=404), {}, "source_not_found", "404"),
        (Reply(status=403), {}, "source_forbidden", "403"),
        (Reply(status=503), {}, "source_unavailable", "503"),
        (Reply(body=b"url\nhttps://a/\n" * 9, content_type="text/csv", cut=Cut(20)), {},
         "source_truncated", "20 of"),
        (Reply(body=b"url\n", framing=Framing.CHUNKED, cut=Cut(2)), {}, "source_truncated", ""),
        (Reply(body=b"url\n", headers={"Content-Encoding": "gzip"}), {}, "source_invalid", "gzip"),
        (Reply(body=b"url\n", stall=Stall(at_bytes=1)), {}, "source_timeout", ""),
        (Reply(content_lengths=["268435457"], cut=Cut(0)), {}, "source_too_large", "268435456"),
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_read_fails_its_batch_with_the_reason_and_makes_nothing(
    reply: Reply, options: JsonDict, code: str, word: str, owner: Api, origin: Origin
) -> None:
    inbox = open_task_inbox(owner, origin)
    url = origin.route("/sourced/failing", reply)
    batch = order_list(owner, url, webhook_url=inbox.url, **options)
    over = wait_until_over(owner, batch)
    error = cast("JsonDict", over["error"])
    assert (over["status"], error["code"]) == ("failed", code), error
    assert word in str(error["message"])
    assert (over["total"], over["rejected"], over["progress"]) == (0, 0, 100)
    assert read_list(owner.get("/tasks"))[0] == []
    (told,) = inbox.wait_for("batch.failed")
    assert told.data == over
    for decision in ("cancel", "retry", "pause", "resume"):
        read_error(owner.post(f"/batches/{batch['id']}/{decision}", {}), 409, "conflict")


def test_an_address_that_is_blocked_is_blocked_for_lists_directly_and_by_a_redirect(
    owner: Api, origin: Origin, picture_url: str
) -> None:
    hidden = "http://169.254.169.254/list.csv"
    for url in (hidden, origin.redirect("/sourced/away", hidden)):
        over = wait_until_over(owner, order_list(owner, url))
        assert cast("JsonDict", over["error"])["code"] == "address_blocked"
    end = origin.serve("/sourced/end.csv", f"url\n{picture_url}\n".encode())
    around = origin.redirect("/sourced/around", end)
    assert wait_until_over(owner, order_list(owner, around))["total"] == 1
    loop = origin.redirect("/sourced/loop", "/sourced/loop")
    over = wait_until_over(owner, order_list(owner, loop))
    assert cast("JsonDict", over["error"])["code"] == "source_invalid"


def test_headers_go_to_the_lists_origin_and_those_of_defaults_to_its_items(
    owner: Api, origin: Origin, picture: bytes
) -> None:
    item = origin.serve("/sourced/secret.jpg", picture)
    listed = origin.serve("/sourced/secret.csv", f"url\n{item}\n".encode())
    batch = order_list(
        owner, listed, headers={"X-List": "l1st"}, defaults={"headers": {"X-Item": "it3m"}}
    )
    wait_until_over(owner, batch)
    (of_list,) = (one for one in origin.requests if one.path == "/sourced/secret.csv")
    (of_item,) = (one for one in origin.requests if one.path == "/sourced/secret.jpg")
    assert (of_list.headers.get("x-list"), of_list.headers.get("x-item")) == ("l1st", None)
    assert (of_item.headers.get("x-list"), of_item.headers.get("x-item")) == (None, "it3m")
    assert of_list.headers.get("accept-encoding") == "identity"
    assert "l1st" not in json.dumps(read_batch(owner, batch))


def test_a_batch_that_is_cancelled_while_its_list_is_read_makes_nothing(
    owner: Api, origin: Origin, picture_url: str
) -> None:
    stall = Stall(at_bytes=4)
    text = f"url\n{picture_url}\n".encode()
    batch = order_list(owner, origin.serve("/sourced/cancel.csv", text, stall=stall))
    assert stall.reached.wait(10)
    for decision in ("pause", "resume", "retry"):
        read_error(owner.post(f"/batches/{batch['id']}/{decision}", {}), 409, "conflict")
    cancelled = read_object(owner.post(f"/batches/{batch['id']}/cancel", {}))
    assert cancelled["status"] == "cancelled"
    over = wait_until_over(owner, batch)
    stall.released.set()
    assert (over["status"], over["total"], over["error"]) == ("cancelled", 0, None)
    assert read_list(owner.get("/tasks"))[0] == []


def test_a_dry_run_of_a_list_at_a_url_is_a_batch_that_makes_nothing(
    owner: Api, origin: Origin, picture_url: str
) -> None:
    text = f"url\n{picture_url}\nnothing\n".encode()
    batch = order_list(owner, origin.serve("/sourced/dry.csv", text), dry_run=True)
    assert (batch["status"], batch["dry_run"]) == ("loading", True)
    over = wait_until_over(owner, batch)
    assert (over["status"], over["total"], over["rejected"]) == ("complete", 1, 1)
    assert [one["line"] for one in cast("list[JsonDict]", over["rejects"])] == [3]
    assert [row["status"] for row in read_results(owner, batch)] == ["rejected"]
    assert read_list(owner.get("/tasks"))[0] == []
    assert read_list(owner.get("/events"))[0] == []
    for decision in ("cancel", "retry", "pause", "resume"):
        read_error(owner.post(f"/batches/{batch['id']}/{decision}", {}), 409, "conflict")


def test_lists_of_one_project_are_read_while_others_of_it_stall(
    owner: Api, origin: Origin, picture_url: str
) -> None:
    text = f"url\n{picture_url}\n".encode()
    stalls = [Stall(at_bytes=4) for _ in range(3)]
    slow = [
        order_list(owner, origin.serve(f"/sourced/slow-{number}.csv", text, stall=stall))
        for number, stall in enumerate(stalls)
    ]
    assert stalls[0].reached.wait(5)
    assert stalls[1].reached.wait(5)
    # No more than two of a project are read at once.
    assert not stalls[2].reached.is_set()
    for stall in stalls:
        stall.released.set()
    for batch in slow:
        assert wait_until_over(owner, batch)["total"] == 1


def test_a_list_that_is_ordered_again_under_its_key_is_read_once(
    owner: Api, origin: Origin, picture_url: str
) -> None:
    url = origin.serve("/sourced/again.csv", f"url\n{picture_url}\n".encode())
    key = {"Idempotency-Key": "list"}
    first = owner.post("/batches", {"source_url": url}, key)
    again = owner.post("/batches", {"source_url": url}, key)
    assert (first.status_code, again.content) == (202, first.content)
    wait_until_over(owner, read_object(first, 202))
    assert len(read_list(owner.get("/batches"))[0]) == 1
    assert sum(one.path == "/sourced/again.csv" for one in origin.requests) == 1


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"source_url": "nothing"}, 422, "source_url"),
        ({"source_url": 1}, 422, "source_url"),
        ({"source_url": "ftp://a/x"}, 422, "source_url"),
        ({"source_url": "https://u:p@a/x"}, 422, "source_url"),
        ({"source_url": "s3://nobody/list.csv"}, 422, "source_url"),
        ({"source_url": "https://a/x", "items": []}, 422, "source_url"),
        ({"source_url": "https://a/x", "format": "xlsx"}, 422, "format"),
        ({"source_url": "https://a/x", "headers": {"Range": "x"}}, 422, "headers"),
        ({"source_url": "s3://a/x", "headers": {"A": "x"}}, 422, "source_url"),
        ({"source_url": "https://a/x", "webhook_url": "ftp://x"}, 422, "webhook_url"),
        ({"source_url": "https://a/x", "defaults": {"url": "x"}}, 422, "defaults.url"),
        (
            {"source_url": "https://a/x", "defaults": {"webhook_url": "https://a/\x00"}},
            422,
            "defaults.webhook_url",
        ),
        ({"source_url": "https://a/x", "colour": 1}, 422, "colour"),
        ({"format": "csv"}, 400, None),
        ({"items": [{"url": "https://a/x"}], "format": "csv"}, 422, "format"),
        ({"source_url": None}, 400, None),
    ],
)
def test_an_order_of_a_list_that_is_wrong_is_refused(
    body: JsonDict, status: int, param: str | None, owner: Api
) -> None:
    code = "body_invalid" if status == 400 else "field_invalid"
    assert read_error(owner.post("/batches", body), status, code)["param"] == param
    assert read_list(owner.get("/batches"))[0] == []


def test_batches_that_are_loading_or_failed_are_found_by_their_state(
    owner: Api, origin: Origin
) -> None:
    stall = Stall()
    batch = order_list(owner, origin.serve("/sourced/found.csv", b"url\n", stall=stall))
    assert stall.reached.wait(10)
    assert [one["id"] for one in read_list(owner.get("/batches?status=loading"))[0]] == [
        batch["id"]
    ]
    stall.released.set()
    wait_until(lambda: read_batch(owner, batch)["status"] == "failed", "the end of the list")
    assert len(read_list(owner.get("/batches?status=failed"))[0]) == 1
