"""Webhooks as receivers meet them: who is told what, signed, in which words, and how often."""

from __future__ import annotations

import time
from typing import cast

from tests.support.api import Api, JsonDict, read_list, read_object
from tests.support.inbox import (
    TAKEN,
    list_deliveries,
    open_inbox,
    open_task_inbox,
    refuse,
    wait_for_status,
)
from tests.support.origin import Origin, Reply, Stall
from tests.support.tasks import create_task, read_task, wait_for_end
from tests.support.waiting import wait_until

LIFE = ["task.created", "task.started", "task.completed", "file.created"]


def test_a_receiver_is_told_of_a_tasks_life_and_shown_the_task_as_it_was(
    owner: Api, origin: Origin, picture_url: str
) -> None:
    inbox = open_inbox(owner, origin)
    task = wait_for_end(owner, create_task(owner, picture_url, ref="order-7", metadata={"a": 1}))
    told = inbox.wait_for(*LIFE)
    assert sorted(one.type for one in told) == sorted(LIFE)
    by_type = {one.type: one for one in told}
    assert by_type["task.completed"].data == task
    assert by_type["file.created"].data == task["output"]
    created = by_type["task.created"].data
    assert (created["status"], created["attempts"], created["output"]) == ("pending", [], None)
    started = by_type["task.started"].data
    assert started["status"] == "processing"
    assert (created["id"], created["ref"], created["metadata"]) == (task["id"], "order-7", {"a": 1})
    for one in told:
        assert list(one.payload) == ["type", "timestamp", "data"]
        assert one.request.headers["content-type"] == "application/json"
        event = read_object(owner.get(f"/events/{one.id}"))
        assert (event["type"], event["data"]) == (one.type, one.data)
        assert event["created"] == one.payload["timestamp"]
    found, _, _ = read_list(owner.get(f"/events?subject_id={task['id']}"))
    assert {str(one["id"]) for one in found} == {
        one.id for one in told if one.type != "file.created"
    }
    deliveries = wait_for_status(owner, inbox, "delivered")
    assert {one["event_id"] for one in deliveries} == {one.id for one in told}
    for delivery in deliveries:
        (attempt,) = cast("list[JsonDict]", delivery["attempts"])
        assert (attempt["number"], attempt["http_status"], attempt["error"]) == (1, 204, None)


def test_an_endpoint_is_told_what_its_topics_ask_for(
    owner: Api, origin: Origin, picture_url: str
) -> None:
    files = open_inbox(owner, origin, ["file.*"])
    ends = open_inbox(owner, origin, ["task.completed", "task.failed"])
    done = wait_for_end(owner, create_task(owner, picture_url))
    missing = origin.serve("/webhooks/gone.jpg", status=404)
    wait_for_end(owner, create_task(owner, missing))
    output = cast("JsonDict", done["output"])
    assert owner.delete(f"/files/{output['id']}").status_code == 200
    told = ends.wait_for("task.completed", "task.failed")
    assert len(told) == 2
    failed = next(one.data for one in told if one.type == "task.failed")
    assert cast("JsonDict", failed["error"])["code"] == "source_not_found"
    about_files = files.wait_for("file.created", "file.deleted")
    assert [one.data for one in about_files] == [output, output]


def test_the_webhook_url_of_a_task_is_told_of_its_end_alone(
    owner: Api, origin: Origin, picture_url: str
) -> None:
    inbox = open_task_inbox(owner, origin)
    url = f"{inbox.url}?token=s3cr3t"
    task = create_task(owner, picture_url, webhook_url=url)
    assert cast("JsonDict", task["options"])["webhook_url"] == url
    ended = wait_for_end(owner, task)
    told = inbox.wait_for("task.completed")
    assert [one.type for one in told] == ["task.completed"]
    # Where it is sent to may be a secret, and no receiver's business.
    options = cast("JsonDict", told[0].data["options"])
    assert options["webhook_url"] == inbox.url
    assert told[0].request.target.endswith("?token=s3cr3t")
    assert told[0].data["output"] == ended["output"]


def test_progress_is_told_to_who_names_it(owner: Api, origin: Origin, video: bytes) -> None:
    everything = open_inbox(owner, origin)
    named = open_inbox(owner, origin, ["task.progress"])
    task = create_task(owner, origin.serve("/webhooks/slow.mp4", video))
    wait_for_end(owner, task)
    everything.wait_for("task.completed")
    assert "task.progress" not in {one.type for one in everything.list_messages()}
    assert all(one.type == "task.progress" for one in named.list_messages())


def test_what_is_refused_comes_again_under_the_same_id_until_it_is_taken(
    owner: Api, origin: Origin, picture_url: str
) -> None:
    inbox = open_inbox(
        owner, origin, ["task.completed"], refuse(500, b"not \x00 now"), refuse(404), TAKEN
    )
    wait_for_end(owner, create_task(owner, picture_url))
    (delivery,) = wait_for_status(owner, inbox, "delivered")
    told = inbox.list_messages()
    assert [one.id for one in told] == [delivery["event_id"]] * 3
    assert len({one.request.body for one in told}) == 1
    attempts = cast("list[JsonDict]", delivery["attempts"])
    assert [one["http_status"] for one in attempts] == [500, 404, 204]
    assert attempts[0]["answer"] == "not ? now"
    errors = [cast("JsonDict | None", one["error"]) for one in attempts]
    assert [error and error["code"] for error in errors] == ["receiver_refused"] * 2 + [None]
    assert all(isinstance(one["duration_ms"], int) for one in attempts)
    assert delivery["finished"] is not None


def test_what_is_never_taken_is_given_up_and_sent_again_when_somebody_asks(
    owner: Api, origin: Origin, picture_url: str
) -> None:
    since = "2020-01-01T00:00:00Z"
    inbox = open_inbox(owner, origin, ["task.completed"], *[refuse(500)] * 4, TAKEN)
    task = wait_for_end(owner, create_task(owner, picture_url))
    (failed,) = wait_for_status(owner, inbox, "failed")
    assert len(cast("list[JsonDict]", failed["attempts"])) == 3
    assert read_task(owner, task)["status"] == "complete"
    endpoint = read_object(owner.get(f"/webhooks/endpoints/{inbox.endpoint_id}"))
    assert (endpoint["status"], endpoint["failing_since"] is None) == ("enabled", False)

    again = read_object(owner.post(f"/webhooks/deliveries/{failed['id']}/redeliver", {}))
    assert again["status"] == "pending"
    (delivery,) = wait_for_status(owner, inbox, "delivered")
    attempts = cast("list[JsonDict]", delivery["attempts"])
    assert [one["http_status"] for one in attempts] == [500, 500, 500, 500, 204]
    assert {one.id for one in inbox.list_messages()} == {delivery["event_id"]}
    path = f"/webhooks/endpoints/{inbox.endpoint_id}/replay"
    replayed = read_object(owner.post(path, {"since": since}))
    assert (replayed["deliveries"], replayed["complete"]) == (0, True)


def test_a_replay_sends_what_failed_and_what_was_never_sent(
    owner: Api, origin: Origin, picture_url: str
) -> None:
    since = "2020-01-01T00:00:00Z"
    wait_for_end(owner, create_task(owner, picture_url))
    inbox = open_inbox(owner, origin, ["task.completed"], *[refuse(500)] * 3, TAKEN)
    wait_for_end(owner, create_task(owner, picture_url))
    wait_for_status(owner, inbox, "failed")
    path = f"/webhooks/endpoints/{inbox.endpoint_id}/replay"
    assert read_object(owner.post(path, {"since": since, "status": "failed"}))["deliveries"] == 1
    wait_for_status(owner, inbox, "delivered")
    body = {"since": since, "status": "missing"}
    assert read_object(owner.post(path, body))["deliveries"] == 1
    assert read_object(owner.post(path, body))["deliveries"] == 0
    wait_until(lambda: len(list_deliveries(owner, inbox)) == 2, "the one from before")
    wait_for_status(owner, inbox, "delivered")
    assert len({one.id for one in inbox.list_messages()}) == 2


def test_who_says_gone_is_sent_nothing_any_more_and_others_are_told(
    owner: Api, origin: Origin, picture_url: str
) -> None:
    watch = open_inbox(owner, origin, ["endpoint.disabled"])
    inbox = open_inbox(owner, origin, ["task.completed"], refuse(410), TAKEN)
    wait_for_end(owner, create_task(owner, picture_url))
    (told,) = watch.wait_for("endpoint.disabled")
    assert (told.data["id"], told.data["disabled_for"]) == (inbox.endpoint_id, "gone")
    path = f"/webhooks/endpoints/{inbox.endpoint_id}"
    endpoint = read_object(owner.get(path))
    assert told.data == endpoint
    assert (endpoint["status"], endpoint["disabled_for"]) == ("disabled", "gone")
    wait_for_end(owner, create_task(owner, picture_url))
    assert len(inbox.list_messages()) == 1
    answer = owner.post(f"{path}/replay", {"since": "2020-01-01T00:00:00Z"})
    assert answer.status_code == 409
    (failed,) = list_deliveries(owner, inbox)
    answer = owner.post(f"/webhooks/deliveries/{failed['id']}/redeliver", {})
    assert (answer.status_code, list_deliveries(owner, inbox)) == (409, [failed])

    endpoint = read_object(owner.patch(path, {"status": "enabled"}))
    assert (endpoint["status"], endpoint["disabled_for"]) == ("enabled", None)
    wait_for_end(owner, create_task(owner, picture_url))
    wait_until(lambda: len(inbox.list_messages()) == 2, "what came after")


def test_a_redirect_is_a_failure_and_followed_nowhere(
    owner: Api, origin: Origin, picture_url: str
) -> None:
    elsewhere = origin.route("/inbox/elsewhere", TAKEN)
    inbox = open_inbox(owner, origin, ["task.completed"], refuse(307, Location=elsewhere))
    wait_for_end(owner, create_task(owner, picture_url))
    (failed,) = wait_for_status(owner, inbox, "failed")
    attempts = cast("list[JsonDict]", failed["attempts"])
    assert "redirects are not followed" in str(cast("JsonDict", attempts[0]["error"])["message"])
    assert "/inbox/elsewhere" not in {one.path for one in origin.requests}


def test_one_that_hangs_holds_up_nobody_else(owner: Api, origin: Origin, picture_url: str) -> None:
    stall = Stall()
    hanging = open_inbox(
        owner, origin, ["task.completed"], Reply(stall=stall, methods=frozenset({"POST"}))
    )
    healthy = open_inbox(owner, origin, ["task.completed"])
    try:
        tasks = [create_task(owner, picture_url) for _ in range(6)]
        for task in tasks:
            wait_for_end(owner, task)
        began = time.monotonic()
        wait_until(lambda: len(healthy.list_messages()) == 6, "the healthy one's")
        assert time.monotonic() - began < 2
        errors = wait_until(
            lambda: [
                cast("JsonDict", attempt["error"])["code"]
                for one in list_deliveries(owner, hanging)
                for attempt in cast("list[JsonDict]", one["attempts"])
                if attempt["error"] is not None
            ],
            "the end of an attempt",
        )
    finally:
        stall.released.set()
    assert set(errors) == {"receiver_timeout"}


def test_what_is_too_long_to_send_is_left_out_and_named(
    owner: Api, origin: Origin, picture_url: str
) -> None:
    inbox = open_inbox(owner, origin, ["task.completed"])
    metadata = {"long": "ä" * 8000}
    task = wait_for_end(owner, create_task(owner, picture_url, metadata=metadata))
    (told,) = inbox.wait_for("task.completed")
    assert len(told.request.body) <= 20_000
    assert told.payload["truncated"] == ["streams", "attempts", "metadata"]
    assert (told.data["id"], told.data["metadata"], told.data["attempts"]) == (task["id"], None, [])
    assert read_object(owner.get(f"/events/{told.id}"))["data"] == task
