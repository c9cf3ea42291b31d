"""Faults happen as they are told, so that a row of the chaos suite that fails says something."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import psutil
import pytest

from tests.support.faults import FaultProxy, find_peer_pid, kill_group, paused
from tests.support.waiting import wait_until

QUIET_S = 0.15


class Echo:
    """A server that sends back what it gets, and ends when its client does."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while piece := connection.recv(65536):
                    connection.sendall(piece)
            except OSError:
                # What the proxy cuts ends here.
                return


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with closing(Echo()) as echo, FaultProxy(echo.port) as running:
        yield running


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[socket.socket]:
    with connect(proxy) as opened:
        assert ask(opened, b"hello") == b"hello"
        yield opened


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), 10)


def ask(client: socket.socket, what: bytes) -> bytes:
    client.sendall(what)
    return read(client, len(what))


def read(client: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size and (piece := client.recv(size - len(got))):
        got += piece
    return got


def is_silent(client: socket.socket) -> bool:
    client.settimeout(QUIET_S)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(10)
    return False


def test_everything_passes_at_first_and_an_end_is_an_end(proxy: FaultProxy) -> None:
    content = bytes(range(256)) * 4096
    with connect(proxy) as client:
        sending = threading.Thread(target=client.sendall, args=(content,))
        sending.start()
        assert read(client, len(content)) == content
        sending.join()
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert proxy.accepted_count == 1
    wait_until(lambda: proxy.open_count == 0, "the connection to be closed")


def test_a_frozen_connection_stays_open_and_goes_on_when_healed(
    proxy: FaultProxy, client: socket.socket
) -> None:
    proxy.freeze()
    client.sendall(b"late")
    assert is_silent(client)
    with connect(proxy) as another:
        another.sendall(b"too")
        assert is_silent(another)
        assert proxy.open_count == 2
        proxy.heal()
        assert read(client, 4) == b"late"
        assert read(another, 3) == b"too"


def test_new_connections_may_pass_while_old_ones_are_frozen(
    proxy: FaultProxy, client: socket.socket
) -> None:
    proxy.freeze(new=False)
    client.sendall(b"late")
    with connect(proxy) as another:
        assert ask(another, b"now") == b"now"
    assert is_silent(client)


def test_a_cut_resets_what_is_open_even_while_it_is_frozen(
    proxy: FaultProxy, client: socket.socket
) -> None:
    proxy.freeze(new=False)
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert proxy.open_count == 0
    with connect(proxy) as another:
        assert ask(another, b"new") == b"new"


def test_a_refusal_is_for_new_connections_only_and_keeps_the_port(
    proxy: FaultProxy, client: socket.socket
) -> None:
    port = proxy.port
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    assert ask(client, b"old") == b"old"
    proxy.heal()
    assert proxy.port == port
    with connect(proxy) as another:
        assert ask(another, b"new") == b"new"


def test_a_connection_is_reset_after_so_many_bytes_and_not_one_more(
    proxy: FaultProxy, client: socket.socket
) -> None:
    proxy.cut_after(8)
    client.sendall(b"abcdef")
    assert read(client, 2) == b"ab"
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_a_delay_and_a_limit_take_their_time(proxy: FaultProxy, client: socket.socket) -> None:
    proxy.delay(0.1)
    began = time.monotonic()
    ask(client, b"x")
    assert time.monotonic() - began >= 0.2
    proxy.heal()
    proxy.limit(10_000)
    began = time.monotonic()
    ask(client, b"x" * 2_000)
    assert time.monotonic() - began >= 0.3


def test_a_target_that_is_not_there_resets_the_client() -> None:
    with closing(Echo()) as gone:
        port = gone.port
    # The reset may be there before the client knows that it is connected.
    with FaultProxy(port) as proxy, pytest.raises(ConnectionResetError), connect(proxy) as client:
        client.recv(1)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    """A process that leads a group, connects to the port it reads, and says so."""
    code = (
        "import socket, sys\n"
        "held = socket.create_connection(('127.0.0.1', int(sys.stdin.readline())))\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        yield process
        process.kill()


def test_the_other_end_of_a_connection_is_found_among_those_who_may_be_meant(
    child: subprocess.Popen[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert child.stdin is not None
        child.stdin.write(f"{port}\n")
        child.stdin.flush()
        connection, peer = listener.accept()
        with connection:
            assert find_peer_pid(peer, port, [child.pid]) == child.pid
            assert find_peer_pid(peer, port, []) is None
            assert find_peer_pid((peer[0], peer[1] + 1), port, [child.pid]) is None


def test_a_process_that_is_paused_goes_on_and_one_that_is_killed_does_not(
    child: subprocess.Popen[str],
) -> None:
    process = psutil.Process(child.pid)
    with paused(child.pid):
        assert process.status() == psutil.STATUS_STOPPED
    wait_until(lambda: process.status() != psutil.STATUS_STOPPED, "the process to go on")
    with paused(child.pid):
        kill_group(child.pid)
        assert child.wait(10) == -9
