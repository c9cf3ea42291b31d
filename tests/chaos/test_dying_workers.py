"""R1 and R2: workers that are killed every other second, and tasks that know nothing of it."""

from __future__ import annotations

import hashlib
import re

from ingest.config import MIB
from tests.chaos.conftest import Scale
from tests.chaos.outcome import (
    list_objects,
    note_bytes,
    note_ends,
    note_leftovers,
    wait_for_ends,
)
from tests.chaos.rig import PART_BYTES, SLOTS, UNTIRING, Rig, Tenant
from tests.chaos.stirring import killing
from tests.support.figures import Figures

KILL_EVERY_S = 2.0
_FROM = re.compile(r"bytes=(\d+)-")


def test_r1_large_files_are_complete_whatever_kills_their_workers(
    rig: Rig, tenant: Tenant, scale: Scale, figures: Figures
) -> None:
    paths = [f"/brisk/r1-{number}" for number in range(scale.pick(3, 500))]
    with figures.row("R1", "kill -9 a worker") as row:
        limit = None if scale.full else 1
        with killing(rig.stack, rig.name_workers(), KILL_EVERY_S, scale.seed, limit=limit) as kills:
            tenant.post_all({"url": rig.source.url(path), **UNTIRING} for path in paths)
            wait_for_ends(tenant, scale.pick(40, 900))
        row.done = (
            f"kill -9 a worker's group every {KILL_EVERY_S:g} s, {kills.count} times, "
            f"during {len(paths)} ingests of 20 MiB"
        )
        stored = note_ends(row, tenant, paths)
        note_bytes(row, rig, stored)
        note_leftovers(row, rig)
        again = sum(_count_again(rig, path) for path in paths)
        allowed = kills.count * SLOTS * PART_BYTES
        row.note(
            "at most one part a slot fetched again per kill",
            f"{again / MIB:.0f} MiB again of {allowed / MIB:.0f} MiB allowed",
            held=again <= allowed,
        )


def test_r2_none_of_many_small_files_is_lost_or_doubled(
    rig: Rig, tenant: Tenant, scale: Scale, figures: Figures
) -> None:
    paths = [f"/tiny/r2-{number}" for number in range(scale.pick(1000, 20_000))]
    least = scale.pick(2, 30)
    with figures.row("R2", "kill -9 a worker") as row:
        limit = None if scale.full else least
        with killing(rig.stack, rig.name_workers(), KILL_EVERY_S, scale.seed, limit=limit) as kills:
            for at in range(0, len(paths), 1000):
                tenant.add_all(rig.source.url(path) for path in paths[at : at + 1000])
            wait_for_ends(tenant, scale.pick(40, 1000))
        row.done = (
            f"kill -9 a worker's group every {KILL_EVERY_S:g} s, {kills.count} times, "
            f"during {len(paths)} ingests of tiny files"
        )
        row.note(f"{least} kills or more", kills.count, held=kills.count >= least)
        stored = note_ends(row, tenant, paths)
        # The ETag of what was put in one piece is its MD5: every object is checked, none read.
        objects = list_objects(tenant)
        wrong = sum(
            objects[one.key][1] != _hash_md5(rig.make_tiny(one.path.rpartition("/")[2]))
            for one in stored
            if one.key in objects
        )
        row.note("every object has the right MD5", f"{wrong} wrong", held=wrong == 0)
        note_leftovers(row, rig)


def _count_again(rig: Rig, path: str) -> int:
    """Return how many bytes of a path were asked for although they had been sent before."""
    again = reached = 0
    for one in rig.source.list_served(path):
        asked = _FROM.fullmatch(one.range or "")
        first = int(asked[1]) if asked is not None else 0
        again += max(0, min(reached, first + one.sent_bytes) - first)
        reached = max(reached, first + one.sent_bytes)
    return again


def _hash_md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
