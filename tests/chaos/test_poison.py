"""R7: a task that kills the process which runs it ends as failed, and takes nobody along."""

from __future__ import annotations

import os
import threading
from contextlib import nullcontext

from sqlalchemy import func, select

from storage.records.tables import attempts, tasks
from tests.chaos.conftest import Scale
from tests.chaos.outcome import note_ends, wait_for_ends
from tests.chaos.rig import Rig, Tenant
from tests.chaos.stirring import sweeping
from tests.support.api import read_object
from tests.support.faults import find_peer_pid, kill_group
from tests.support.figures import Figures


class Poison:
    """Kills whoever asks for it, if it is a worker of this stack.

    Attributes:
        kills: how many it has killed.
    """

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._lock = threading.Lock()
        self.kills = 0

    def strike(self, peer: tuple[str, int]) -> None:
        """Kill the process group at the other end of a connection to the source."""
        processes = self._rig.stack.processes
        workers = {pid for name, pid in processes.items() if name in self._rig.name_workers()}
        found = find_peer_pid(peer, self._rig.source.port, workers)
        if found is not None and (leader := os.getpgid(found)) in workers:
            with self._lock:
                self.kills += 1
            kill_group(leader)


def test_r7_a_poison_task_fails_after_its_attempts_and_its_neighbours_complete(
    rig: Rig, tenant: Tenant, scale: Scale, figures: Figures
) -> None:
    count, max_attempts = scale.pick(20, 100), scale.pick(2, 3)
    paths = [f"/tiny/r7-{number}" for number in range(count)]
    poison = Poison(rig)
    url = rig.source.serve("/poison", rig.picture, before=poison.strike)
    poisoner = rig.open_tenant()
    with figures.row(
        "R7", f"a task that kills its process, max_attempts {max_attempts}, among {count} others"
    ) as row:
        tenant.post_all({"url": rig.source.url(path)} for path in paths[: count // 2])
        task_id = poisoner.post({"url": url, "max_attempts": max_attempts})
        tenant.post_all({"url": rig.source.url(path)} for path in paths[count // 2 :])
        with nullcontext() if scale.full else sweeping(rig):
            wait_for_ends(poisoner, 90)
            wait_for_ends(tenant, 90)
        task = read_object(poisoner.api.get(f"/tasks/{task_id}"))
        row.note(
            f"failed after exactly {max_attempts} attempts",
            f"{task['status']} after {_count(task['attempts'])}, {poison.kills} workers killed, "
            f"error {_read_code(task['error'])}",
            held=task["status"] == "failed"
            and _count(task["attempts"]) == poison.kills == max_attempts
            and _read_code(task["error"]) == "attempts_exhausted",
        )
        note_ends(row, tenant, paths)
        row.note("(lost attempts of the others)", _count_lost(tenant), held=True)


def _count(value: object) -> int:
    assert isinstance(value, list)
    return len(value)


def _read_code(error: object) -> object:
    return error["code"] if isinstance(error, dict) else None


def _count_lost(tenant: Tenant) -> int:
    with tenant.rig.database.transaction() as connection:
        lost: int = connection.execute(
            select(func.count())
            .select_from(attempts)
            .join(tasks, tasks.c.id == attempts.c.task_id)
            .where(tasks.c.project_id == tenant.project.id, attempts.c.error.is_not(None))
        ).scalar_one()
    return lost
