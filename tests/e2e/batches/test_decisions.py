"""``/batches/{id}/…``: paused, resumed, cancelled and retried, followed and listed."""

from __future__ import annotations

from typing import cast

from tests.support.api import Api, JsonDict, read_error, read_list, read_object
from tests.support.batches import read_batch, read_results, send_items, wait_until_over
from tests.support.origin import Origin, Reply, Stall
from tests.support.waiting import wait_until


def _decide(api: Api, batch: JsonDict, decision: str) -> JsonDict:
    return read_object(api.post(f"/batches/{batch['id']}/{decision}", {}))


def _count(batch: JsonDict) -> JsonDict:
    return cast("JsonDict", batch["counts"])


def _wait_for_count(api: Api, batch: JsonDict, name: str, count: int) -> JsonDict:
    def look() -> JsonDict | None:
        found = read_batch(api, batch)
        return found if _count(found)[name] == count else None

    return wait_until(look, f"{count} {name}", 20)


def test_a_paused_batch_begins_nothing_until_it_is_resumed(
    owner: Api, origin: Origin, picture: bytes
) -> None:
    stall = Stall()
    slow = origin.serve("/batches/pause.jpg", picture, stall=stall)
    batch = send_items(owner, [{"url": slow}] * 4, concurrency=1)
    _wait_for_count(owner, batch, "processing", 1)
    assert _decide(owner, batch, "pause")["status"] == "paused"
    stall.released.set()
    paused = _wait_for_count(owner, batch, "complete", 1)
    assert (paused["status"], paused["eta_s"], _count(paused)["pending"]) == ("paused", None, 3)
    read_error(owner.post(f"/batches/{batch['id']}/pause", {}), 409, "conflict")
    assert _decide(owner, batch, "resume")["status"] == "processing"
    over = wait_until_over(owner, batch)
    assert (over["status"], _count(over)["complete"]) == ("complete", 4)
    read_error(owner.post(f"/batches/{batch['id']}/resume", {}), 409, "conflict")


def test_a_cancelled_batch_ends_with_what_runs_and_what_waits(
    owner: Api, origin: Origin, picture: bytes
) -> None:
    stall = Stall()
    slow = origin.serve("/batches/cancel.jpg", picture, stall=stall)
    batch = send_items(owner, [{"url": slow, "filename": f"{n}"} for n in range(3)], concurrency=1)
    assert stall.reached.wait(10)
    assert _decide(owner, batch, "cancel")["status"] == "cancelled"
    over = wait_until_over(owner, batch)
    stall.released.set()
    assert (over["status"], _count(over)["cancelled"]) == ("cancelled", 3)
    assert {row["error_code"] for row in read_results(owner, batch)} == {"cancelled"}
    for decision in ("cancel", "retry", "pause", "resume"):
        read_error(owner.post(f"/batches/{batch['id']}/{decision}", {}), 409, "conflict")
    # The names are free again.
    wait_until_over(owner, send_items(owner, [{"url": slow, "filename": "0"}]))


def test_what_failed_is_retried_and_nothing_else(
    owner: Api, origin: Origin, picture: bytes, picture_url: str
) -> None:
    mended = origin.route(
        "/batches/retry.jpg", Reply(status=404), Reply(body=picture, content_type="image/jpeg")
    )
    batch = send_items(owner, [{"url": picture_url}, {"url": mended, "filename": "a.jpg"}])
    over = wait_until_over(owner, batch)
    assert (over["status"], _count(over)["failed"]) == ("complete", 1)
    again = _decide(owner, batch, "retry")
    assert (again["status"], again["finished"]) == ("processing", None)
    over = wait_until_over(owner, batch)
    assert (over["status"], _count(over)["complete"]) == ("complete", 2)
    assert [row["attempts"] for row in read_results(owner, batch)] == [1, 2]


def test_batches_and_their_tasks_are_listed_and_narrowed(owner: Api, picture_url: str) -> None:
    first = send_items(owner, [{"url": picture_url, "ref": "a"}, {"url": picture_url}], ref="one")
    second = send_items(owner, [{"url": picture_url}])
    for batch in (first, second):
        wait_until_over(owner, batch)
    assert [one["id"] for one in read_list(owner.get("/batches"))[0]] == [second["id"], first["id"]]
    assert [one["id"] for one in read_list(owner.get("/batches?ref=one"))[0]] == [first["id"]]
    assert read_list(owner.get("/batches?status=cancelled"))[0] == []
    found, meta, _ = read_list(owner.get(f"/batches/{first['id']}/tasks?limit=1"))
    assert (meta["total"], found[0]["batch_id"]) == (2, first["id"])
    narrowed = read_list(owner.get(f"/batches/{first['id']}/tasks?ref=a&status=complete"))[0]
    assert [one["ref"] for one in narrowed] == ["a"]
    assert read_list(owner.get(f"/batches/{first['id']}/tasks?status=failed"))[0] == []
    assert len(read_list(owner.get(f"/tasks?batch_id={second['id']}"))[0]) == 1
