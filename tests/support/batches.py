"""Batches as their owner sends and follows them."""

from __future__ import annotations

import csv
import io
import json
from typing import cast

from tests.support.api import Api, JsonDict, read_object
from tests.support.waiting import wait_until


def send_list(api: Api, text: str, content_type: str, query: str = "") -> JsonDict:
    """Send a list as it is; return the batch."""
    headers = {"Content-Type": content_type}
    return read_object(api.send("POST", f"/batches{query}", text.encode(), headers), 201)


def send_items(api: Api, items: list[JsonDict], **options: object) -> JsonDict:
    """Send a batch as JSON; return it."""
    return read_object(api.post("/batches", {**options, "items": items}), 201)


def read_batch(api: Api, batch: JsonDict) -> JsonDict:
    """Return a batch as it stands now."""
    return read_object(api.get(f"/batches/{batch['id']}"))


def wait_until_over(api: Api, batch: JsonDict, timeout_s: float = 30) -> JsonDict:
    """Return a batch once all of its tasks have ended."""

    def look() -> JsonDict | None:
        found = read_batch(api, batch)
        return found if found["finished"] is not None else None

    return wait_until(look, "the end of a batch", timeout_s)


def read_results(api: Api, batch: JsonDict) -> list[JsonDict]:
    """Return what became of each row of a list, having made sure that both forms say the same."""
    answer = api.get(f"/batches/{batch['id']}/results.ndjson")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/x-ndjson")
    rows = [cast("JsonDict", json.loads(line)) for line in answer.text.splitlines()]
    answer = api.get(f"/batches/{batch['id']}/results.csv")
    assert answer.headers["Content-Type"].startswith("text/csv")
    table = list(csv.DictReader(io.StringIO(answer.text)))
    assert table == [
        {name: "" if value is None else str(value) for name, value in row.items()} for row in rows
    ]
    return rows


def order_list(api: Api, source_url: str, **options: object) -> JsonDict:
    """Have a list read from a URL; return the batch."""
    return read_object(api.post("/batches", {"source_url": source_url, **options}), 202)


def check_sources(api: Api, items: list[JsonDict], **options: object) -> JsonDict:
    """Have the sources of a dry run asked; return the batch."""
    body = {"items": items, "dry_run": True, "check_sources": True, **options}
    return read_object(api.post("/batches", body), 202)
