"""``python -m bench``: measure, and print a table. Nothing here passes or fails."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.batches import measure_batches
from bench.bed import Bed
from bench.ceiling import measure_ceiling
from bench.large import measure_gib, measure_medium
from bench.latency import measure_latency
from bench.machine import describe_machine, describe_versions, tell_speed
from bench.many_requests import measure_requests
from bench.media import Media
from bench.memory import measure_memory
from bench.service import measure_service
from bench.shaped import measure_shaped
from bench.small import measure_small
from bench.table import Line, draw_table

ROWS: Mapping[str, Callable[[Bed], list[Line]]] = {
    "gib": measure_gib,
    "medium": measure_medium,
    "small": measure_small,
    "shaped": measure_shaped,
    "service": measure_service,
    "latency": measure_latency,
    "memory": measure_memory,
    "batches": measure_batches,
    "requests": measure_requests,
}


def main() -> None:
    """Measure what the arguments name, all rows by default."""
    if sys.platform != "linux":
        sys.exit("The benchmark measures with means that only Linux has.")
    # Ended from outside, it takes its servers along.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", metavar="NAME[,NAME]", help=f"some of: {', '.join(ROWS)}")
    parser.add_argument("--rounds", type=int, help="how often each peer is measured")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round there, too")
    given = parser.parse_args()
    names = given.only.split(",") if given.only else list(ROWS)
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    about = [*describe_machine(), tell_speed("when it began"), *describe_versions()]
    _say("\n".join(about))
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        media = Media(Path(folder))
        media.prepare()
        bed = Bed(Path(folder), media, given.rounds, _say)
        bed.notes.append(measure_ceiling(bed))
        lines = _measure(bed, names)
    _say("\n".join(["", *draw_table(lines), "", *(f"- {note}" for note in bed.notes)]))
    if given.json is not None:
        given.json.write_text(json.dumps(_record(about, bed.notes, lines), indent=2) + "\n")


def _measure(bed: Bed, names: Sequence[str]) -> list[Line]:
    lines: list[Line] = []
    for name in names:
        _say(f"{name} …")
        began = time.monotonic()
        found = ROWS[name](bed)
        lines += found
        # A later row that breaks does not take these along.
        _say("\n".join(draw_table(found)))
        _say(f"  took {time.monotonic() - began:.0f} s; {tell_speed('then')}")
    return lines


def _record(about: Sequence[str], notes: Sequence[str], lines: Sequence[Line]) -> dict[str, object]:
    return {
        "about": about,
        "notes": notes,
        "lines": [
            {
                "work": line.work,
                "unit": line.unit,
                "ours": line.ours,
                "peer": line.peer_name,
                "peers": line.peer,
                "ratio": line.ratio,
                "floor": None if line.bounds is None else line.bounds.floor,
                "goal": None if line.bounds is None else line.bounds.goal,
                "reached": line.reached,
            }
            for line in lines
        ],
    }


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
