"""A proxy that makes the loopback a long, thin line: so many bytes a second for each connection.

Every connection has a rate of its own, each way, and half the round trip passes before what was
sent arrives. A connection costs a round trip before its first request, as a handshake would; each
request costs another. Slow start and loss there are none. It says its port in JSON once it listens
and serves until stdin ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass

from bench.wire import HOST

# Some 12 ms of 20 MiB/s: fine enough to be smooth, coarse enough to take little of a core.
_PIECE_BYTES = 256 * 1024
# More than the line itself holds: 20 MiB/s times 20 ms.
_PIECES_UNDER_WAY = 6


@dataclass(frozen=True, slots=True)
class Shape:
    """The line: bytes a second of each connection, and seconds there and back."""

    rate_bps: float
    round_trip_s: float


class Way:
    """One direction of one connection: when what is sent arrives.

    Args:
        free_at: before this nothing is sent.
    """

    def __init__(self, shape: Shape, free_at: float) -> None:
        self._shape = shape
        self._free_at = free_at

    def send(self, now: float, size_bytes: int) -> float:
        """Return when the last of so many bytes arrives that are there to be sent now."""
        self._free_at = max(now, self._free_at) + size_bytes / self._shape.rate_bps
        return self._free_at + self._shape.round_trip_s / 2


class Shaper:
    """Passes each connection on to a port, at the pace of its shape."""

    def __init__(self, target_port: int, shape: Shape) -> None:
        self._target_port = target_port
        self._shape = shape
        self._loop = asyncio.get_running_loop()

    async def serve(self, listener: socket.socket) -> None:
        """Accept for ever."""
        links: set[asyncio.Task[None]] = set()
        while True:
            client, _ = await self._loop.sock_accept(listener)
            link = asyncio.create_task(self._serve_one(client, self._loop.time()))
            links.add(link)
            link.add_done_callback(links.discard)

    async def _serve_one(self, client: socket.socket, accepted: float) -> None:
        server = socket.socket()
        with client, server:
            for end in (client, server):
                end.settimeout(0)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Whoever hangs up ends both ways.
            with suppress(OSError):
                await self._loop.sock_connect(server, (HOST, self._target_port))
                there = Way(self._shape, accepted + self._shape.round_trip_s)
                ways = [
                    asyncio.create_task(self._pass_on(client, server, there)),
                    asyncio.create_task(self._pass_on(server, client, Way(self._shape, accepted))),
                ]
                done, rest = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in rest:
                    way.cancel()
                for way in done:
                    way.result()

    async def _pass_on(self, source: socket.socket, target: socket.socket, way: Way) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_PIECES_UNDER_WAY)

        async def read() -> None:
            with suppress(OSError):
                while piece := await self._loop.sock_recv(source, _PIECE_BYTES):
                    await under_way.put((way.send(self._loop.time(), len(piece)), piece))
            await under_way.put((way.send(self._loop.time(), 0), b""))

        reading = asyncio.create_task(read())
        try:
            while True:
                due, piece = await under_way.get()
                await asyncio.sleep(due - self._loop.time())
                if not piece:
                    return
                await self._loop.sock_sendall(target, piece)
        finally:
            reading.cancel()


def main() -> None:
    """Serve what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m bench.shaper", description=__doc__)
    parser.add_argument("--target-port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, metavar="BYTES_A_SECOND")
    parser.add_argument("--round-trip", type=float, required=True, metavar="SECONDS")
    given = parser.parse_args()
    shape = Shape(given.rate, given.round_trip)
    listener = socket.create_server((HOST, 0), backlog=256)
    listener.settimeout(0)

    async def run() -> None:
        await Shaper(given.target_port, shape).serve(listener)

    threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()
    sys.stdout.write(json.dumps({"port": listener.getsockname()[1]}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
