"""R8: workers that are told to stop do so in time, and what they leave is gone on with."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select

from storage.records.tables import attempts, tasks
from tests.chaos.conftest import Scale
from tests.chaos.outcome import count_states, note_bytes, note_ends, note_leftovers, wait_for_ends
from tests.chaos.rig import GRACE_S, SLOTS, Rig, Tenant
from tests.support.figures import Figures
from tests.support.waiting import wait_until

EXIT_S = 2.0


def test_r8_a_deploy_in_the_middle_of_ingests_loses_no_work(
    rig: Rig, tenant: Tenant, scale: Scale, figures: Figures
) -> None:
    count = scale.pick(8, 50)
    # Some are done within the grace, and some are not.
    paths = [f"/{'slow' if number % 4 == 0 else 'video'}/r8-{number}" for number in range(count)]
    workers = rig.name_workers()
    with figures.row("R8", f"SIGTERM to every worker during {count} ingests") as row:
        tenant.post_all({"url": rig.source.url(path)} for path in paths)
        wait_until(
            lambda: count_states(tenant)["processing"] >= min(count, SLOTS * len(workers)) // 2,
            "ingests to run",
            20,
        )
        with ThreadPoolExecutor(len(workers)) as pool:
            took_s = list(pool.map(lambda name: _stop(rig, name), workers))
        row.note(
            f"exit within the grace of {GRACE_S:g} s + {EXIT_S:g} s",
            ", ".join(f"{one:.1f} s" for one in took_s),
            held=max(took_s) <= GRACE_S + EXIT_S,
        )
        for name in workers:
            rig.stack.start_child(name)
        wait_for_ends(tenant, scale.pick(40, 120))
        stored = note_ends(row, tenant, paths)
        note_bytes(row, rig, stored)
        note_leftovers(row, rig)
        codes, charged = _read_attempts(tenant)
        row.note(
            "no attempt charged for it, no lease left to run out",
            f"unfinished attempts {dict(codes)}, most tries {charged}",
            held=set(codes) <= {"worker_stopped"} and charged == 1,
        )


def _stop(rig: Rig, name: str) -> float:
    began = time.monotonic()
    rig.stack.stop_child(name)
    return time.monotonic() - began


def _read_attempts(tenant: Tenant) -> tuple[Counter[str], int]:
    """Return the errors of a project's attempts, and the most tries that one task was charged."""
    own = tasks.c.project_id == tenant.project.id
    with tenant.rig.database.transaction() as connection:
        errors = connection.execute(
            select(attempts.c.error)
            .join(tasks, tasks.c.id == attempts.c.task_id)
            .where(own, attempts.c.error.is_not(None))
        ).scalars()
        codes = Counter(str(error["code"]) for error in errors)
        charged = max(connection.execute(select(tasks.c.tries).where(own)).scalars(), default=0)
    return codes, charged
