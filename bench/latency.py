"""One short video through an idle service, again and again: how long somebody waits for it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import requests
from sqlalchemy import select

from bench.bed import MIB, Bed
from bench.rounds import find_percentile
from bench.table import Bounds, Judged, Line
from bench.wire import HOST
from cli.local import LocalStack
from ingest.environ import load_settings
from storage.records.database import Database
from storage.records.tables import tasks

_ROUNDS = 200
_WARM_UP = 10
_POLL_S = 0.005
_PAUSE_S = 0.05
_PATIENCE_S = 30.0
_P50 = Bounds(Judged.OURS_AT_MOST, 120, 60)
_P99 = Bounds(Judged.OURS_AT_MOST, 250, 120)


def measure_latency(bed: Bed) -> list[Line]:
    """Measure 1 MiB from POST /tasks to complete."""
    with (
        bed.open_source(MIB) as source,
        LocalStack(bed.folder / "latency", allow_addresses=[f"{HOST}:{source.port}"]) as stack,
        requests.Session() as session,
    ):
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {stack.api_key}"
        user = _User(session, f"{stack.api_url}/tasks")
        url = source.url + source.ready["videos"][0]
        waits = [user.wait_for(url) for _ in range(_WARM_UP + bed.pick_rounds(_ROUNDS))][_WARM_UP:]
        database = Database(load_settings(stack.environ).sqlalchemy_url)
        with database.transaction() as connection:
            rows = connection.execute(
                select(tasks.c.created, tasks.c.finished).where(
                    tasks.c.id.in_([one.task_id for one in waits])
                )
            ).all()
        database.close()
        sha256 = bed.media.make_mp4(MIB).hash_sha256()
        if {one.checksum for one in waits} != {f"sha256:{sha256}"}:
            raise RuntimeError("a File has another sha256 than its source")
    seen_ms = [one.elapsed_s * 1000 for one in waits]
    stored_ms = [(finished - created).total_seconds() * 1000 for created, finished in rows]
    title = "1 MiB mp4, POST /tasks to complete, idle service"
    bed.notes.append(
        f"Latency: of {len(seen_ms)} tasks, as a client sees it that asks every 5 ms, the POST "
        "included; beside it what the database says (`finished - created`)."
    )
    return [
        Line(f"{title}, p50", "ms", [find_percentile(seen_ms, 50)], bounds=_P50),
        Line(f"{title}, p99", "ms", [find_percentile(seen_ms, 99)], bounds=_P99),
        Line(f"{title}, p50 by the database", "ms", [find_percentile(stored_ms, 50)]),
        Line(f"{title}, p99 by the database", "ms", [find_percentile(stored_ms, 99)]),
    ]


@dataclass(frozen=True, slots=True)
class _Wait:
    """One task as its client saw it."""

    task_id: str
    elapsed_s: float
    checksum: str


@dataclass(frozen=True, slots=True)
class _User:
    """Somebody who orders one file and asks until it is there."""

    session: requests.Session
    url: str

    def wait_for(self, source_url: str) -> _Wait:
        """Order a file and return once it is there.

        Raises:
            RuntimeError: it failed, or did not come.
        """
        time.sleep(_PAUSE_S)
        began = time.perf_counter()
        body = {"kind": "ingest", "url": source_url}
        task = self.session.post(self.url, json=body, timeout=_PATIENCE_S).json()["data"]
        while task["status"] in {"pending", "processing"}:
            if time.perf_counter() - began > _PATIENCE_S:
                break
            time.sleep(_POLL_S)
            task = self.session.get(f"{self.url}/{task['id']}", timeout=_PATIENCE_S).json()["data"]
        elapsed_s = time.perf_counter() - began
        if task["status"] != "complete":
            raise RuntimeError(f"a task is {task['status']}: {task.get('error')}")
        return _Wait(task["id"], elapsed_s, task["output"]["checksum"])
