"""ffprobe on what was fetched, in a process of its own under limits.

A fork server, started once, keeps ffmpeg-python imported; each probe is a fork of it, since a fresh
interpreter would take 80 ms to import it. The child is bounded in address space, CPU, file size and
wall clock, has no environment, and is killed as a process group.

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.context import ForkServerProcess

from ingest.errors import ConfigError, InternalError, ProbeFailed
from ingest.formats import SNIFF_BYTES, Format, Kind
from ingest.model import JsonObject, MediaInfo
from workers.mediainfo import read_media_info
from workers.probe_child import HandedFd, ProbeOrder, receive_fd, run_probe

_MIN_VERSION = (6, 1)
# What the child may take beyond ffprobe's own wall clock, to start and to answer.
_SLACK_S = 3.0


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
        # multiprocessing looks after all children whenever one is started.
        self._lock = threading.Lock()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["workers.probe_child"])

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
        return read_media_info(self._probe(url, None, protocols, sniffed), sniffed, head)

    def _probe(self, address: str, fd: int | None, protocols: str, sniffed: Format) -> JsonObject:
        options: dict[str, str | int | None] = {
            "v": "error",
            "f": sniffed.demuxer,
            "format_whitelist": sniffed.demuxer,
            "protocol_whitelist": protocols,
            "max_pixels": self._limits.max_pixels,
            "threads": 1,
        }
        if sniffed.kind is Kind.IMAGE:
            # How many frames an image has is told by its packets alone.
            options["count_packets"] = None
        order = ProbeOrder(
            ffprobe_path=self._ffprobe_path,
            address=address,
            fd=None if fd is None else _InheritedFd(fd),
            options=options,
            timeout_s=self._limits.timeout_s,
            memory_bytes=self._limits.memory_bytes,
        )
        return _read_answer(self._run(order), self._limits)

    def _run(self, order: ProbeOrder) -> bytes | None:
        ours, theirs = self._context.Pipe(duplex=False)
        child = self._context.Process(target=run_probe, args=(theirs, order), daemon=True)
        try:
            with self._lock:
                child.start()
            theirs.close()
            if not ours.poll(order.timeout_s + _SLACK_S):
                return None
            return ours.recv_bytes()
        except (EOFError, OSError):
            return None
        finally:
            ours.close()
            _kill(child)
            with self._lock:
                child.join()
                child.close()


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


class _InheritedFd:
    """A file descriptor that a child inherits when it is started.

    Wrapped while it is pickled for the child, and no earlier: outside of that, multiprocessing
    would serve it from a thread and keep a copy until somebody asks for it.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __reduce__(self) -> tuple[Callable[[HandedFd], HandedFd], tuple[HandedFd]]:
        return receive_fd, (reduction.DupFd(self._fd),)

    def detach(self) -> int:
        """Take it where it is."""
        return self._fd


def _kill(child: ForkServerProcess) -> None:
    if child.pid is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)


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
