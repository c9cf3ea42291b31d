"""R9: PostgreSQL is killed while people order; what it said yes to, it still knows."""

from __future__ import annotations

import random
import time

from tests.chaos.conftest import Scale
from tests.chaos.outcome import list_ordered, note_ends, wait_for_ends
from tests.chaos.rig import Rig, Tenant
from tests.chaos.stirring import kill_tree, ordering
from tests.support.figures import Figures

ORDER_EVERY_S = 0.1
UP_S = (1.0, 4.0)
ANSWERED_WITHIN_S = 3.0


def test_r9_no_accepted_task_is_missing_after_postgresql_was_killed(
    rig: Rig, tenant: Tenant, scale: Scale, figures: Figures
) -> None:
    kills = scale.pick(1, 5)
    choose = random.Random(scale.seed)
    with figures.row("R9", f"kill -9 PostgreSQL {kills} times") as row:
        before = rig.stack.processes
        with ordering(tenant, ORDER_EVERY_S, lambda number: f"/tiny/r9-{number}") as orders:
            for _ in range(kills):
                time.sleep(choose.uniform(*UP_S))
                pid = rig.stack.processes["postgres"]
                kill_tree(rig.stack, "postgres")
                rig.stack.wait_ready("postgres", after_pid=pid)
            time.sleep(1)
        wait_for_ends(tenant, 60)
        ordered = list_ordered(tenant)
        missing = set(orders.task_ids) - ordered.keys()
        row.note(
            "no accepted task missing",
            f"{len(missing)} of {len(orders.accepted)} missing",
            held=not missing and bool(orders.accepted),
        )
        # A commit that was not answered may have been done all the same: more than was promised.
        note_ends(row, tenant, list(ordered.values()))
        restarted = [
            name
            for name, pid in before.items()
            if name != "postgres" and rig.stack.processes.get(name) != pid
        ]
        row.note(
            "no worker crash-loop",
            f"restarted: {', '.join(restarted) or 'none'}",
            held=not restarted,
        )
        row.note(
            f"201, or 503 with Retry-After, within {ANSWERED_WITHIN_S:g} s",
            f"{orders.statuses}, {orders.without_retry_after} without Retry-After, "
            f"{orders.broken} unanswered, {orders.slowest_s:.1f} s at worst",
            held=set(orders.statuses) <= {201, 503}
            and not orders.without_retry_after
            and not orders.broken
            and orders.slowest_s <= ANSWERED_WITHIN_S,
        )
