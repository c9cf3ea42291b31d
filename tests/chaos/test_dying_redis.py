"""R3 and R4: Redis that dies, or forgets everything."""

from __future__ import annotations

import base64
import json
import random
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

import pytest
from sqlalchemy import func, select

from storage.records.tables import attempts, tasks
from storage.signals import INGEST_QUEUE
from tests.chaos.conftest import Scale
from tests.chaos.outcome import note_ends, wait_for_ends, wait_started
from tests.chaos.rig import Rig, Tenant
from tests.chaos.stirring import ordering
from tests.support.figures import Figures
from tests.support.waiting import wait_until

ORDER_EVERY_S = 0.1
DOWN_S = (0.0, 3.0)
BURST, STARTS_WITHIN_S = 48, 5.0
PROGRESS_WITHIN_S, HEARD_WITHIN_S, SENT_AGAIN_WITHIN_S = 10.0, 20.0, 30.0


@pytest.mark.parametrize("aof", ["yes", "no"])
def test_r3_redis_may_be_killed_with_its_memory_or_without(
    aof: str, rig: Rig, tenant: Tenant, scale: Scale, figures: Figures
) -> None:
    kills = scale.pick(1, 14)
    choose = random.Random(scale.seed)
    progress_s, heard_s = [0.0], [0.0]
    said = "AOF on" if aof == "yes" else "AOF off"
    _keep_memory(rig, aof)
    try:
        with figures.row("R3", f"kill -9 Redis {kills} times, {said}") as row:
            before = rig.stack.processes
            with ordering(tenant, ORDER_EVERY_S, lambda number: f"/tiny/{aof}-{number}") as orders:
                for _ in range(kills):
                    back = _kill_redis(rig, choose.uniform(*DOWN_S))
                    progress_s.append(_measure_progress(tenant, back))
                    heard_s.append(_measure_hearing(tenant, back))
            wait_for_ends(tenant, 60)
            # More than all slots take up at once: every worker must ask again and again.
            burst = [f"/tiny/burst-{aof}-{number}" for number in range(BURST)]
            ids = tenant.post_all({"url": rig.source.url(path)} for path in burst)
            starts_s = max(wait_started(tenant, task_id) for task_id in ids)
            wait_for_ends(tenant, 60)
            row.note(
                f"{BURST} tasks start within {STARTS_WITHIN_S:g} s when all is well again",
                f"{starts_s:.1f} s at worst",
                held=starts_s <= STARTS_WITHIN_S,
            )
            row.note(
                f"progress within {PROGRESS_WITHIN_S:g} s of Redis's return",
                f"{max(progress_s):.1f} s at worst",
                held=max(progress_s) <= PROGRESS_WITHIN_S,
            )
            restarted = _name_restarted(rig, before)
            row.note(
                f"no worker dead or deaf for over {HEARD_WITHIN_S:g} s",
                f"{max(heard_s):.1f} s at worst; restarted: {', '.join(restarted) or 'none'}",
                held=max(heard_s) <= HEARD_WITHIN_S,
            )
            row.note(
                "POST /tasks answers 201 all the while",
                f"{orders.statuses}, {orders.broken} unanswered, {orders.slowest_s:.1f} s at worst",
                held=set(orders.statuses) == {201} and not orders.broken,
            )
            note_ends(row, tenant, [*orders.paths, *burst])
    finally:
        _keep_memory(rig, "yes")


def test_r4_what_redis_forgets_is_sent_again(
    rig: Rig, tenant: Tenant, scale: Scale, figures: Figures
) -> None:
    paths = [f"/slow/r4-{number}" for number in range(scale.pick(80, 1000))]
    flushes = scale.pick(1, 5)
    with figures.row("R4", f"FLUSHALL {flushes} times with {len(paths)} pending") as row:
        tenant.add_all(rig.source.url(path) for path in paths)
        forgotten_count, sent_again_s = 0, 0.0
        for _ in range(flushes):
            forgotten = wait_until(lambda: _read_queue(rig), "wake-ups in Redis")
            began = time.monotonic()
            rig.redis.flushall()
            forgotten_count += len(forgotten)
            wait_until(
                partial(_are_begun, rig, forgotten),
                "what was forgotten to begin",
                SENT_AGAIN_WITHIN_S + 10,
            )
            sent_again_s = max(sent_again_s, time.monotonic() - began)
        wait_for_ends(tenant, scale.pick(40, 180))
        row.note(
            f"sent again within {SENT_AGAIN_WITHIN_S:g} s",
            f"{forgotten_count} wake-ups forgotten, all begun {sent_again_s:.1f} s later at worst",
            held=sent_again_s <= SENT_AGAIN_WITHIN_S,
        )
        note_ends(row, tenant, paths)


def _name_restarted(rig: Rig, before: Mapping[str, int]) -> list[str]:
    now = rig.stack.processes
    return [name for name, pid in before.items() if name != "valkey" and now.get(name) != pid]


def _keep_memory(rig: Rig, aof: str) -> None:
    """Have Valkey keep its append-only file or nothing at all, also after a restart."""
    rig.redis.config_set("appendonly", aof)
    rig.redis.config_set("save", "")
    rig.redis.config_rewrite()


def _kill_redis(rig: Rig, down_s: float) -> datetime:
    """Kill Redis, keep it down for a while; return when it answered again."""
    rig.stack.kill("valkey")
    rig.stack.stop_child("valkey")
    time.sleep(down_s)
    rig.stack.start_child("valkey")
    return datetime.now(UTC)


def _measure_progress(tenant: Tenant, since: datetime) -> float:
    """Return how long it took until a task was done that began after ``since``."""

    def look() -> datetime | None:
        with tenant.rig.database.transaction() as connection:
            first: datetime | None = connection.execute(
                select(func.min(attempts.c.finished))
                .join(tasks, tasks.c.id == attempts.c.task_id)
                .where(tasks.c.project_id == tenant.project.id, attempts.c.started > since)
            ).scalar_one()
        return first

    done = wait_until(look, "progress after Redis came back", 60, pause_s=0.1)
    return (done - since).total_seconds()


def _measure_hearing(tenant: Tenant, since: datetime) -> float:
    """Return how long it took until every worker had begun something after ``since``."""
    rig = tenant.rig

    def look() -> datetime | None:
        pids = {str(rig.stack.processes.get(name)) for name in rig.name_workers()}
        with rig.database.transaction() as connection:
            rows = connection.execute(
                select(attempts.c.worker, func.min(attempts.c.started))
                .where(attempts.c.started > since)
                .group_by(attempts.c.worker)
            ).all()
        began = {worker.split("-")[-2]: started for worker, started in rows}
        return max(began[pid] for pid in pids) if pids <= set(began) else None

    heard = wait_until(look, "every worker to begin something", 60, pause_s=0.1)
    return (heard - since).total_seconds()


def _read_queue(rig: Rig) -> list[str]:
    """Return the ids of the tasks whose wake-ups are in Redis."""
    messages = rig.redis.lrange(INGEST_QUEUE, 0, -1)
    assert isinstance(messages, list)
    return [json.loads(base64.b64decode(json.loads(one)["body"]))[0][0] for one in messages]


def _are_begun(rig: Rig, ids: Sequence[str]) -> bool:
    with rig.database.transaction() as connection:
        waiting = connection.execute(
            select(func.count()).where(tasks.c.id.in_(ids), tasks.c.attempt == 0)
        ).scalar_one()
    return waiting == 0
