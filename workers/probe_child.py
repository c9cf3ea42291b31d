"""What runs in the probe's own process: limits on, environment gone, then ffprobe.

Imported by the fork server alone (:mod:`workers.probe`), so it imports next to nothing. It starts a
session of its own, so that it and ffprobe can be killed as one group, and it answers with JSON
bytes: nothing that has touched hostile input is ever unpickled.
"""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import FrameType
from typing import Protocol

import ffmpeg

from ingest.config import forget_environ

# ffprobe lists streams; a file with thousands of them is an attack on whoever reads the list.
MAX_ANSWER_BYTES = 4 * 1024 * 1024
_ERROR_CHARS = 400


class HandedFd(Protocol):
    """A file descriptor on its way to another process (``multiprocessing.reduction.DupFd``)."""

    def detach(self) -> int:
        """Take it, in the process that receives it."""


def receive_fd(handed: HandedFd) -> HandedFd:
    """Return what multiprocessing made of an inherited descriptor (unpickling needs a function)."""
    return handed


@dataclass(frozen=True, slots=True)
class ProbeOrder:
    """One probe: what to run on what, within which limits.

    ``fd`` is the input of a local probe; without it ``address`` is read.
    """

    ffprobe_path: str
    address: str
    fd: HandedFd | None
    options: Mapping[str, str | int | None]
    timeout_s: float
    memory_bytes: int


def run_probe(answer_to: Connection, order: ProbeOrder) -> None:
    """Probe, and send ``{"probe": …}``, ``{"refused": text}`` or ``{"timeout": true}``."""
    os.setsid()
    _limit(order)
    forget_environ()
    if order.fd is not None:
        os.dup2(order.fd.detach(), 0)
    answer = json.dumps(_probe(order)).encode()
    if len(answer) > MAX_ANSWER_BYTES:
        answer = json.dumps({"refused": "ffprobe found too many streams"}).encode()
    try:
        answer_to.send_bytes(answer)
        answer_to.close()
    finally:
        # Takes an ffprobe that is late along, also when the worker is gone.
        os.killpg(0, signal.SIGKILL)


def _probe(order: ProbeOrder) -> Mapping[str, object]:
    signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, order.timeout_s)
    try:
        # No timeout=: 0.2.0 hands it to ffprobe, whose sockets take it as microseconds.
        found = ffmpeg.probe(order.address, cmd=order.ffprobe_path, **order.options)
    except ffmpeg.Error as error:
        text = error.stderr.decode(errors="replace").strip()
        return {"refused": text[-_ERROR_CHARS:] or "ffprobe was killed at its limits"}
    except TimeoutError:
        return {"timeout": True}
    except ValueError:
        return {"refused": "ffprobe printed no JSON"}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return {"probe": found}


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise TimeoutError


def _limit(order: ProbeOrder) -> None:
    cpu_s = int(order.timeout_s) + 1
    for kind, value in (
        (resource.RLIMIT_AS, order.memory_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        _, hard = resource.getrlimit(kind)
        capped = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(kind, (capped, capped))
        except (ValueError, OSError):
            # macOS refuses RLIMIT_AS; the wall clock and -max_pixels still hold there.
            if kind != resource.RLIMIT_AS:
                raise
