"""Looking up names with a resolver that is quick, broken, silent or busy."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ingest.errors import SourceDns
from workers.resolving import Resolver

Answer = Callable[[str], list[str]]
LIMIT_S = 0.2
# Far above what may pass, far below what a silent resolver takes.
PROMPT_S = 2.0


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], None]:
    """Sets what every name resolves to."""

    def set_answer(answer: Answer) -> None:
        def look_up(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in answer(host)
            ]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)

    return set_answer


@pytest.fixture
def silence() -> Iterator[threading.Event]:
    """Ends what waits for it when the test is over, at the latest."""
    ended = threading.Event()
    yield ended
    ended.set()


def count_threads() -> int:
    return sum(thread.name == "resolver" for thread in threading.enumerate())


def test_each_address_comes_once_and_in_order(use: Callable[[Answer], None]) -> None:
    use(lambda _: ["192.0.2.2", "192.0.2.1", "192.0.2.2"])
    assert Resolver().resolve("a.invalid", 80, LIMIT_S) == ["192.0.2.2", "192.0.2.1"]


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_NONAME, "unknown"),
        socket.gaierror(socket.EAI_AGAIN, "try again"),
        OSError("no network"),
        TimeoutError("the resolver's own"),
        UnicodeError("label too long"),
    ],
    ids=repr,
)
def test_a_name_that_does_not_resolve_is_told(
    error: Exception, use: Callable[[Answer], None]
) -> None:
    def fail(host: str) -> list[str]:
        raise error

    use(fail)
    with pytest.raises(SourceDns, match=r"a\.invalid") as caught:
        Resolver().resolve("a.invalid", 80, LIMIT_S)
    assert caught.value.retryable


def test_a_fault_of_our_own_is_not_taken_for_the_names(use: Callable[[Answer], None]) -> None:
    def fail(host: str) -> list[str]:
        raise ZeroDivisionError

    use(fail)
    with pytest.raises(ZeroDivisionError):
        Resolver().resolve("a.invalid", 80, LIMIT_S)


def test_nobody_waits_longer_than_they_want_to(
    use: Callable[[Answer], None], silence: threading.Event
) -> None:
    use(lambda _: ["192.0.2.1"] if silence.wait(30) else [])
    began = time.monotonic()
    with pytest.raises(SourceDns, match=r"did not resolve in 0\.2 s"):
        Resolver().resolve("slow.invalid", 80, LIMIT_S)
    assert LIMIT_S <= time.monotonic() - began < PROMPT_S


def test_a_name_that_hangs_holds_up_no_other(
    use: Callable[[Answer], None], silence: threading.Event
) -> None:
    use(lambda host: ["192.0.2.1"] if host == "quick.invalid" or silence.wait(30) else [])
    resolver = Resolver()
    for _ in range(3):
        with pytest.raises(SourceDns):
            resolver.resolve("slow.invalid", 80, 0.01)
    assert resolver.resolve("quick.invalid", 80, PROMPT_S) == ["192.0.2.1"]


def test_names_that_hang_do_not_pile_up_and_their_places_come_back(
    use: Callable[[Answer], None], silence: threading.Event
) -> None:
    use(lambda host: ["192.0.2.1"] if host == "quick.invalid" or silence.wait(30) else [])
    resolver = Resolver(most=2)
    before = count_threads()
    for _ in range(5):
        with pytest.raises(SourceDns):
            resolver.resolve("slow.invalid", 80, 0.01)
    assert count_threads() - before <= 2
    with pytest.raises(SourceDns, match="waited too long for others"):
        resolver.resolve("quick.invalid", 80, LIMIT_S)

    silence.set()
    assert resolver.resolve("quick.invalid", 80, PROMPT_S) == ["192.0.2.1"]
