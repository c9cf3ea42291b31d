"""What goes on beside a row: something that dies every few seconds, somebody who keeps ordering."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil
import requests

from cli.local import LocalStack
from ingest.errors import ServiceError
from tests.chaos.rig import Rig, Tenant
from tests.support.api import JsonDict

_SWEEP_EVERY_S = 0.2
# What dies at a steady beat starts again at one, and would be met at the same byte each time.
_SPREAD = 0.25


@dataclass(slots=True)
class Kills:
    """How often a loop has killed, and what stopped it if it was not the row."""

    count: int = 0
    error: BaseException | None = None


@contextmanager
def killing(
    stack: LocalStack, names: Sequence[str], every_s: float, seed: int, limit: int | None = None
) -> Iterator[Kills]:
    """Kill -9 the group of one of these children every few seconds, while the block runs.

    Supervision starts it again. What is dead already is not killed again.

    Args:
        every_s: on average, a quarter more or less.
        seed: chooses who dies, and when.
        limit: the most kills; None for as long as the block runs.
    """
    kills = Kills()
    over = threading.Event()
    choose = random.Random(seed)

    def run() -> None:
        try:
            while (limit is None or kills.count < limit) and not over.wait(
                every_s * choose.uniform(1 - _SPREAD, 1 + _SPREAD)
            ):
                name = choose.choice(names)
                if name in stack.processes:
                    stack.kill(name)
                    kills.count += 1
        except Exception as error:  # noqa: BLE001 - told to the row in the end
            kills.error = error

    thread = threading.Thread(target=run, name="killing")
    thread.start()
    try:
        yield kills
    finally:
        over.set()
        thread.join()
    if kills.error is not None:
        raise kills.error


def kill_tree(stack: LocalStack, name: str) -> None:
    """Kill -9 a child and all its descendants, those included that lead groups of their own."""
    family = psutil.Process(stack.processes[name]).children(recursive=True)
    stack.kill(name)
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()


@dataclass(slots=True)
class Sweeps:
    """How often somebody has swept, and how often a server was away."""

    count: int = 0
    put_off: int = 0


@contextmanager
def sweeping(rig: Rig) -> Iterator[Sweeps]:
    """Sweep many times a second while the block runs, besides the beat.

    Leases that ran out are noticed at once, which takes seconds off a short row.
    """
    sweeps = Sweeps()
    over = threading.Event()

    def run() -> None:
        sweeper = rig.make_sweeper()
        while not over.wait(_SWEEP_EVERY_S):
            try:
                sweeper.sweep()
                sweeper.sweep_store()
                sweeps.count += 1
            except ServiceError:
                sweeps.put_off += 1

    thread = threading.Thread(target=run, name="sweeping")
    thread.start()
    try:
        yield sweeps
    finally:
        over.set()
        thread.join()


@dataclass(slots=True)
class Orders:
    """What a client that keeps ordering was answered."""

    accepted: list[tuple[float, str, str]] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    without_retry_after: int = 0
    slowest_s: float = 0.0
    broken: int = 0

    @property
    def task_ids(self) -> list[str]:
        """The tasks that were accepted."""
        return [task_id for _, task_id, _ in self.accepted]

    @property
    def paths(self) -> list[str]:
        """The sources of those."""
        return [path for _, _, path in self.accepted]


@contextmanager
def ordering(
    tenant: Tenant, every_s: float, make_path: Callable[[int], str], **more: object
) -> Iterator[Orders]:
    """Keep posting tasks, one every few seconds, while the block runs.

    Args:
        make_path: returns the path of the n-th source.
        more: further fields of each order.
    """
    orders = Orders()
    over = threading.Event()

    def run() -> None:
        number = 0
        while not over.wait(every_s):
            number += 1
            path = make_path(number)
            order = {"kind": "ingest", "url": tenant.rig.source.url(path), **more}
            _post(tenant, orders, path, order)

    thread = threading.Thread(target=run, name="ordering")
    thread.start()
    try:
        yield orders
    finally:
        over.set()
        thread.join()


def _post(tenant: Tenant, orders: Orders, path: str, order: JsonDict) -> None:
    began = time.monotonic()
    try:
        answer = tenant.api.post("/tasks", order)
    except requests.RequestException:
        orders.broken += 1
        return
    orders.slowest_s = max(orders.slowest_s, time.monotonic() - began)
    orders.statuses[answer.status_code] = orders.statuses.get(answer.status_code, 0) + 1
    if answer.status_code == 201:
        orders.accepted.append((began, answer.json()["data"]["id"], path))
    elif "Retry-After" not in answer.headers:
        orders.without_retry_after += 1
