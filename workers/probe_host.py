"""What runs in a probe's own process: limits on, environment gone, then one program after another.

Where the kernel allows, a host is in a user namespace of its own, out of which nothing of the
worker can be read; one whose input is handed to it has no network either.

Imported by the fork server alone (:mod:`workers.probe_hosts`), so it imports next to nothing. A
host starts a session of its own, so that it and what it runs can be killed as one group. It either
runs programs and reads no media itself, or decodes pictures and does nothing else. What it answers
are JSON bytes: nothing that has touched hostile input is ever unpickled. When the worker is gone,
so is the host.
"""

from __future__ import annotations

import json
import math
import os
import re
import resource
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import Connection
from types import FrameType

import ffmpeg

from ingest.environ import forget_environ
from workers.frame_host import read_frame
from workers.picture_host import read_picture
from workers.poster_host import draw_frame, draw_picture
from workers.sandbox import erase_environ, leave_worker, refuse_new_rights

# ffprobe lists streams; a file with thousands of them is an attack on whoever reads the list.
MAX_ANSWER_BYTES = 4 * 1024 * 1024
_ERROR_CHARS = 400
# ffprobe begins a line with its input's address, which may be a presigned URL.
_ADDRESS = re.compile(r"^fd:: |(?:async:)?https?://\S+ ?", re.MULTILINE)
# Of its wall clock ffprobe waits for the store; what it computes for longer, no good file asks for.
_CPU_SHARE = 0.3
# A picture of a file is worth less than the file.
_FRAME_SHARE = 0.5
_FRAME_CPU_SHARE = 0.1
# A film that begins in black is decoded until it does not.
_POSTER_CPU_SHARE = 0.2
# After this answer a program may be running still.
TIMED_OUT = b'{"timeout": true}'


@dataclass(frozen=True, slots=True)
class HostLimits:
    """Bounds of each probe: wall clock and CPU, and address space."""

    timeout_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Programs:
    """Paths of what is run."""

    ffprobe: str
    ffmpegs: tuple[str, ...] = ()


def serve_orders(
    worker: Connection,
    programs: Programs,
    limits: HostLimits,
    *,
    offline: bool,
    decodes: bool,
    hidden: str,
) -> None:
    """Answer orders until the worker hangs up.

    First it says ``{"refused": …}``: why the kernel gave it no namespaces, or null where it did.

    Args:
        offline: whether all that will be read is handed over, and no network is needed.
        decodes: whether it decodes pictures itself, and starts no program then.
        hidden: where the fork server listens. Whoever may connect to it can have it start what they
            like, outside of the sandbox.

    An order is ``{"address": …, "options": {…}, "has_fd": …}`` in JSON for ffprobe,
    ``{"frame": …, "has_fd": …}`` for ffmpeg (:func:`workers.frame_host.read_frame`), or
    ``{"picture": …, "has_fd": true}`` (:func:`workers.picture_host.read_picture`), or
    ``{"poster": …, "has_fd": true}`` for either (:mod:`workers.poster_host`), followed by a
    descriptor where it has one, which becomes the standard input. The answer is ``{"probe": …}``,
    ``{"frame": …}``, ``{"poster": …}``, ``{"refused": text}`` or :data:`TIMED_OUT`.
    """
    os.setsid()
    _limit(limits)
    if decodes:
        # It never starts anything; of root alone the kernel asks no limit.
        _set_soft_limit(resource.RLIMIT_NPROC, 0)
    forget_environ()
    erase_environ()
    refuse_new_rights()
    refused = leave_worker(network=not offline, hidden=hidden)
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        # The worker has hung up, or will not read what comes.
        with suppress(EOFError, OSError):
            worker.send_bytes(json.dumps({"refused": refused}).encode())
            while True:
                order = json.loads(worker.recv_bytes())
                if order["has_fd"]:
                    fd = reduction.recv_handle(worker)
                    os.dup2(fd, 0)
                    os.close(fd)
                worker.send_bytes(_answer(order, None if decodes else programs, limits))
                os.dup2(nothing, 0)
    finally:
        # Takes a program that is late along.
        os.killpg(0, signal.SIGKILL)


def _answer(order: Mapping[str, object], programs: Programs | None, limits: HostLimits) -> bytes:
    is_frame = "address" not in order
    share = _POSTER_CPU_SHARE if "poster" in order else _FRAME_CPU_SHARE
    cpu_s = limits.timeout_s * (share if is_frame else _CPU_SHARE)
    # Soft limits are inherited: a child may use what is left from here on.
    used_s = math.ceil(time.process_time())
    _set_soft_limit(resource.RLIMIT_CPU, used_s + math.ceil(cpu_s))
    signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, limits.timeout_s * (_FRAME_SHARE if is_frame else 1.0))
    try:
        found = _decode(order) if programs is None else _run(order, programs)
    except TimeoutError:
        return TIMED_OUT
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    answer = json.dumps(found).encode()
    if len(answer) > MAX_ANSWER_BYTES:
        return json.dumps({"refused": "ffprobe found too many streams"}).encode()
    return answer


def _decode(order: Mapping[str, object]) -> Mapping[str, object]:
    with open(0, "rb", closefd=False) as file:
        if "poster" in order:
            return {"poster": draw_picture(file, order["poster"])}
        return {"frame": read_picture(file, order.get("picture"))}


def _run(order: Mapping[str, object], programs: Programs) -> Mapping[str, object]:
    if "poster" in order:
        return {"poster": draw_frame(programs.ffmpegs, order["poster"])}
    if "frame" in order:
        return {"frame": read_frame(programs.ffmpegs, order["frame"])}
    return _probe(order, programs.ffprobe)


def _probe(order: Mapping[str, object], ffprobe_path: str) -> Mapping[str, object]:
    try:
        # No timeout=: 0.2.0 hands it to ffprobe, whose sockets take it as microseconds.
        found = ffmpeg.probe(order["address"], cmd=ffprobe_path, **_read_options(order))
    except ffmpeg.Error as error:
        # Before it is cut: half an address cannot be told from text.
        text = _ADDRESS.sub("", error.stderr.decode(errors="replace")).strip()
        return {"refused": text[-_ERROR_CHARS:] or "ffprobe was killed at its limits"}
    except ValueError:
        return {"refused": "ffprobe printed no JSON"}
    return {"probe": found}


def _read_options(order: Mapping[str, object]) -> Mapping[str, object]:
    options = order["options"]
    return options if isinstance(options, dict) else {}


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise TimeoutError


def _limit(limits: HostLimits) -> None:
    for kind, value in (
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_AS, limits.memory_bytes),
    ):
        try:
            _set_soft_limit(kind, value)
        except (ValueError, OSError):
            # macOS refuses RLIMIT_AS; the wall clock and -max_pixels still hold there.
            if kind != resource.RLIMIT_AS:
                raise


def _set_soft_limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    capped = value if hard == resource.RLIM_INFINITY else min(value, hard)
    # Only CPU is raised again, as the host grows older; the others hold for good.
    resource.setrlimit(kind, (capped, hard if kind == resource.RLIMIT_CPU else capped))
