"""Lists whose reading is broken off, by the worker's end or by the source: tasks are made once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest
from sqlalchemy import text

from cli.local import LocalStack
from storage.records.database import Database
from tests.e2e.conftest import MakeStack
from tests.support.api import Api, JsonDict, read_list
from tests.support.batches import (
    check_sources,
    order_list,
    read_batch,
    read_results,
    wait_until_over,
)
from tests.support.origin import Cut, Origin, Reply, Stall
from tests.support.waiting import wait_until

ROWS = 3000
# Nothing is fetched: none of them resolves.
LIST = "".join(["url,filename\n", *(f"https://a.invalid/{n},{n}\n" for n in range(ROWS)), "x,\n"])
WAITS_FOR_LOCK = text(
    "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = (:name)::regclass"
)


@pytest.fixture(scope="module")
def stack(make_stack: MakeStack, source: Origin) -> Iterator[LocalStack]:
    """A stack of this module's own, whose worker is killed."""
    with make_stack(
        source,
        HEADRACE_LEASE_S="3",
        HEADRACE_HEARTBEAT_S="0.5",
        HEADRACE_RETRY_BASE_S="0.1",
        HEADRACE_SHUTDOWN_GRACE_S="1",
        HEADRACE_CHECK_TIMEOUT_S="8",
    ) as running:
        yield running


def _count_tasks(api: Api, batch: JsonDict) -> int:
    return cast("int", read_list(api.get(f"/batches/{batch['id']}/tasks?limit=1"))[1]["total"])


def _wait_until_read(api: Api, batch: JsonDict) -> JsonDict:
    def look() -> JsonDict | None:
        found = read_batch(api, batch)
        return None if found["status"] == "loading" else found

    return wait_until(look, "a list that is read", 40)


def _end(api: Api, batch: JsonDict) -> None:
    api.post(f"/batches/{batch['id']}/cancel", {})
    wait_until_over(api, batch, 60)


def test_a_list_whose_worker_dies_over_its_download_is_read_by_the_next(
    stack: LocalStack, api: Api, source: Origin
) -> None:
    stall = Stall(at_bytes=1000)
    content = LIST.encode()
    url = source.route("/lost/download.csv", Reply(body=content, stall=stall), Reply(body=content))
    batch = order_list(api, url, concurrency=1, defaults={"folder": "download"})
    assert stall.reached.wait(20)
    stack.kill("worker")
    found = _wait_until_read(api, batch)
    assert (found["total"], found["rejected"], _count_tasks(api, batch)) == (ROWS, 1, ROWS)
    assert len(source.list_served("/lost/download.csv")) == 2
    _end(api, batch)


def test_a_list_whose_worker_dies_before_the_commit_makes_its_tasks_once(
    stack: LocalStack, api: Api, source: Origin, own_database: Database
) -> None:
    url = source.serve("/lost/commit.csv", LIST.encode())
    with own_database.transaction() as held:
        # Rejects are written last, when all tasks are made.
        held.execute(text("LOCK TABLE batch_rejects IN EXCLUSIVE MODE"))
        batch = order_list(api, url, concurrency=1, defaults={"folder": "commit"})

        def is_waiting() -> bool:
            held.execute(text("SELECT 1"))
            with own_database.transaction() as looking:
                return bool(looking.execute(WAITS_FOR_LOCK, {"name": "batch_rejects"}).scalar_one())

        wait_until(is_waiting, "a load that is about to be committed", 20)
        stack.kill("worker")
        assert (read_batch(api, batch)["status"], _count_tasks(api, batch)) == ("loading", 0)
    found = _wait_until_read(api, batch)
    assert (found["total"], found["rejected"], _count_tasks(api, batch)) == (ROWS, 1, ROWS)
    _end(api, batch)


def test_a_list_that_is_taken_keeps_nobody_from_the_row_of_its_project(
    api: Api, source: Origin, own_database: Database
) -> None:
    url = source.serve("/lost/told.csv", b"url\nhttps://a.invalid/1\nx\n")
    with own_database.transaction() as held:
        held.execute(text("LOCK TABLE batch_rejects IN EXCLUSIVE MODE"))
        # The first receiver of all that this project names.
        batch = order_list(api, url, defaults={"webhook_url": "https://a.invalid/told"})

        def is_waiting() -> bool:
            held.execute(text("SELECT 1"))
            with own_database.transaction() as looking:
                return bool(looking.execute(WAITS_FOR_LOCK, {"name": "batch_rejects"}).scalar_one())

        wait_until(is_waiting, "a load that is about to be committed", 20)
        with own_database.transaction() as counting:
            row = counting.execute(text("SELECT id FROM projects FOR NO KEY UPDATE NOWAIT")).first()
        assert row is not None
    _wait_until_read(api, batch)
    _end(api, batch)


def test_a_worker_that_is_stopped_hands_its_list_on_at_no_charge(
    stack: LocalStack, api: Api, source: Origin, own_database: Database
) -> None:
    stall = Stall(at_bytes=1000)
    content = LIST.encode()
    url = source.route("/lost/stopped.csv", Reply(body=content, stall=stall), Reply(body=content))
    batch = order_list(api, url, concurrency=1, defaults={"folder": "stopped"})
    assert stall.reached.wait(20)
    stack.stop_child("worker")
    with own_database.transaction() as connection:
        job = connection.execute(
            text("SELECT attempt, tries, lease_until FROM batch_jobs WHERE batch_id = :id"),
            {"id": batch["id"]},
        ).one()
    assert tuple(job) == (1, 0, None)
    stack.start_child("worker")
    assert _wait_until_read(api, batch)["total"] == ROWS
    _end(api, batch)


def test_a_list_that_is_cut_is_read_again_and_shows_why_meanwhile(api: Api, source: Origin) -> None:
    content, stall = LIST.encode(), Stall(at_bytes=1000)
    url = source.route(
        "/lost/cut.csv",
        Reply(body=content, cut=Cut(5000)),
        Reply(status=503),
        Reply(body=content, stall=stall),
    )
    batch = order_list(api, url, concurrency=1, defaults={"folder": "cut"})
    assert stall.reached.wait(20)
    error = cast("JsonDict", read_batch(api, batch)["error"])
    assert (error["code"], error["retryable"]) == ("source_unavailable", True)
    stall.released.set()
    found = _wait_until_read(api, batch)
    assert (found["total"], found["error"], _count_tasks(api, batch)) == (ROWS, None, ROWS)
    _end(api, batch)


def test_a_list_that_kills_each_worker_ends_and_nothing_is_made(
    api: Api, source: Origin, own_database: Database
) -> None:
    batch = order_list(api, source.serve("/lost/again.csv", b"url\n", stall=Stall()))
    with own_database.transaction() as connection:
        # As five workers leave it that were lost over it.
        connection.execute(
            text("UPDATE batch_jobs SET tries = 5, attempt = attempt + 5, "
                 "lease_until = now() - interval '1 s' WHERE batch_id = :id"),
            {"id": batch["id"]},
        )  # fmt: skip
    over = wait_until_over(api, batch)
    assert cast("JsonDict", over["error"])["code"] == "attempts_exhausted"
    assert (over["status"], _count_tasks(api, batch)) == ("failed", 0)


def test_a_check_whose_worker_dies_goes_on_with_what_was_not_answered(
    stack: LocalStack, api: Api, source: Origin, picture: bytes
) -> None:
    stall = Stall()
    good = [source.serve(f"/lost/check-{n}.jpg", picture) for n in range(20)]
    slow = source.route(
        "/lost/check-slow.jpg", Reply(body=picture, stall=stall), Reply(body=picture)
    )
    batch = check_sources(api, [{"url": url} for url in [*good, slow]])
    assert stall.reached.wait(20)

    def count() -> bool:
        return cast("JsonDict", read_batch(api, batch)["counts"])["complete"] == len(good)

    wait_until(count, "all but one that have answered")
    stack.kill("worker")
    over = wait_until_over(api, batch)
    assert cast("JsonDict", over["counts"])["complete"] == len(good) + 1
    assert [row["status"] for row in read_results(api, batch)] == ["ok"] * (len(good) + 1)
    assert {len(source.list_served(f"/lost/check-{n}.jpg")) for n in range(20)} == {1}


def test_a_check_ends_in_time_whatever_its_sources_do(
    api: Api, source: Origin, picture: bytes
) -> None:
    good = source.serve("/lost/in-time.jpg", picture)
    stalls = [source.serve(f"/lost/late-{n}.jpg", picture, stall=Stall()) for n in range(30)]
    batch = check_sources(api, [{"url": url} for url in [good, *stalls]])
    over = wait_until_over(api, batch, 20)
    counts = cast("JsonDict", over["counts"])
    assert (over["status"], counts["complete"], counts["failed"]) == ("complete", 1, 30)
    first, *others = read_results(api, batch)
    assert first["status"] == "ok"
    assert {(row["error_code"], row["retryable"]) for row in others} == {("source_timeout", True)}
    assert "took longer than 8 s" in str(others[0]["error_message"])
