"""Many small files, by the transfer path alone, into SeaweedFS: files a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.bed import JPEG_BYTES, Bed, show_runs
from bench.python_peer import PythonPeer
from bench.rclone import copy_many, measure_start, write_urls
from bench.rounds import Run, choose_fastest, interleave
from bench.store import Store, describe_stack
from bench.table import Bounds, Judged, Line
from cli.local import LocalStack

_FILES = 2000
_TUNING_FILES = 500
_TUNING_ROUNDS = 1
_ROUNDS = 7
_AT_ONCE = (4, 8, 16, 32)
_STARTS = 5
_BOUNDS = Bounds(Judged.RATIO_AT_LEAST, 1.1, 1.35)


def measure_small(bed: Bed) -> list[Line]:
    """Measure 2,000 pictures of 100 KiB."""
    with (
        bed.open_source() as source,
        LocalStack(bed.folder / "small", with_roles=False) as stack,
    ):
        store = describe_stack(stack.environ)
        with (
            bed.open_python_peers(["plain"], source.port, store) as plain,
            bed.open_slotted_peers("headrace", _AT_ONCE, source.port, store) as headrace,
        ):
            work = _Work(bed, store, source.url)
            start_s = min(measure_start(store).elapsed_s for _ in range(_STARTS))
            best = _tune(
                bed,
                "rclone --transfers",
                {str(count): work.make_rclone(count, start_s, _TUNING_FILES) for count in _AT_ONCE},
            )
            slots = _tune(
                bed,
                "headrace, HEADRACE_WORKER_SLOTS",
                {
                    count: work.make_python(peer, f"tuning-headrace-{count}", _TUNING_FILES)
                    for count, peer in headrace.items()
                },
            )
            runs = interleave(
                {
                    "headrace": work.make_python(headrace[slots], "headrace", _FILES),
                    "plain": work.make_python(plain["plain"], "plain", _FILES),
                    "rclone": work.make_rclone(int(best), start_s, _FILES),
                },
                bed.pick_rounds(_ROUNDS),
            )
        for name in runs:
            bed.check_hashes(store, work.expect(name, 1, _FILES), name)
    bed.notes.append(
        f"2,000 x 100 KiB: rclone ran with --transfers {best}, Headrace with {slots} slots, each "
        f"the fastest of {', '.join(map(str, _AT_ONCE))}; rclone's start, {start_s:.2f} s, is not "
        "counted."
    )
    rates = {name: [_FILES / run.elapsed_s for run in found] for name, found in runs.items()}
    cpu = {name: [run.cpu_s * 1000 / _FILES for run in found] for name, found in runs.items()}
    title = "2,000 x 100 KiB, transfer path"
    shown = f"rclone copyurl --urls --transfers {best}"
    return [
        Line(title, "files/s", rates["headrace"], shown, rates["rclone"], _BOUNDS),
        Line(title, "CPU ms a file", cpu["headrace"], shown, cpu["rclone"]),
        Line(title, "files/s", rates["headrace"], "requests, boto3", rates["plain"]),
    ]


def _tune(bed: Bed, what: str, tries: Mapping[str, Callable[[int], Run]]) -> str:
    """Return with how many at once somebody is fastest."""
    found = interleave(tries, _TUNING_ROUNDS)
    for count, runs in found.items():
        bed.say(f"  {what} {count}: {show_runs(runs)}")
    return choose_fastest(found)


class _Work:
    """The same files for everybody, under names of their own."""

    def __init__(self, bed: Bed, store: Store, source_url: str) -> None:
        self._bed = bed
        self._store = store
        self._urls = [f"{source_url}/jpeg/{number}.jpg" for number in range(_FILES)]
        self._hashes = [bed.media.hash_jpeg(JPEG_BYTES, number) for number in range(_FILES)]

    def expect(self, name: str, number: int, files: int) -> Mapping[str, str]:
        """Return the sha256 by key of what somebody stores in a round."""
        return {
            f"{name}/{number}/{at}.jpg": sha256 for at, sha256 in enumerate(self._hashes[:files])
        }

    def make_python(self, peer: PythonPeer, name: str, files: int) -> Callable[[int], Run]:
        """Return what lets a peer in Python store as many."""

        def run(number: int) -> Run:
            expected = self.expect(name, number, files)
            done = peer.transfer(self._urls[:files], expected)
            self._check_arrived(expected)
            return done

        return run

    def make_rclone(self, transfers: int, start_s: float, files: int) -> Callable[[int], Run]:
        """Return what lets rclone store as many, with so many at once."""

        def run(number: int) -> Run:
            name = "rclone" if files == _FILES else f"tuning-{transfers}"
            expected = self.expect(name, number, files)
            csv_file = self._bed.folder / "urls.csv"
            write_urls(csv_file, self._urls[:files], list(expected))
            done = copy_many(self._store, csv_file, transfers)
            self._check_arrived(expected)
            return Run(done.elapsed_s - start_s, done.cpu_s)

        return run

    def _check_arrived(self, expected: Mapping[str, str]) -> None:
        folder = next(iter(expected)).rpartition("/")[0]
        self._store.check_sizes(f"{folder}/", dict.fromkeys(expected, JPEG_BYTES))
