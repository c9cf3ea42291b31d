"""Lists of many URLs, and a page deep in a million tasks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import text

from bench.api_client import NOWHERE, Client
from bench.bed import Bed
from bench.table import Bounds, Judged, Line
from bench.wire import HOST
from cli.local import LocalStack
from ingest.environ import load_settings
from storage.records.database import Database

_LISTED = 100_000
_PICTURES = 10_000
_PICTURE_BYTES = 20 * 1024
_DEEP_TASKS, _DEEP_PAGE, _LIMIT = 1_000_000, 1000, 20
_LOOKS = 15
_ROUNDS = 3
_MAKE_MANY = text("""
    INSERT INTO tasks (id, project_id, kind, url, file_id, media_id, source_host, max_attempts,
        request_id, status, finished)
    SELECT 'task_' || lpad(to_hex(number), 26, '0'), :project_id, 'ingest', 'https://a.invalid/x',
        'file_' || lpad(to_hex(number), 26, '0'), 'med_x', 'a.invalid', 1, 'req_x', 'cancelled',
        now()
    FROM generate_series(CAST(:first AS bigint), :last) AS number
""")
_MADE_AT_ONCE = 50_000


def measure_batches(bed: Bed) -> list[Line]:
    """Measure lists of 100,000 URLs, one of 10,000 pictures, and a page deep in a million tasks."""
    with (
        bed.open_source(jpeg_bytes=_PICTURE_BYTES) as source,
        LocalStack(bed.folder / "batches", allow_addresses=[f"{HOST}:{source.port}"]) as stack,
    ):
        client = Client(stack)
        rounds = bed.pick_rounds(_ROUNDS)
        lines = _measure_pictures(bed, client, source.url)
        lines += _measure_list(client, rounds)
        lines += _measure_depth(bed, client)
    return lines


def _measure_pictures(bed: Bed, client: Client, source_url: str) -> list[Line]:
    urls = [f"{source_url}/jpeg/{number}.jpg" for number in range(_PICTURES)]
    warm = client.post("/batches", "\n".join(urls[:200]).encode(), "text/plain")
    client.end_batch(warm["id"])
    made = client.post("/batches", "\n".join(urls).encode(), "text/plain")
    batch = client.end_batch(made["id"])
    if batch["counts"]["complete"] != _PICTURES:
        raise RuntimeError(f"not all pictures are complete: {batch['counts']}")
    bed.say(f"  10,000 pictures in one batch: {batch['rate']:.1f}/s")
    bounds = Bounds(Judged.OURS_AT_LEAST, 120, 250)
    return [Line("10,000 x 20 KiB jpeg, one batch", "files/s", [batch["rate"]], bounds=bounds)]


def _measure_list(client: Client, rounds: int) -> list[Line]:
    rows = (f"{NOWHERE}/{at:06}/video.mp4?t={at},ref-{at},archive/2026" for at in range(_LISTED))
    body = "\n".join(["url,ref,folder", *rows]).encode()
    times: list[float] = []
    grown: list[float] = []
    client.post("/batches?dry_run=true", b"url\nhttps://a.invalid/\n", "text/csv")
    for _ in range(rounds):
        with _watch_memory(client.list_processes(), grown):
            began = time.monotonic()
            made = client.post("/batches?concurrency=1", body, "text/csv")
            times.append(time.monotonic() - began)
        # Its tasks would run beside the next round.
        client.post(f"/batches/{made['id']}/cancel")
        client.end_batch(made["id"])
    title = "100,000 URLs as CSV, accepted and committed"
    return [
        Line(title, "s", times, bounds=Bounds(Judged.OURS_AT_MOST, 15, 5)),
        Line(title, "MiB more in a process of the API", grown,
             bounds=Bounds(Judged.OURS_AT_MOST, 100, 40)),
    ]  # fmt: skip


@contextmanager
def _watch_memory(processes: list[int], grown: list[float]) -> Iterator[None]:
    """Note by how many MiB the process that grew most did at its peak."""
    for process in processes:
        Path(f"/proc/{process}/clear_refs").write_text("5")
    before = {process: _read_peak(process) for process in processes}
    yield
    grown.append(max(_read_peak(process) - before[process] for process in processes))


def _read_peak(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def _measure_depth(bed: Bed, client: Client) -> list[Line]:
    database = Database(load_settings(client.stack.environ).sqlalchemy_url)
    project_id = client.get("/project")["id"]
    for first in range(0, _DEEP_TASKS, _MADE_AT_ONCE):
        given = {"project_id": project_id, "first": first, "last": first + _MADE_AT_ONCE - 1}
        with database.transaction() as connection:
            connection.execute(_MAKE_MANY, given)
    with database.look() as connection:
        connection.execute(text("ANALYZE tasks"))
    database.close()
    # Ids of what was made are numbers, so where a page begins can be reckoned.
    deep = f"task_{_DEEP_TASKS - (_DEEP_PAGE - 1) * _LIMIT:026x}"
    first_page, far_page = f"/tasks?limit={_LIMIT}", f"/tasks?limit={_LIMIT}&after={deep}"
    near: list[float] = []
    far: list[float] = []
    for _ in range(_LOOKS):
        for path, times in ((first_page, near), (far_page, far)):
            began = time.monotonic()
            client.get(path)
            times.append((time.monotonic() - began) * 1000)
    bed.say(f"  page 1: {statistics.median(near):.1f} ms, page 1,000: {statistics.median(far):.1f}")
    title = "GET /tasks, page 1,000 of 1,000,000 by cursor"
    bounds = Bounds(Judged.RATIO_AT_MOST, 2, 1.1)
    return [Line(title, "ms", far, "page 1", near, bounds)]
