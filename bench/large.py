"""One large file at a time, by the transfer path alone, into the sink: throughput and CPU time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.bed import GIB, MIB, Bed, show_runs
from bench.processes import LineProcess
from bench.rclone import TUNINGS, RcloneDaemon, Tuning
from bench.rounds import Run, choose_fastest, interleave
from bench.store import Store
from bench.table import Bounds, Judged, Line

_TUNING_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class _Case:
    """One size, and what is to be reached with it."""

    title: str
    size_bytes: int
    rounds: int
    throughput: Bounds
    cpu: Bounds | None


_GIB = _Case(
    "1 GiB, transfer path",
    GIB,
    7,
    Bounds(Judged.RATIO_AT_LEAST, 1.3, 1.9),
    Bounds(Judged.RATIO_AT_MOST, 0.52, 0.40),
)
_MEDIUM = _Case(
    "100 MiB, transfer path", 100 * MIB, 15, Bounds(Judged.RATIO_AT_LEAST, 1.2, 1.6), None
)


def measure_gib(bed: Bed) -> list[Line]:
    """Measure 1 GiB."""
    return _measure(bed, _GIB)


def measure_medium(bed: Bed) -> list[Line]:
    """Measure 100 MiB."""
    return _measure(bed, _MEDIUM)


def _measure(bed: Bed, case: _Case) -> list[Line]:
    sha256 = bed.media.make_mp4(case.size_bytes).hash_sha256()
    with bed.open_source(case.size_bytes) as source:
        with bed.open_sink() as store, _open_peers(bed, source, store, sha256) as peers:
            tunings = [str(one) for one in TUNINGS]
            tuned = interleave(_repeat(case, store, peers, tunings, "tuning"), _TUNING_ROUNDS)
            for name, tries in tuned.items():
                bed.say(f"  rclone {name}: {show_runs(tries)}")
            # In parts as Headrace's, each with an MD5; one PUT is sent unchecked, up to 5 GiB.
            in_parts = choose_fastest({str(one): tuned[str(one)] for one in TUNINGS if one.chunk})
            rclone = list(dict.fromkeys([choose_fastest(tuned), in_parts]))
            names = ["headrace", *rclone, "plain"]
            timed = _repeat(case, store, peers, names, "timed")
            runs = interleave(timed, bed.pick_rounds(case.rounds))
        with (
            bed.open_sink(verify=True) as store,
            _open_peers(bed, source, store, sha256) as peers,
        ):
            for name in names:
                key = f"{name}.mp4"
                peers[name](key)
                bed.check_hashes(store, {key: sha256}, name)
    bed.notes.append(
        f"{case.title}: of all ways of rclone `{rclone[0]}` was the fastest, of those in parts "
        f"`{in_parts}`."
    )
    lines: list[Line] = []
    for name in rclone:
        lines.append(_compare_speed(case, runs, name, f"rclone {name}", case.throughput))
        lines.append(_compare_cpu(case, runs, name, f"rclone {name}", case.cpu))
    lines.append(_compare_speed(case, runs, "plain", "requests, boto3", None))
    lines.append(_compare_cpu(case, runs, "plain", "requests, boto3", None))
    return lines


@contextmanager
def _open_peers(
    bed: Bed, source: LineProcess, store: Store, sha256: str
) -> Iterator[Mapping[str, Callable[[str], Run]]]:
    """Run everybody; each is told a key and stores the file there."""
    (path,) = source.ready["videos"]
    url = source.url + path
    with (
        bed.open_python_peers(["headrace", "plain"], source.port, store) as python,
        RcloneDaemon(store, bed.log("rclone")) as daemon,
    ):

        def make_python(name: str) -> Callable[[str], Run]:
            return lambda key: python[name].transfer([url], {key: sha256})

        def make_rclone(tuning: Tuning) -> Callable[[str], Run]:
            return lambda key: daemon.transfer(url, key, tuning)

        yield {
            **{name: make_python(name) for name in python},
            **{str(tuning): make_rclone(tuning) for tuning in TUNINGS},
        }


def _repeat(
    case: _Case,
    store: Store,
    peers: Mapping[str, Callable[[str], Run]],
    names: Sequence[str],
    phase: str,
) -> Mapping[str, Callable[[int], Run]]:
    """Return peers that store under a new key each round, and are held to have done so.

    A key is never used twice: rclone skips what is there already, and would be infinitely fast.
    """

    def make(name: str) -> Callable[[int], Run]:
        def run(number: int) -> Run:
            key = f"{phase}/{name}/{number}.mp4"
            done = peers[name](key)
            store.check_sizes(key, {key: case.size_bytes})
            return done

        return run

    return {name: make(name) for name in names}


def _compare_speed(
    case: _Case, runs: Mapping[str, list[Run]], peer: str, shown: str, bounds: Bounds | None
) -> Line:
    ours, theirs = (
        [case.size_bytes / MIB / run.elapsed_s for run in runs[name]] for name in ("headrace", peer)
    )
    return Line(case.title, "MiB/s", ours, shown, theirs, bounds)


def _compare_cpu(
    case: _Case, runs: Mapping[str, list[Run]], peer: str, shown: str, bounds: Bounds | None
) -> Line:
    ours, theirs = (
        [run.cpu_s * GIB / case.size_bytes for run in runs[name]] for name in ("headrace", peer)
    )
    return Line(case.title, "CPU s/GiB", ours, shown, theirs, bounds)
