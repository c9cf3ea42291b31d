"""R10: beats and sweepers side by side, and every task is done once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from sqlalchemy import func, select

from cli import roles
from cli.child import Child
from storage.records.tables import tasks
from tests.chaos.conftest import Scale
from tests.chaos.outcome import note_ends, note_leftovers, wait_for_ends
from tests.chaos.rig import Rig, Tenant
from tests.chaos.stirring import sweeping
from tests.support.figures import Figures
from tests.support.waiting import wait_until


def test_r10_two_dispatchers_and_three_sweepers_do_each_task_once(
    rig: Rig, tenant: Tenant, scale: Scale, figures: Figures
) -> None:
    paths = [f"/tiny/r10-{number}" for number in range(scale.pick(150, 5000))]
    with (
        figures.row("R10", f"two dispatchers, three sweepers at once, {len(paths)} tasks") as row,
        ExitStack() as held,
    ):
        # A beat dispatches and sweeps; the third sweeper only sweeps.
        held.enter_context(_second_beat(rig))
        sweeps = held.enter_context(sweeping(rig))
        for at in range(0, len(paths), 1000):
            tenant.add_all(rig.source.url(path) for path in paths[at : at + 1000])
        wait_for_ends(tenant, scale.pick(40, 400))
        note_ends(row, tenant, paths)
        most = _read_most_attempts(tenant)
        row.note("each claimed once", f"{most} attempts at most", held=most == 1)
        asked = Counter(
            request.path for request in rig.source.requests if request.path.startswith("/tiny/r10-")
        )
        again = sum(many - 1 for many in asked.values())
        row.note("each fetched once", f"{again} fetched again", held=again == 0)
        row.note("sweeps of the third sweeper", sweeps.count, held=sweeps.count > 0)
        note_leftovers(row, rig)


@contextmanager
def _second_beat(rig: Rig) -> Iterator[None]:
    log = rig.stack.home.logs / "beat-2.log"
    plan = replace(roles.plan_beat(rig.stack.home, rig.stack.environ), name="beat-2", log=log)
    child = Child(plan, lambda _: None, lambda: None)
    child.start()
    try:
        wait_until(lambda: log.stat().st_size > 0, "the second beat to start", 20)
        yield
    finally:
        child.begin_stop()
        child.finish_stop(lambda: False)


def _read_most_attempts(tenant: Tenant) -> int:
    with tenant.rig.database.transaction() as connection:
        most: int = connection.execute(
            select(func.max(tasks.c.attempt)).where(tasks.c.project_id == tenant.project.id)
        ).scalar_one()
    return most
