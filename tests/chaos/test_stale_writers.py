"""R5: a worker that is stopped past its lease comes back, and must not write any more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from ingest.config import MIB
from storage.records.tables import files, parts, tasks
from tests.chaos.conftest import Scale
from tests.chaos.outcome import note_leftovers
from tests.chaos.rig import PART_BYTES, Rig, Tenant, open_rig
from tests.support.faults import paused
from tests.support.figures import Figures
from tests.support.origin import Generated, Reply, Stall
from tests.support.padding import pad_mp4
from tests.support.waiting import wait_until

LEASE_S = 1.2
SWEEP_EVERY_S = 0.2
REFUSED_WITHIN_S = 15.0


@pytest.fixture
def hasty(request: pytest.FixtureRequest, scale: Scale, tmp_path: Path) -> Iterator[Rig]:
    """The shared stack; for a hundred rounds, one whose leases are over sooner."""
    shared: Rig = request.getfixturevalue("rig")
    if not scale.full:
        yield shared
        return
    with open_rig(
        tmp_path / "hasty",
        shared.picture,
        shared.video,
        changed={
            "HEADRACE_LEASE_S": f"{LEASE_S:g}",
            "HEADRACE_HEARTBEAT_S": "0.3",
            "HEADRACE_RESEND_AFTER_S": "1",
        },
    ) as opened:
        yield opened


def test_r5_a_worker_that_slept_past_its_lease_changes_nothing(
    hasty: Rig, scale: Scale, figures: Figures
) -> None:
    rounds = scale.pick(2, 100)
    tenant = hasty.open_tenant()
    with figures.row(
        "R5", f"SIGSTOP a worker past its lease, another finishes, SIGCONT; {rounds} rounds"
    ) as row:
        refused = changed = 0
        for number in range(rounds):
            # In turn: an object of one piece, and an upload of parts that another goes on with.
            was_refused, was_changed = _run_round(tenant, number, in_parts=number % 2 == 1)
            refused += was_refused
            changed += was_changed
        row.note(f"{rounds} stale writers refused", refused, held=refused == rounds)
        row.note("File and object unchanged", f"{changed} changed", held=changed == 0)
        note_leftovers(row, hasty)


def _run_round(tenant: Tenant, number: int, *, in_parts: bool) -> tuple[bool, bool]:
    """Return whether the stale writer was refused, and whether anything had changed after it."""
    rig = tenant.rig
    path, name = f"/round/{number}", f"{number}.bin"
    body = _make_body(rig, number, in_parts=in_parts)
    # It has all it needs but the end when it is stopped, and gets that as soon as it goes on.
    size = body.size_bytes if isinstance(body, Generated) else len(body)
    stall = Stall(size - 1)
    etag = f'"{number}"'
    rig.source.route(
        path,
        Reply(body=body, stall=stall, ranges=in_parts, etag=etag),
        Reply(body=body, ranges=in_parts, etag=etag),
    )
    task_id = tenant.post(
        {"url": rig.source.url(path), "folder": "r5", "filename": name, "max_attempts": 100}
    )
    assert stall.reached.wait(20), "the source was not asked"
    if in_parts:
        wait_until(lambda: _count_parts(rig, task_id) >= 1, "a part to be stored", 10)
    worker = str(_read(rig, task_id)["worker"])
    pid = int(worker.split("-")[-2])
    key = f"{tenant.project.key_prefix}/r5/{name}"
    with paused(pid):
        sweeper = rig.make_sweeper()
        wait_until(
            lambda: sweeper.sweep() >= 0 and _read(rig, task_id)["status"] == "complete",
            "another worker to finish",
            30,
            pause_s=SWEEP_EVERY_S,
        )
        before = _look(rig, task_id, key)
        stall.released.set()
    refused = _wait_refused(rig, task_id)
    return refused, _look(rig, task_id, key) != before


def _make_body(rig: Rig, number: int, *, in_parts: bool) -> bytes | Generated:
    if in_parts:
        return pad_mp4(rig.video, PART_BYTES + 2 * MIB, seed=number)
    return rig.make_tiny(f"r5-{number}")


def _wait_refused(rig: Rig, task_id: str) -> bool:
    """Return whether a worker said that it had lost the task's lease and let it go."""

    def look() -> bool:
        logs = [rig.stack.home.logs / f"{name}.log" for name in rig.name_workers()]
        lines = (line for log in logs for line in log.read_text().splitlines())
        return any(task_id in line and '"ingest.abandoned"' in line for line in lines)

    try:
        return wait_until(look, "the stale writer to be refused", REFUSED_WITHIN_S, pause_s=0.2)
    except TimeoutError:
        return False


def _look(rig: Rig, task_id: str, key: str) -> object:
    """Return everything there is to see of a task, its File and its object."""
    stored = rig.store._client.head_object(Bucket=rig.store._bucket, Key=key)
    with rig.database.transaction() as connection:
        file = connection.execute(select(files).where(files.c.task_id == task_id)).one()
    shown = (stored["ETag"], stored["LastModified"], stored["ContentLength"], stored["Metadata"])
    return shown, tuple(file), _read(rig, task_id)


def _read(rig: Rig, task_id: str) -> dict[str, object]:
    with rig.database.transaction() as connection:
        row = connection.execute(select(tasks).where(tasks.c.id == task_id)).one()
    return dict(row._mapping)


def _count_parts(rig: Rig, task_id: str) -> int:
    with rig.database.transaction() as connection:
        rows = connection.execute(select(parts.c.number).where(parts.c.task_id == task_id))
        return len(rows.all())
