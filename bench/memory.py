"""Eight long ingests at once in one worker: how much more memory it takes than idle."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from bench.bed import GIB, MIB, Bed
from bench.table import Bounds, Judged, Line
from bench.wire import HOST
from cli.client import ApiClient, Task
from cli.local import LocalStack
from tests.support.meter import Peaks

_SLOTS = 8
_SIZE_BYTES = 2 * GIB
_ROUNDS = 1
_BOUNDS = Bounds(Judged.OURS_AT_MOST, 300, 160)


def measure_memory(bed: Bed) -> list[Line]:
    """Measure 8 ingests of 2 GiB through a whole service whose store is the sink."""
    with (
        bed.open_source(_SIZE_BYTES) as source,
        bed.open_sink() as store,
    ):
        sha256 = bed.media.make_mp4(_SIZE_BYTES).hash_sha256()
        url = source.url + source.ready["videos"][0]
        grown, idle = [], []
        for number in range(bed.pick_rounds(_ROUNDS)):
            # A worker that has done nothing yet: what it keeps from its first work counts.
            with (
                LocalStack(
                    bed.folder / f"memory-{number}",
                    extra_environ={**store.environ, "HEADRACE_WORKER_SLOTS": str(_SLOTS)},
                    allow_addresses=[f"{HOST}:{source.port}"],
                ) as stack,
                Peaks(stack.processes["worker"]) as memory,
            ):
                checksums = _ingest_all(stack, url)
            if checksums != {f"sha256:{sha256}"}:
                raise RuntimeError(f"an ingest of 2 GiB ended otherwise: {checksums}")
            grown.append(memory.grown_bytes / MIB)
            idle.append(memory.before_bytes / MIB)
    bed.notes.append(
        f"Memory: the resident sets of the worker and its children, summed every 20 ms; idle they "
        f"are {idle[0]:.0f} MiB."
    )
    title = "8 ingests of 2 GiB at once, one worker, peak above idle"
    return [Line(title, "MiB", grown, bounds=_BOUNDS)]


def _ingest_all(stack: LocalStack, url: str) -> set[str]:
    """Run as many ingests as there are slots; return their checksums, or how they failed."""

    def ingest(_: int) -> str:
        with ApiClient(stack.api_url, stack.api_key) as client:
            asked = client.create_task({"url": url})
            return _tell_end(client.wait_for_task(asked.id, lambda _: None))

    with ThreadPoolExecutor(_SLOTS) as pool:
        return set(pool.map(ingest, range(_SLOTS)))


def _tell_end(task: Task) -> str:
    return str(task.error) if task.file is None else str(task.file.checksum)
