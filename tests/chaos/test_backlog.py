"""R11: a backlog of any length holds nobody else up, and costs the dispatcher nothing."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import func, select, text, update

from ingest.config import Settings
from storage.records.tables import tasks
from storage.signals import INGEST_QUEUE, Signals
from tests.chaos.conftest import Scale
from tests.chaos.outcome import wait_started
from tests.chaos.rig import SLOTS, Rig, Tenant
from tests.support.figures import Figures
from tests.support.waiting import wait_until
from workers.dispatch import Dispatcher

STARTS_WITHIN_S = 5.0
# What "flat" means: not slower by this factor, nor by what a busy machine adds to anything.
FLAT_FACTOR, FLAT_SLACK_S = 2.0, 0.005
ROUNDS = 15
LOOK_EVERY_S = 0.01
_ADD = text(
    """
    INSERT INTO tasks (id, project_id, kind, url, file_id, media_id, source_host, max_attempts,
                       request_id)
    SELECT 'task_' || digits, :project, 'ingest', :root || number, 'file_' || digits,
           'med_' || digits, '127.0.0.1', 5, 'req_chaos'
    FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS number,
         LATERAL (SELECT lpad(number::text, 26, '0') AS digits) AS padded
    """
)
# The stack uses database 0.
UNUSED_REDIS = "/9"


def test_r11_a_backlog_of_one_project_holds_no_other_up(
    rig: Rig, tenant: Tenant, scale: Scale, figures: Figures
) -> None:
    few, many = 1000, scale.pick(10_000, 100_000)
    window = rig.settings.dispatch_window * SLOTS * len(rig.name_workers())
    other = rig.open_tenant()
    with figures.row("R11", f"{many} pending in one project, one task from another") as row:
        rig.stack.stop_child("beat")
        _add_backlog(tenant, 0, few)
        at_few_s = _time_dispatch(rig, tenant)
        _add_backlog(tenant, few, many)
        at_many_s = _time_dispatch(rig, tenant)
        row.note(
            f"time of a dispatch flat from {few} to {many} pending",
            f"{at_few_s * 1000:.1f} ms, {at_many_s * 1000:.1f} ms (median of {ROUNDS})",
            held=at_many_s <= at_few_s * FLAT_FACTOR + FLAT_SLACK_S,
        )
        with _watching_queue(rig) as longest:
            rig.stack.start_child("beat")
            wait_until(lambda: _count_begun(tenant) > window, "the backlog to move", 30)
            starts_s = []
            for number in range(scale.pick(1, 5)):
                task_id = other.post({"url": rig.source.url(f"/tiny/r11-other-{number}")})
                starts_s.append(wait_started(other, task_id))
            left = many - _count_begun(tenant)
        row.note(
            f"the other starts within {STARTS_WITHIN_S:g} s",
            f"{max(starts_s):.1f} s at worst of {len(starts_s)}, with {left} still waiting",
            held=max(starts_s) <= STARTS_WITHIN_S and left > 0,
        )
        row.note(
            f"Redis holds at most the window of {window}",
            f"{longest[0]} at most",
            held=0 < longest[0] <= window,
        )


def _add_backlog(tenant: Tenant, first: int, end: int) -> None:
    """Write pending tasks down as the API would, a hundred thousand in a few seconds."""
    with tenant.rig.database.transaction() as connection:
        connection.execute(text("SET LOCAL statement_timeout = '60s'"))
        connection.execute(
            _ADD,
            {
                "project": tenant.project.id,
                # A slow source keeps the slots busy, so that wake-ups wait.
                "root": tenant.rig.source.url("/slow/r11-"),
                "first": first,
                "last": end - 1,
            },
        )
    with tenant.rig.database.transaction() as connection:
        connection.execute(text("ANALYZE tasks"))


def _time_dispatch(rig: Rig, tenant: Tenant) -> float:
    """Return the median seconds of a dispatch that fills an empty window."""
    url = rig.settings.redis_url.get_secret_value().rpartition("/")[0] + UNUSED_REDIS
    signals = Signals(url)
    dispatcher = _make_dispatcher(rig, signals, rig.settings)
    took_s = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        woken = dispatcher.dispatch()
        took_s.append(time.perf_counter() - began)
        assert woken > 0, "nothing was woken"
        with rig.database.transaction() as connection:
            connection.execute(
                update(tasks)
                .where(tasks.c.project_id == tenant.project.id, tasks.c.woken.is_not(None))
                .values(woken=None)
            )
    signals.close()
    return statistics.median(took_s)


def _make_dispatcher(rig: Rig, signals: Signals, settings: Settings) -> Dispatcher:
    return Dispatcher(rig.database, signals, settings, lambda _: None)


@contextmanager
def _watching_queue(rig: Rig) -> Iterator[list[int]]:
    """Yield the length of the longest queue of wake-ups that was seen."""
    longest = [0]
    over = threading.Event()

    def run() -> None:
        while not over.wait(LOOK_EVERY_S):
            longest[0] = max(longest[0], rig.signals.count_queued(INGEST_QUEUE))

    thread = threading.Thread(target=run, name="watching")
    thread.start()
    try:
        yield longest
    finally:
        over.set()
        thread.join()


def _count_begun(tenant: Tenant) -> int:
    with tenant.rig.database.transaction() as connection:
        begun: int = connection.execute(
            select(func.count()).where(
                tasks.c.project_id == tenant.project.id, tasks.c.status != "pending"
            )
        ).scalar_one()
    return begun
