"""Servers that neither answer nor hang up: connections stay open and no byte moves.

Harder than a server that is dead, since nothing says so. What R9, R3 and R6 promise must hold all
the same. The roles reach PostgreSQL, Redis and the object store through proxies.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cli.local import LocalStack
from tests.chaos.conftest import Scale
from tests.chaos.outcome import list_ordered, note_bytes, note_ends, note_leftovers, wait_for_ends
from tests.chaos.rig import UNTIRING, Rig, open_rig
from tests.chaos.stirring import ordering
from tests.support.faults import FaultProxy
from tests.support.figures import Figures
from tests.support.media import make_media

ORDER_EVERY_S = 0.2
# PostgreSQL's connections have a time limit of 2 s; the rest is this machine's.
ANSWERED_WITHIN_S = 3.5
# In the middle of a transaction a server that hangs is told from a slow one after eleven seconds.
NOTICED_WITHIN_S = 14.0
_URLS = {
    "postgres": "HEADRACE_DATABASE_URL",
    "valkey": "HEADRACE_REDIS_URL",
    "seaweedfs": "HEADRACE_S3_ENDPOINT",
}
# What the stack would choose for itself, were the store not named.
_NAMED = (
    "HEADRACE_S3_BUCKET",
    "HEADRACE_S3_ACCESS_KEY_ID",
    "HEADRACE_S3_SECRET_ACCESS_KEY",
    "HEADRACE_FFPROBE_PATH",
)


@dataclass(frozen=True, slots=True)
class Far:
    """A stack whose servers are behind proxies; its ``rig`` sees them directly."""

    rig: Rig
    proxies: Mapping[str, FaultProxy]

    def list_restarted(self, before: Mapping[str, int]) -> list[str]:
        """Return which roles do not run as the same processes any more."""
        now = self.rig.stack.processes
        return [name for name, pid in before.items() if now.get(name) != pid]


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory, media_folder: Path) -> Iterator[Far]:
    home = tmp_path_factory.mktemp("far")
    with ExitStack() as held:
        servers = held.enter_context(LocalStack(home / "servers", with_roles=False))
        proxies, changed = {}, {name: servers.environ[name] for name in _NAMED}
        for name, variable in _URLS.items():
            port = urlsplit(servers.environ[variable]).port
            assert port is not None
            proxies[name] = held.enter_context(FaultProxy(port))
            changed[variable] = servers.environ[variable].replace(
                f":{port}", f":{proxies[name].port}"
            )
        rig = held.enter_context(
            open_rig(
                home / "roles",
                make_media("jpeg", media_folder).read_bytes(),
                make_media("mp4", media_folder).read_bytes(),
                changed=changed,
                seen={variable: servers.environ[variable] for variable in _URLS.values()},
            )
        )
        yield Far(rig, proxies)


@pytest.fixture(autouse=True)
def healed(far: Far) -> Iterator[None]:
    yield
    for proxy in far.proxies.values():
        proxy.heal()


def test_r9_a_postgresql_that_hangs_is_told_from_one_that_answers(
    far: Far, scale: Scale, figures: Figures
) -> None:
    tenant, frozen_s = far.rig.open_tenant(), scale.pick(5, 20)
    with figures.row("R9", f"PostgreSQL hangs for {frozen_s} s") as row:
        before = far.rig.stack.processes
        with ordering(tenant, ORDER_EVERY_S, lambda number: f"/slow/f9-{number}") as orders:
            time.sleep(1)
            far.proxies["postgres"].freeze()
            time.sleep(frozen_s)
            far.proxies["postgres"].heal()
            time.sleep(1)
        wait_for_ends(tenant, 60)
        ordered = list_ordered(tenant)
        missing = set(orders.task_ids) - ordered.keys()
        row.note("no accepted task missing", f"{len(missing)} missing", held=not missing)
        note_ends(row, tenant, list(ordered.values()))
        restarted = far.list_restarted(before)
        row.note("no role restarted", ", ".join(restarted) or "none", held=not restarted)
        row.note(
            f"201, or 503 with Retry-After, within {NOTICED_WITHIN_S:g} s",
            f"{orders.statuses}, {orders.without_retry_after} without Retry-After, "
            f"{orders.broken} unanswered, {orders.slowest_s:.1f} s at worst",
            held=set(orders.statuses) <= {201, 503}
            and not orders.without_retry_after
            and not orders.broken
            and orders.slowest_s <= NOTICED_WITHIN_S,
        )


def test_r3_a_redis_that_hangs_keeps_nobody_from_ordering(
    far: Far, scale: Scale, figures: Figures
) -> None:
    tenant, frozen_s = far.rig.open_tenant(), scale.pick(3, 20)
    with figures.row("R3", f"Redis hangs for {frozen_s} s") as row:
        before = far.rig.stack.processes
        with ordering(tenant, ORDER_EVERY_S, lambda number: f"/tiny/f3-{number}") as orders:
            far.proxies["valkey"].freeze()
            time.sleep(frozen_s)
            far.proxies["valkey"].heal()
            began = time.monotonic()
        wait_for_ends(tenant, 60)
        took_s = time.monotonic() - began
        note_ends(row, tenant, orders.paths)
        row.note("all done within 20 s of its return", f"{took_s:.1f} s", held=took_s <= 20)
        restarted = far.list_restarted(before)
        row.note("no role restarted", ", ".join(restarted) or "none", held=not restarted)
        row.note(
            f"POST /tasks answers 201 within {ANSWERED_WITHIN_S:g} s all the while",
            f"{orders.statuses}, {orders.broken} unanswered, {orders.slowest_s:.1f} s at worst",
            held=set(orders.statuses) == {201}
            and not orders.broken
            and orders.slowest_s <= ANSWERED_WITHIN_S,
        )


def test_r6_uploads_go_on_when_a_store_that_hung_moves_again(
    far: Far, scale: Scale, figures: Figures
) -> None:
    tenant, count = far.rig.open_tenant(), scale.pick(6, 30)
    frozen_s = scale.pick(3, 20)
    kinds = ("slow", "video")
    paths = [f"/{kinds[number % 2]}/f6-{number}" for number in range(count)]
    with figures.row("R6", f"the store hangs for {frozen_s} s during {count} ingests") as row:
        before = far.rig.stack.processes
        tenant.post_all({"url": far.rig.source.url(path), **UNTIRING} for path in paths)
        time.sleep(1)
        far.proxies["seaweedfs"].freeze()
        time.sleep(frozen_s)
        far.proxies["seaweedfs"].heal()
        wait_for_ends(tenant, 90)
        stored = note_ends(row, tenant, paths)
        note_bytes(row, far.rig, stored)
        note_leftovers(row, far.rig)
        restarted = far.list_restarted(before)
        row.note("no role restarted", ", ".join(restarted) or "none", held=not restarted)
