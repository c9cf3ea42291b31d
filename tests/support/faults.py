"""Faults on purpose: a TCP proxy that breaks connections, and processes that stop or die.

The proxy stands between a client and a server of the loopback and does to their bytes what networks
do: nothing, late, slowly, half, or a reset. It lives in one thread, so a test says what happens
next in one line and it has happened when the call returns. Process faults only ever reach a pid
that the caller names, and :func:`find_peer_pid` only looks among those it is given.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeVar

import psutil

from tests.support.waiting import wait_until

T = TypeVar("T")

_HOST = "127.0.0.1"
_PIECE_BYTES = 64 * 1024
_CALL_TIMEOUT_S = 10.0


@dataclass(eq=False, slots=True)
class _Link:
    """One connection through the proxy: the client's end, the server's, and what is left of it."""

    client: socket.socket
    flowing: asyncio.Event
    left_bytes: int | None
    server: socket.socket | None = None
    task: asyncio.Task[None] | None = None

    def reset(self) -> None:
        for end in (self.client, self.server):
            if end is not None:
                # A linger of zero seconds turns the close into a reset.
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.close()


@dataclass(slots=True)
class _Weather:
    """What happens to bytes now."""

    delay_s: float = 0.0
    rate_bps: float | None = None
    hold_new: bool = False
    cut_after_bytes: int | None = None


@dataclass(eq=False)
class FaultProxy:
    """A proxy on 127.0.0.1 for the length of a ``with`` block; it passes everything at first.

    Args:
        target_port: where the server listens on 127.0.0.1.
        port: a fixed port, or 0 for any free one.
    """

    target_port: int
    port: int = 0
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop, init=False)
    _links: set[_Link] = field(default_factory=set, init=False)
    _weather: _Weather = field(default_factory=_Weather, init=False)
    _listener: socket.socket | None = field(default=None, init=False)
    _accepting: asyncio.Task[None] | None = field(default=None, init=False)
    _accepted: int = field(default=0, init=False)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop.run_forever, name="faults", daemon=True)
        self._thread.start()
        self.listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.refuse()
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_TIMEOUT_S)
        self._loop.close()

    @property
    def accepted_count(self) -> int:
        """How many connections were accepted so far."""
        return self._accepted

    @property
    def open_count(self) -> int:
        """How many connections are open."""
        return self._do(lambda: len(self._links))

    def heal(self) -> None:
        """Pass everything again; what was cut stays cut, what was frozen goes on."""
        self._do(self._heal)
        self.listen()

    def freeze(self, *, new: bool = True) -> None:
        """Hold every byte: connections stay open and nobody hears anything, until :meth:`heal`.

        Args:
            new: whether connections that are made from now on are held as well.
        """

        def freeze() -> None:
            self._weather.hold_new = new
            for link in self._links:
                link.flowing.clear()

        self._do(freeze)

    def cut(self) -> None:
        """Reset every connection; new ones pass."""
        self._await(self._cut)

    def cut_after(self, size_bytes: int) -> None:
        """Reset each connection, old or new, after so many more bytes in both directions."""

        def note() -> None:
            self._weather.cut_after_bytes = size_bytes
            for link in self._links:
                link.left_bytes = size_bytes

        self._do(note)

    def refuse(self) -> None:
        """Listen no more: new connections are refused, old ones go on."""
        self._await(self._refuse)

    def listen(self) -> None:
        """Listen on the same port again, unless it does already."""
        self._do(self._listen)

    def delay(self, delay_s: float) -> None:
        """Hand every piece on so much later."""
        self._do(lambda: setattr(self._weather, "delay_s", delay_s))

    def limit(self, rate_bps: float) -> None:
        """Let no more bytes a second through each way of each connection."""
        self._do(lambda: setattr(self._weather, "rate_bps", rate_bps))

    def _heal(self) -> None:
        self._weather = _Weather()
        for link in self._links:
            link.left_bytes = None
            link.flowing.set()

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = socket.create_server((_HOST, self.port), backlog=256)
            self._listener.settimeout(0)
            self.port = self._listener.getsockname()[1]
            self._accepting = self._loop.create_task(self._accept(self._listener))

    async def _refuse(self) -> None:
        if self._listener is not None and self._accepting is not None:
            await _cancel(self._accepting)
            self._listener.close()
            self._listener = None

    async def _cut(self) -> None:
        for link in list(self._links):
            if link.task is not None:
                await _cancel(link.task)

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            client, _ = await self._loop.sock_accept(listener)
            self._accepted += 1
            link = _Link(client, asyncio.Event(), self._weather.cut_after_bytes)
            if not self._weather.hold_new:
                link.flowing.set()
            self._links.add(link)
            link.task = self._loop.create_task(self._serve(link))

    async def _serve(self, link: _Link) -> None:
        try:
            await link.flowing.wait()
            link.server = socket.socket()
            for end in (link.client, link.server):
                end.settimeout(0)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(link.server, (_HOST, self.target_port))
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(link, link.client, link.server))
                both.create_task(self._pump(link, link.server, link.client))
            # Both have said all they had: an end in good order.
            link.client.close()
            link.server.close()
        except* OSError:
            # One end is gone, or was to be cut: so is the other.
            pass
        finally:
            self._links.discard(link)
            link.reset()

    async def _pump(self, link: _Link, source: socket.socket, target: socket.socket) -> None:
        while piece := await self._loop.sock_recv(source, _PIECE_BYTES):
            if self._weather.delay_s:
                await asyncio.sleep(self._weather.delay_s)
            if self._weather.rate_bps is not None:
                await asyncio.sleep(len(piece) / self._weather.rate_bps)
            await link.flowing.wait()
            if link.left_bytes is not None:
                piece = piece[: link.left_bytes]
                link.left_bytes -= len(piece)
            await self._loop.sock_sendall(target, piece)
            if link.left_bytes == 0:
                raise ConnectionResetError
        target.shutdown(socket.SHUT_WR)

    def _do(self, action: Callable[[], T]) -> T:
        async def act() -> T:
            return action()

        return self._await(act)

    def _await(self, action: Callable[[], Awaitable[T]]) -> T:
        async def act() -> T:
            return await action()

        return asyncio.run_coroutine_threadsafe(act(), self._loop).result(_CALL_TIMEOUT_S)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def kill_group(pid: int) -> None:
    """Kill a process that leads a group, and the whole group with it; no clean-up, no goodbye."""
    os.killpg(pid, signal.SIGKILL)


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """Stop a process group where it stands (SIGSTOP) for the length of the block.

    Killing it meanwhile is allowed.
    """
    process = psutil.Process(pid)
    os.killpg(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: process.status() == psutil.STATUS_STOPPED, f"{pid} to stop")
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGCONT)


def find_peer_pid(peer: tuple[str, int], port: int, among: Iterable[int]) -> int | None:
    """Return which of these processes, or of their children, is the other end of a connection.

    Args:
        peer: the address and port of that end, as ``accept`` told them.
        port: the port of this end.
        among: the pids that may be meant, and whose children may be.
    """
    for leader in among:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(leader)
            for one in [process, *process.children(recursive=True)]:
                if _has_connection(one, peer, port):
                    return one.pid
    return None


def _has_connection(process: psutil.Process, peer: tuple[str, int], port: int) -> bool:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return any(
            (*one.laddr, *one.raddr) == (*peer, _HOST, port)
            for one in process.net_connections("tcp4")
        )
    return False
