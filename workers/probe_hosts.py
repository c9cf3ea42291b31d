"""The processes that run ffprobe and ffmpeg for a worker, or decode pictures: made, asked, ended.

A fork server, started once, keeps ffmpeg-python and Pillow imported. Hosts are forked from it, as
many as are asked at once, and each takes one order after another (:mod:`workers.probe_host`). A
host is killed as a process group, with whatever it runs, when an order went wrong, and is replaced
after some hundred of them. What a host leaves running that died itself ends by its own limits, of
CPU time and of waiting for an answer.

Invariant: one that decodes pictures itself, and may have been taken over by one, is never asked for
anything else, nor for the picture of another project.
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
from multiprocessing.util import get_temp_dir

from workers.probe_host import TIMED_OUT, HostLimits, Programs, serve_orders

# What a host may take beyond the wall clock of what it runs, to start and to answer.
_SLACK_S = 3.0
# Its memory and its CPU time begin anew after so many orders.
_MOST_ORDERS = 1000
# So many projects may take turns before a host is made anew for each of their pictures.
_MOST_IDLE_DECODERS = 16


@dataclass(frozen=True, slots=True)
class Duty:
    """What a host is for.

    ``offline``: whether all it reads is handed to it, and it needs no network. ``pictures_of``: the
    project whose pictures it decodes itself; None for one that runs programs.
    """

    offline: bool
    pictures_of: str | None = None


class HostPool:
    """Hosts that are idle, and new ones where there are none; safe to share between threads.

    Args:
        programs: what they run.
        limits: bounds of each order.
    """

    def __init__(self, programs: Programs, limits: HostLimits) -> None:
        self._programs = programs
        self._limits = limits
        # multiprocessing looks after all children whenever one is started, and a host that is
        # found dead may have lost its number to a stranger from then on.
        self._lock = threading.Lock()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["workers.probe_host"])
        self.idle: list[Host] = []
        self._closed = False
        # Why hosts without network have no namespaces; None where they have, or none was asked.
        self.refused: str | None = None

    def ask(self, order: Mapping[str, object], fd: int | None, duty: Duty) -> bytes | None:
        """Have an order carried out.

        Args:
            fd: what the program reads as its standard input.
            duty: what the host that does it has to be for.

        Returns:
            The host's answer; None if its time was over or its limits ended it.
        """
        sent = json.dumps({**order, "has_fd": fd is not None}).encode()
        while True:
            host = self._take(duty)
            answer, is_gone = None, False
            try:
                answer = host.ask(sent, fd, self._limits.timeout_s + _SLACK_S)
                if duty.offline:
                    self.refused = host.refused
            except (EOFError, OSError):
                is_gone = True
            finally:
                self._put_back(host, went_well=answer not in {None, TIMED_OUT})
            # One that was used before may have died of that, or of nothing; one that decodes dies
            # of what it decodes.
            if not (is_gone and host.order_count > 1 and duty.pictures_of is None):
                return answer
            if fd is not None:
                os.lseek(fd, 0, os.SEEK_SET)

    def close(self) -> None:
        """End the hosts that are idle; those at work end with their orders."""
        with self._lock:
            idle, self.idle, self._closed = self.idle, [], True
        for host in idle:
            self._end(host)

    def _take(self, duty: Duty) -> Host:
        with self._lock:
            for host in reversed(self.idle):
                if host.duty == duty:
                    self.idle.remove(host)
                    return host
            ours, theirs = self._context.Pipe(duplex=True)
            process = self._context.Process(
                target=serve_orders,
                args=(theirs, self._programs, self._limits),
                kwargs={
                    "offline": duty.offline,
                    "decodes": duty.pictures_of is not None,
                    "hidden": get_temp_dir(),
                },
                daemon=True,
            )
            process.start()
            theirs.close()
        return Host(process, ours, duty)

    def _put_back(self, host: Host, *, went_well: bool) -> None:
        if went_well and host.order_count < _MOST_ORDERS:
            with self._lock:
                if not self._closed:
                    self.idle.append(host)
                    surplus = self._find_surplus()
                    if surplus is None:
                        return
                    self.idle.remove(surplus)
                    host = surplus
        self._end(host)

    def _find_surplus(self) -> Host | None:
        """Return the decoder that has been idle for longest, if there are too many."""
        decoders = [one for one in self.idle if one.duty.pictures_of is not None]
        return decoders[0] if len(decoders) > _MOST_IDLE_DECODERS else None

    def _end(self, host: Host) -> None:
        host.line.close()
        with self._lock:
            host.kill()
            host.process.join()
            host.process.close()


@dataclass(slots=True, eq=False)
class Host:
    """A process that runs one program after another, and the line to it.

    ``refused`` is why it has no namespaces; None, once it was asked something, where it has them.
    """

    process: ForkServerProcess
    line: Connection
    duty: Duty
    refused: str | None = None
    order_count: int = 0

    def ask(self, order: bytes, fd: int | None, timeout_s: float) -> bytes | None:
        """Have one order carried out; return its answer, or None if there was none in time.

        Raises:
            EOFError, OSError: the host is gone.
        """
        self.order_count += 1
        self.line.send_bytes(order)
        if fd is not None:
            reduction.send_handle(self.line, fd, self.process.pid)
        if self.order_count == 1:
            if not self.line.poll(timeout_s):
                return None
            self.refused = json.loads(self.line.recv_bytes())["refused"]
        return self.line.recv_bytes() if self.line.poll(timeout_s) else None

    def kill(self) -> None:
        """End it, with all that it has started, if it is alive; under the pool's lock."""
        if self.process.is_alive() and self.process.pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)


@contextmanager
def hold_in_memory(content: bytes | bytearray | memoryview) -> Iterator[int]:
    """Give a descriptor that the content can be read from, with no disk where there are memfds."""
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
