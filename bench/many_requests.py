"""The API under many connections, beside the API one writes first, on the same servers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from sqlalchemy import text

from bench.api_client import NOWHERE, Client
from bench.bed import Bed
from bench.requests_load import measure_rate, write_request
from bench.rounds import interleave
from bench.table import Bounds, Judged, Line
from bench.textbook_server import TextbookApi
from bench.wire import HOST
from cli.local import LocalStack
from ingest.environ import load_settings
from storage.records.database import Database
from tests.support.meter import read_cpu_s

# Many short rounds: what a shared machine gives changes by the half minute.
_CONNECTIONS, _LOAD_S, _LOADS = 64, 4.0, 12
_ORDER = json.dumps({"kind": "ingest", "url": f"{NOWHERE}/a.mp4"}).encode()
# What a round has ordered would be worked on beside the next one.
_DROP = text("UPDATE tasks SET status = 'cancelled', finished = now() WHERE status = 'pending'")
_TEXTBOOK = "textbook Flask and SQLAlchemy"


@dataclass(frozen=True, slots=True)
class _Load:
    """What came of one round: answers a second, and the CPU time of each over all processes."""

    rate: float
    cpu_ms: float


@dataclass(frozen=True, slots=True)
class _Target:
    """An API, a key of it and a task that it has."""

    port: int
    key: str
    task_id: str

    def write_look(self) -> bytes:
        """Return the request that reads the task."""
        return write_request("GET", f"/tasks/{self.task_id}", self.key)

    def write_order(self) -> bytes:
        """Return the request that makes another."""
        return write_request("POST", "/tasks", self.key, _ORDER)


def measure_requests(bed: Bed) -> list[Line]:
    """Measure how fast tasks are shown and made over 64 connections."""
    # On a stack of its own: PostgreSQL cleans up behind a million rows for minutes.
    with (
        LocalStack(bed.folder / "requests") as stack,
        TextbookApi(stack.environ, bed.log("textbook-api")) as textbook,
        closing(Database(load_settings(stack.environ).sqlalchemy_url)) as database,
    ):
        task_id = Client(stack).post("/tasks", _ORDER)["id"]
        port = int(stack.api_url.rpartition(":")[2])
        ours = _Target(port, stack.api_key, task_id)
        theirs = _Target(textbook.port, textbook.key, textbook.task_id)
        pids = [*stack.processes.values(), textbook.pid]

        def compare(write: Callable[[_Target], bytes]) -> dict[str, list[_Load]]:
            def load(target: _Target, number: int) -> _Load:
                with database.transaction() as connection:
                    connection.execute(_DROP)
                return _load(target.port, write(target), pids, _LOAD_S if number else 1)

            peers = {"ours": partial(load, ours), "theirs": partial(load, theirs)}
            return interleave(peers, bed.pick_rounds(_LOADS))

        looks, orders = compare(_Target.write_look), compare(_Target.write_order)
    return [
        *_tell("GET /tasks/{id}", looks, Bounds(Judged.OURS_AT_LEAST, 1000, 3000)),
        *_tell("POST /tasks", orders, Bounds(Judged.OURS_AT_LEAST, 500, 1500)),
    ]


def _load(port: int, request: bytes, pids: Sequence[int], seconds: float) -> _Load:
    cpu_s, began = _read_all_cpu_s(pids), time.perf_counter()
    rate = measure_rate(HOST, port, request, _CONNECTIONS, seconds)
    count = rate * (time.perf_counter() - began)
    return _Load(rate, 1000 * (_read_all_cpu_s(pids) - cpu_s) / count)


def _read_all_cpu_s(pids: Sequence[int]) -> float:
    """Return the CPU time that this process and those have taken."""
    return time.process_time() + sum(map(read_cpu_s, pids))


def _tell(title: str, found: Mapping[str, Sequence[_Load]], bounds: Bounds) -> list[Line]:
    ours, theirs = found["ours"], found["theirs"]
    return [
        Line(f"{title}, {_CONNECTIONS} connections", "requests/s",
             [one.rate for one in ours], _TEXTBOOK, [one.rate for one in theirs], bounds),
        Line(f"{title}, client and all servers", "CPU ms",
             [one.cpu_ms for one in ours], _TEXTBOOK, [one.cpu_ms for one in theirs]),
    ]  # fmt: skip
