"""How fast source and sink are by themselves: what no peer can be faster than."""

from __future__ import annotations

import socket
import time

from bench.bed import GIB, MIB, Bed
from bench.wire import HOST, Inlet

_PIECE = memoryview(bytes(8 * MIB))


def measure_ceiling(bed: Bed) -> str:
    """Return a sentence that tells the speed of both, in GiB/s."""
    with bed.open_source(GIB) as source, bed.open_sink() as store:
        _read(source.port, source.ready["videos"][0])
        read_s = min(_read(source.port, source.ready["videos"][0]) for _ in range(3))
        sink_port = int(store.endpoint.rpartition(":")[2])
        write_s = min(_write(sink_port, f"/media/ceiling-{number}") for number in range(3))
    return (
        f"Source and sink alone: {1 / read_s:.1f} GiB/s are served to one connection, and "
        f"{1 / write_s:.1f} GiB/s taken from one."
    )


def _read(port: int, path: str) -> float:
    """Return the seconds that 1 GiB takes to be served."""
    with socket.create_connection((HOST, port)) as connection:
        began = time.perf_counter()
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1024)
        Inlet(connection).drain(GIB - len(head.partition(b"\r\n\r\n")[2]))
        return time.perf_counter() - began


def _write(port: int, path: str) -> float:
    """Return the seconds that 1 GiB takes to be taken."""
    with socket.create_connection((HOST, port)) as connection:
        began = time.perf_counter()
        head = f"PUT {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {GIB}\r\n\r\n"
        connection.sendall(head.encode())
        for _ in range(GIB // len(_PIECE)):
            connection.sendall(_PIECE)
        connection.recv(1024)
        return time.perf_counter() - began
