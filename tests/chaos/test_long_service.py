"""R12: a worker that has served thousands takes no more than one that has served a hundred."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from ingest.config import MIB
from tests.chaos.conftest import Scale
from tests.chaos.outcome import count_states, note_leftovers, wait_for_ends
from tests.chaos.rig import PART_BYTES, Rig, open_rig
from tests.support.figures import Figures, Row
from tests.support.media import make_media
from tests.support.meter import count_descriptors, read_memory_bytes
from tests.support.origin import Cut, Drip, Reply
from tests.support.padding import pad_mp4

# What comes and goes: pages of the allocator, a connection or two, and the processes that probe. Of
# those a slot may have had one that is handed files and one that asks the store, with three
# descriptors each; the first hundred need not have had all at once.
_GROWTH_BYTES, _GROWTH_DESCRIPTORS = 24 * MIB, 24
_LONG_BYTES = 2 * PART_BYTES + MIB
# Of a hundred ingests, how many are what. The first hundred use all that a worker may use at once.
_FIRST_MIX = {
    "tiny": 40,
    "gone": 5,
    "short": 5,
    "parts": 20,
    "dropped": 10,
    "resumed": 5,
    "split": 15,
}
_MIX = {"tiny": 78, "gone": 5, "short": 5, "parts": 3, "dropped": 4, "resumed": 3, "split": 2}
_FAILING = {"gone", "short"}
_SETTINGS = {
    "HEADRACE_SOURCE_CONNECTIONS": "4",
    "HEADRACE_RETRY_BASE_S": "0.05",
    "HEADRACE_RETRY_CAP_S": "0.1",
}


@dataclass(frozen=True, slots=True)
class Taken:
    """What a worker takes while it has nothing to do."""

    own_bytes: int
    descriptors: int

    def __str__(self) -> str:
        """Say it for the table."""
        return f"{self.own_bytes // MIB} MiB, {self.descriptors} descriptors"


@pytest.fixture
def lone_rig(tmp_path: Path, media_folder: Path) -> Iterator[Rig]:
    """One worker of this row's own, with every kind of source."""
    picture = make_media("jpeg", media_folder).read_bytes()
    video = make_media("mp4", media_folder).read_bytes()
    with open_rig(tmp_path, picture, video, workers=1, changed=_SETTINGS) as rig:
        for kind, replies in _make_replies(rig).items():
            if len(replies) == 1:
                rig.source.serve_family(f"/{kind}/", _always(replies[0]))
        yield rig


def test_r12_thousands_of_ingests_leave_memory_and_descriptors_where_they_were(
    lone_rig: Rig, scale: Scale, figures: Figures
) -> None:
    rig, count = lone_rig, scale.pick(100, 5000)
    with figures.row("R12", f"{count} mixed ingests in a worker that has done 100") as row:
        pid = rig.stack.processes["worker"]
        _serve(row, rig, _FIRST_MIX, 100, scale)
        before = _look(pid)
        _serve(row, rig, _MIX, count, scale)
        after = _look(pid)
        row.note("the same worker", pid, held=rig.stack.processes["worker"] == pid)
        again = sum("if-range" in request.headers for request in rig.source.requests)
        row.note("rests and parts asked for under If-Range", again, held=again > 0)
        row.note(
            f"at most {_GROWTH_BYTES // MIB} MiB more resident",
            f"{before}; then {after}",
            held=after.own_bytes - before.own_bytes <= _GROWTH_BYTES,
        )
        row.note(
            f"at most {_GROWTH_DESCRIPTORS} descriptors more",
            after.descriptors - before.descriptors,
            held=after.descriptors - before.descriptors <= _GROWTH_DESCRIPTORS,
        )
        note_leftovers(row, rig)


def _make_replies(rig: Rig) -> dict[str, list[Reply]]:
    """Return what sources of each kind answer, in turn; ``tiny`` is the rig's own."""
    long = pad_mp4(rig.video, _LONG_BYTES)
    steady = Reply(body=long, ranges=True, etag='"long"')
    dropped = Reply(body=long, ranges=True, etag='"long"', cut=Cut(PART_BYTES + MIB))
    slow = pad_mp4(rig.video, 5 * PART_BYTES)
    drip = Drip(256 * 1024, 0.01)
    return {
        "gone": [Reply(status=404)],
        "short": [Reply(body=rig.picture, cut=Cut(len(rig.picture) // 2))],
        "parts": [Reply(body=long)],
        "dropped": [dropped],
        # The first attempt ends within the second part, and the second goes on from there.
        "resumed": [dropped, Reply(status=503), steady],
        "split": [Reply(body=slow, ranges=True, etag='"slow"', drip=drip)],
    }


def _always(reply: Reply) -> Callable[[str], Reply]:
    return lambda _: reply


def _serve(row: Row, rig: Rig, mix: Mapping[str, int], count: int, scale: Scale) -> None:
    """Run ingests of all kinds to their ends, in an order of the seed's."""
    tenant = rig.open_tenant()
    kinds = [kind for kind, share in mix.items() for _ in range(count * share // 100)]
    random.Random(scale.seed).shuffle(kinds)
    resumed = _make_replies(rig)["resumed"]
    paths = [f"/{kind}/{tenant.project.name}-{number}" for number, kind in enumerate(kinds)]
    for path in paths:
        if path.startswith("/resumed/"):
            rig.source.route(path, *resumed)
    tenant.add_all((rig.source.url(path) for path in paths), max_attempts=2)
    wait_for_ends(tenant, scale.pick(90, 900))
    failing = sum(kind in _FAILING for kind in kinds)
    expected = Counter(complete=len(kinds) - failing, failed=failing)
    states = count_states(tenant)
    row.note(f"{len(kinds)} tasks end as they must", dict(states), held=states == expected)


def _look(pid: int) -> Taken:
    return Taken(read_memory_bytes(pid, children=False), count_descriptors(pid))
