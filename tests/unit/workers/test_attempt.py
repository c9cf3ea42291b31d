"""An attempt as it begins: where it fetches from."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from storage.objects.memory import MemoryObjectStore
from tests.unit.workers.test_leases import Clock
from tests.unit.workers.test_placement import DATABASE, make_lease
from workers.attempt import Tools, begin_attempt
from workers.leases import HeldLease


@pytest.mark.parametrize(
    ("asked", "fetched"),
    [
        ("https://www.dropbox.com/s/a/b.mp4?dl=0", "https://www.dropbox.com/s/a/b.mp4?dl=1"),
        ("https://media.example/s/a/b.mp4?dl=0", "https://media.example/s/a/b.mp4?dl=0"),
    ],
)
def test_a_share_link_is_fetched_from_the_file_behind_it_and_stays_in_the_order(
    asked: str, fetched: str
) -> None:
    lease = make_lease(1)
    task = replace(lease.task, order=replace(lease.task.order, url=asked))
    held = HeldLease(replace(lease, task=task), Clock(), good_until=130.0)
    settings = SimpleNamespace(part_bytes_for=lambda _: 8)
    found = SimpleNamespace(settings=settings, database=DATABASE, store=MemoryObjectStore())
    tools = cast("Tools", found)

    attempt = begin_attempt(tools, held)

    assert str(attempt.url) == fetched
    assert attempt.lease.task.order.url == asked
