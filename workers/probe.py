"""ffprobe on what was fetched, in processes of its own under limits.

A fork server, started once, keeps ffmpeg-python imported. Hosts are forked from it, as many as
probes run at once, and each runs one ffprobe after another: a fresh process for each would cost ten
times what ffprobe does. A host is bounded in address space, CPU, file size and wall clock, has no
environment, is killed as a process group with whatever it runs when a probe went wrong, and is
replaced after some hundred probes. What a host leaves running that died itself ends by its own
limits, of CPU time and of waiting for an answer.

ffprobe is given one demuxer, the one of the sniffed format, and only the protocol its input needs,
so that nothing inside a file can make it open anything else. Out of a host nothing of the worker
can be read, and a file that is handed over is read by a host without network. A presigned URL is
handed over as well: everybody on the machine may read what stands among a process's arguments.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

from ingest.errors import InternalError, ProbeFailed
from ingest.formats import SNIFF_BYTES, Format, Kind
from ingest.logs import get_logger
from ingest.model import JsonObject, MediaInfo
from workers.ffprobe import find_ffprobe
from workers.mediainfo import read_media_info
from workers.probe_host import TIMED_OUT, HostLimits, serve_probes

# Where ffmpeg-python wants the input's name: an option that changes nothing.
_NO_ADDRESS = "-hide_banner"
# Demuxers that go back over what is broken, and would ask the store anew each time.
_GO_BACK = frozenset({"ogg"})
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
        self._ffprobe = find_ffprobe(ffprobe_path)
        self._limits = limits
        # multiprocessing looks after all children whenever one is started, and a host that is
        # found dead may have lost its number to a stranger from then on.
        self._lock = threading.Lock()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["workers.probe_host"])
        self._idle: list[_Host] = []
        self._closed = False
        self._network: str | None = None

    @property
    def shortcomings(self) -> Mapping[str, str]:
        """What of the sandbox is not to be had here, and why; known once something was probed."""
        found = {}
        if self._network is not None:
            found["network"] = self._network
        if not self._ffprobe.takes_files:
            found["arguments"] = "this ffprobe reads no option from a file"
        return found

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
        wait_us = int(self._limits.timeout_s * 1_000_000)
        more: dict[str, str | int] = {"rw_timeout": wait_us}
        if sniffed.demuxer in _GO_BACK and self._ffprobe.reads_ahead:
            url, protocols = f"async:{url}", f"async,{protocols}"
        if self._ffprobe.takes_files:
            more["/i"] = "/dev/stdin"
            with _hold_in_memory(url.encode()) as fd:
                found = self._probe(_NO_ADDRESS, fd, protocols, sniffed, more)
        else:
            found = self._probe(url, None, protocols, sniffed, more)
        return read_media_info(found, sniffed, head)

    def _probe(
        self,
        address: str,
        fd: int | None,
        protocols: str,
        sniffed: Format,
        more: Mapping[str, str | int] | None = None,
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
        answer = self._run(json.dumps(order).encode(), fd, offline=protocols == "fd")
        return _read_answer(answer, self._limits)

    def close(self) -> None:
        """End the hosts that are idle; those at work end with their probes."""
        with self._lock:
            idle, self._idle, self._closed = self._idle, [], True
        for host in idle:
            self._end(host)

    def _run(self, order: bytes, fd: int | None, *, offline: bool) -> bytes | None:
        """Return a host's answer; None if its time was over or its limits ended it."""
        while True:
            host = self._take_host(offline=offline)
            answer, is_gone = None, False
            try:
                answer = host.ask(order, fd, self._limits.timeout_s + _SLACK_S)
                if offline:
                    self._network = host.refused
            except (EOFError, OSError):
                is_gone = True
            finally:
                self._put_back(host, went_well=answer not in {None, TIMED_OUT})
            # One that was used before may have died of that, or of nothing.
            if not (is_gone and host.probe_count > 1):
                return answer
            if fd is not None:
                os.lseek(fd, 0, os.SEEK_SET)

    def _take_host(self, *, offline: bool) -> _Host:
        with self._lock:
            for host in reversed(self._idle):
                if host.offline is offline:
                    self._idle.remove(host)
                    return host
            ours, theirs = self._context.Pipe(duplex=True)
            limits = HostLimits(self._limits.timeout_s, self._limits.memory_bytes)
            process = self._context.Process(
                target=serve_probes,
                args=(theirs, self._ffprobe.path, limits),
                kwargs={"offline": offline},
                daemon=True,
            )
            process.start()
            theirs.close()
        return _Host(process, ours, offline=offline)

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


@dataclass(slots=True, eq=False)
class _Host:
    """A process that runs ffprobe, and the line to it.

    ``refused`` is why it has no namespaces; None, once it was asked something, where it has them.
    """

    process: ForkServerProcess
    line: Connection
    offline: bool
    refused: str | None = None
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
        if self.probe_count == 1:
            if not self.line.poll(timeout_s):
                return None
            self.refused = json.loads(self.line.recv_bytes())["refused"]
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
    text = str(said.get("refused", ""))
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


def build_prober(ffprobe_path: str, limits: ProbeLimits) -> Prober:
    """Return a prober whose fork server is warm, by letting it probe nothing at all.

    What its sandbox lacks here is logged once.
    """
    prober = Prober(ffprobe_path, limits)
    with suppress(ProbeFailed, InternalError):
        prober.probe_bytes(b"", _WARM_UP)
    for lacking, reason in prober.shortcomings.items():
        get_logger(__name__).warning("probe.sandbox_lacks", lacking=lacking, reason=reason)
    return prober


_WARM_UP = Format("warm-up", Kind.AUDIO, "audio/wav", "wav", "wav")
