"""ffprobe on what was fetched, in processes of its own under limits.

A fork server, started once, keeps ffmpeg-python imported. Hosts are forked from it, as many as
probes run at once, and each runs one ffprobe after another: a fresh process for each would cost ten
times what ffprobe does. A host is bounded in address space, CPU, file size and wall clock, has no
environment, is killed as a process group with whatever it runs when a probe went wrong, and is
replaced after some hundred probes. What a host leaves running that died itself ends by its own
limits, of CPU time and of waiting for an answer.

ffprobe is given one demuxer, the one of the sniffed format, and only the protocol its input needs,
so that nothing inside a file can make it open anything else.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

from ingest.errors import ConfigError, InternalError, ProbeFailed
from ingest.formats import SNIFF_BYTES, Format, Kind
from ingest.model import JsonObject, MediaInfo
from workers.mediainfo import read_media_info
from workers.probe_host import TIMED_OUT, HostLimits, serve_probes

_MIN_VERSION = (6, 1)
# What a host may take beyond ffprobe's own wall clock, to start and to answer.
_SLACK_S = 3.0
# Its memory and its CPU time begin anew after so many probes.
_MOST_PROBES = 500


@dataclass(frozen=True, slots=True)
class ProbeLimits:
    """Bounds of one probe; see the settings of the same names."""

    timeout_s: float
    memory_bytes: int
    max_pixels: int


class Prober:
    """Runs probes; safe to share between threads.

    Args:
        ffprobe_path: a path, or a name to find on PATH.
        limits: bounds of each probe.

    Raises:
        ConfigError: there is no ffprobe there, or it is older than 6.1.
    """

    def __init__(self, ffprobe_path: str, limits: ProbeLimits) -> None:
        self._ffprobe_path = _find_ffprobe(ffprobe_path)
        self._limits = limits
        # multiprocessing looks after all children whenever one is started, and a host that is
        # found dead may have lost its number to a stranger from then on.
        self._lock = threading.Lock()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["workers.probe_host"])
        self._idle: list[_Host] = []
        self._closed = False

    def probe_bytes(self, content: bytes | bytearray | memoryview, sniffed: Format) -> MediaInfo:
        """Probe a file that is in memory whole.

        Raises:
            ProbeFailed: ffprobe could not read it as what it looked like, or not within limits.
        """
        with _hold_in_memory(content) as fd:
            found = self._probe("fd:", fd, "fd", sniffed)
        return read_media_info(found, sniffed, bytes(content[:SNIFF_BYTES]))

    def probe_url(self, url: str, sniffed: Format, head: bytes) -> MediaInfo:
        """Probe a stored object through a presigned URL of our own store.

        Args:
            head: its first bytes.

        Raises:
            ProbeFailed: as for :meth:`probe_bytes`.
        """
        protocols = "https,tls,tcp" if url.startswith("https:") else "http,tcp"
        # An ffprobe whose host was killed has nobody to end it while it waits for an answer.
        waits = {"rw_timeout": int(self._limits.timeout_s * 1_000_000)}
        found = self._probe(url, None, protocols, sniffed, waits)
        return read_media_info(found, sniffed, head)

    def _probe(
        self,
        address: str,
        fd: int | None,
        protocols: str,
        sniffed: Format,
        more: Mapping[str, int] | None = None,
    ) -> JsonObject:
        options: dict[str, str | int | None] = {
            "v": "error",
            "f": sniffed.demuxer,
            "format_whitelist": sniffed.demuxer,
            "protocol_whitelist": protocols,
            "max_pixels": self._limits.max_pixels,
            "threads": 1,
            **(more or {}),
        }
        if sniffed.kind is Kind.IMAGE:
            # How many frames an image has is told by its packets alone.
            options["count_packets"] = None
        order = {"address": address, "options": options, "has_fd": fd is not None}
        return _read_answer(self._run(json.dumps(order).encode(), fd), self._limits)

    def close(self) -> None:
        """End the hosts that are idle; those at work end with their probes."""
        with self._lock:
            idle, self._idle, self._closed = self._idle, [], True
        for host in idle:
            self._end(host)

    def _run(self, order: bytes, fd: int | None) -> bytes | None:
        """Return a host's answer; None if its time was over or its limits ended it."""
        while True:
            host = self._take_host()
            answer, is_gone = None, False
            try:
                answer = host.ask(order, fd, self._limits.timeout_s + _SLACK_S)
            except (EOFError, OSError):
                is_gone = True
            finally:
                self._put_back(host, went_well=answer not in {None, TIMED_OUT})
            # One that was used before may have died of that, or of nothing.
            if not (is_gone and host.probe_count > 1):
                return answer
            if fd is not None:
                os.lseek(fd, 0, os.SEEK_SET)

    def _take_host(self) -> _Host:
        with self._lock:
            if self._idle:
                return self._idle.pop()
            ours, theirs = self._context.Pipe(duplex=True)
            limits = HostLimits(self._limits.timeout_s, self._limits.memory_bytes)
            process = self._context.Process(
                target=serve_probes, args=(theirs, self._ffprobe_path, limits), daemon=True
            )
            process.start()
            theirs.close()
        return _Host(process, ours)

    def _put_back(self, host: _Host, *, went_well: bool) -> None:
        if went_well and host.probe_count < _MOST_PROBES:
            with self._lock:
                if not self._closed:
                    self._idle.append(host)
                    return
        self._end(host)

    def _end(self, host: _Host) -> None:
        host.line.close()
        with self._lock:
            host.kill()
            host.process.join()
            host.process.close()


@dataclass(slots=True)
class _Host:
    """A process that runs ffprobe, and the line to it."""

    process: ForkServerProcess
    line: Connection
    probe_count: int = 0

    def ask(self, order: bytes, fd: int | None, timeout_s: float) -> bytes | None:
        """Have one probe run; return its answer, or None if there was none in time.

        Raises:
            EOFError, OSError: the host is gone.
        """
        self.probe_count += 1
        self.line.send_bytes(order)
        if fd is not None:
            reduction.send_handle(self.line, fd, self.process.pid)
        return self.line.recv_bytes() if self.line.poll(timeout_s) else None

    def kill(self) -> None:
        """End it, with all that it has started, if it is alive; under the prober's lock."""
        if self.process.is_alive() and self.process.pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)


def _read_answer(answer: bytes | None, limits: ProbeLimits) -> JsonObject:
    if answer is None:
        raise ProbeFailed("The probe was killed at its limits of time or memory.")
    said = json.loads(answer)
    if "probe" in said and isinstance(said["probe"], dict):
        return said["probe"]
    if "timeout" in said:
        raise ProbeFailed(f"ffprobe took longer than {limits.timeout_s:g} s.")
    # ffprobe prints its input's address, which may be a presigned URL.
    text = re.sub(r"^fd:: |https?://\S+ ?", "", str(said.get("refused", "")), flags=re.MULTILINE)
    reason = text.splitlines()[-1].rstrip(". ") if text else "it does not say why"
    raise ProbeFailed(f"ffprobe could not read the file: {reason}.")


@contextmanager
def _hold_in_memory(content: bytes | bytearray | memoryview) -> Iterator[int]:
    if sys.platform == "linux":
        fd = os.memfd_create("headrace-probe")
        try:
            with memoryview(content) as view:
                written = 0
                while written < len(view):
                    written += os.write(fd, view[written:])
            os.lseek(fd, 0, os.SEEK_SET)
            yield fd
        finally:
            os.close(fd)
    else:
        with tempfile.TemporaryFile() as unlinked:
            unlinked.write(content)
            unlinked.flush()
            unlinked.seek(0)
            yield unlinked.fileno()


def _find_ffprobe(name: str) -> str:
    path = shutil.which(name)
    hint = "Install ffmpeg 6.1 or newer, or set HEADRACE_FFPROBE_PATH to its ffprobe."
    if path is None:
        raise ConfigError(f"There is no ffprobe at '{name}'. {hint}")
    shown = subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"ffprobe version n?(\d+)\.(\d+)", shown)
    if found is not None and (int(found[1]), int(found[2])) < _MIN_VERSION:
        raise ConfigError(f"'{path}' is version {found[1]}.{found[2]}. {hint}")
    if not shown.startswith("ffprobe version"):
        raise ConfigError(f"'{path}' is no ffprobe that runs. {hint}")
    return path


def build_prober(ffprobe_path: str, limits: ProbeLimits) -> Prober:
    """Return a prober whose fork server is warm, by letting it probe nothing at all."""
    prober = Prober(ffprobe_path, limits)
    with suppress(ProbeFailed, InternalError):
        prober.probe_bytes(b"", _WARM_UP)
    return prober


_WARM_UP = Format("warm-up", Kind.AUDIO, "audio/wav", "wav", "wav")
