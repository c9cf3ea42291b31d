"""R6: the object store is killed while uploads run, and nobody ever sees half a file."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from botocore.exceptions import BotoCoreError, ClientError

from ingest.errors import StorageUnavailable
from tests.chaos.conftest import Scale
from tests.chaos.outcome import hash_object, note_bytes, note_ends, note_leftovers, wait_for_ends
from tests.chaos.rig import UNTIRING, VIDEO_BYTES, Rig, Tenant
from tests.chaos.stirring import killing
from tests.support.figures import Figures

KILL_EVERY_S = 5.0
LOOK_EVERY_S = 0.1


@dataclass(slots=True)
class Sight:
    """What somebody who keeps looking under the final names has seen."""

    looks: int = 0
    whole: set[str] = field(default_factory=set)
    partial: set[str] = field(default_factory=set)


def test_r6_no_partial_object_is_ever_seen_while_the_store_dies(
    rig: Rig, tenant: Tenant, scale: Scale, figures: Figures
) -> None:
    kills_wanted = scale.pick(1, 10)
    names = [f"r6-{number}" for number in range(scale.pick(2, 100))]
    paths = [f"/video/{name}" for name in names]
    keys = {f"{tenant.project.key_prefix}/r6/{name}.mp4": f"/video/{name}" for name in names}
    with figures.row("R6", f"kill -9 the object store {kills_wanted} times mid-upload") as row:
        with _looking(rig, list(keys)) as sight:
            tenant.post_all(
                {
                    "url": rig.source.url(path),
                    "folder": "r6",
                    "filename": f"{name}.mp4",
                    **UNTIRING,
                }
                for name, path in zip(names, paths, strict=True)
            )
            every_s = KILL_EVERY_S if scale.full else 1.5
            with killing(
                rig.stack, ["seaweedfs"], every_s, scale.seed, limit=kills_wanted
            ) as kills:
                wait_for_ends(tenant, scale.pick(60, 400))
        row.note(f"{kills_wanted} kills", kills.count, held=kills.count == kills_wanted)
        row.note(
            "no partial object seen under a final name",
            f"{len(sight.partial)} partial, {len(sight.whole)} whole in {sight.looks} looks",
            held=not sight.partial and len(sight.whole) == len(keys),
        )
        stored = note_ends(row, tenant, paths)
        note_bytes(row, rig, stored)
        note_leftovers(row, rig)


@contextmanager
def _looking(rig: Rig, keys: Sequence[str]) -> Iterator[Sight]:
    """Keep asking the store for every key while the block runs; what is there must be whole."""
    sight = Sight()
    over = threading.Event()

    def look(key: str) -> None:
        try:
            found = rig.store.describe(key)
            if found is None or key in sight.whole:
                return
            name = key.rpartition("/")[2].removesuffix(".mp4")
            whole = found.size_bytes == VIDEO_BYTES and (
                hash_object(rig, key) == rig.hash_source(f"/video/{name}")
            )
        except (StorageUnavailable, BotoCoreError, ClientError):
            # Nobody sees anything while it is dead.
            return
        (sight.whole if whole else sight.partial).add(key)

    def run() -> None:
        while True:
            last = over.is_set()
            for key in keys:
                look(key)
                sight.looks += 1
            if last:
                return
            over.wait(LOOK_EVERY_S)

    thread = threading.Thread(target=run, name="looking")
    thread.start()
    try:
        yield sight
    finally:
        over.set()
        thread.join()
