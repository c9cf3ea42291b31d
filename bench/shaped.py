"""A source behind a long, thin line: what ranges win over one stream."""

from __future__ import annotations

from functools import partial

from bench.bed import MIB, Bed
from bench.processes import LineProcess
from bench.rclone import RcloneDaemon, Tuning
from bench.rounds import Run, interleave
from bench.table import Bounds, Judged, Line

_SIZE_BYTES = 256 * MIB
_RATE_BPS = 20 * MIB
_ROUND_TRIP_S = 0.04
_ROUNDS = 2
_RCLONE = Tuning("8Mi", 8, streams=8)
_BOUNDS = Bounds(Judged.RATIO_AT_LEAST, 3, 6)


def measure_shaped(bed: Bed) -> list[Line]:
    """Measure 256 MiB at 20 MiB/s a connection and 40 ms there and back."""
    sha256 = bed.media.make_mp4(_SIZE_BYTES).hash_sha256()
    with bed.open_source(_SIZE_BYTES) as source, _open_line(source.port) as line:
        url = line.url + source.ready["videos"][0]

        def run_all(*, verify: bool) -> dict[str, list[Run]]:
            with (
                bed.open_sink(verify=verify) as store,
                bed.open_python_peers(["headrace", "plain"], line.port, store) as python,
                RcloneDaemon(store, bed.log("rclone")) as daemon,
            ):

                def run(name: str, number: int) -> Run:
                    key = f"{name}/{number}.mp4"
                    if name == "rclone":
                        done = daemon.transfer(url, key, _RCLONE)
                    else:
                        done = python[name].transfer([url], {key: sha256})
                    store.check_sizes(key, {key: _SIZE_BYTES})
                    return done

                peers = {name: partial(run, name) for name in (*python, "rclone")}
                if not verify:
                    return interleave(peers, bed.pick_rounds(_ROUNDS), warm_up=False)
                for name, once in peers.items():
                    once(0)
                    bed.check_hashes(store, {f"{name}/0.mp4": sha256}, name)
                return {}

        runs = run_all(verify=False)
        run_all(verify=True)
    rates = {
        name: [_SIZE_BYTES / MIB / run.elapsed_s for run in all_] for name, all_ in runs.items()
    }
    title = "256 MiB, 20 MiB/s a connection, 40 ms"
    return [
        Line(title, "MiB/s", rates["headrace"], "one stream", rates["plain"], _BOUNDS),
        Line(title, "MiB/s", rates["headrace"], f"rclone {_RCLONE}", rates["rclone"]),
    ]


def _open_line(target_port: int) -> LineProcess:
    return LineProcess(
        "bench.shaper",
        [
            f"--target-port={target_port}",
            f"--rate={_RATE_BPS}",
            f"--round-trip={_ROUND_TRIP_S}",
        ],
    )
