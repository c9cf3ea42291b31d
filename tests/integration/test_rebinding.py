"""Names whose addresses change between two looks: only what was judged is connected to."""

from __future__ import annotations

import random
import socket
from collections import Counter
from contextlib import closing
from itertools import cycle

import pytest

from ingest.addresses import classify
from ingest.errors import AddressBlocked, SourceUnavailable
from ingest.urls import parse_source_url
from tests.support.canary import Canary
from tests.support.figures import Figures
from workers.egress import Egress, Policy

pytestmark = pytest.mark.security

TRIES = 1000
GOOD = ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]
BAD = ["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "0.0.0.0"]
PROXIES = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]


@pytest.mark.parametrize(
    "records",
    [
        pytest.param([[good, bad] for good in GOOD for bad in BAD], id="one good, one bad"),
        pytest.param([[bad, good] for good in GOOD for bad in BAD], id="one bad, one good"),
        pytest.param([[GOOD[0]], ["127.0.0.1"]], id="good, then bad"),
        pytest.param([["127.0.0.1"], [GOOD[0]]], id="bad, then good"),
        pytest.param([GOOD, [*GOOD, "::1"], GOOD[:1], ["10.0.0.1"]], id="ever changing"),
    ],
)
def test_a_name_that_changes_its_mind_leads_nowhere_but_to_what_was_judged(
    records: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    security_figures: Figures,
) -> None:
    done = (
        f"a name with {request.node.callspec.id} records, {TRIES} times, proxies in the environment"
    )
    with (
        security_figures.row("S3", done) as row,
        Canary() as canary,
        closing(Egress(Policy(2, 2))) as egress,
    ):
        for name in PROXIES:
            monkeypatch.setenv(name, canary.url())
        url = parse_source_url(f"http://rebinding.invalid:{canary.port}/")
        looked_up, connected = _watch(records, monkeypatch)
        outcomes: Counter[type[BaseException]] = Counter()
        for _ in range(TRIES):
            with pytest.raises((AddressBlocked, SourceUnavailable)) as caught:
                egress.get(url, {})
            outcomes[caught.type] += 1
        monkeypatch.undo()
        reached = canary.count_connections()
        row.note("the canary sees no connection", reached, held=reached == 0)
    assert len(looked_up) == TRIES
    assert {address for address in connected if not classify(address).allowed} == set()
    bad = sum(any(one not in GOOD for one in answer) for answer in looked_up)
    assert outcomes[AddressBlocked] == bad > 0


def _watch(
    records: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[list[str]], list[str]]:
    """Answer each look with the next records, in any order; let nothing out.

    Returns what was answered, and which addresses were asked for a connection.
    """
    order, answers = random.Random(7), cycle(records)
    looked_up: list[list[str]] = []
    connected: list[str] = []
    really = socket.create_connection

    def look_up(_: str, port: int, **__: object) -> list[tuple[object, ...]]:
        answer = next(answers)
        looked_up.append(order.sample(answer, len(answer)))
        return [(0, socket.SOCK_STREAM, 6, "", (address, port)) for address in looked_up[-1]]

    def connect(server: tuple[str, int], timeout: float) -> socket.socket:
        connected.append(server[0])
        if classify(server[0]).allowed:
            raise OSError("nothing leaves this machine")
        return really(server, timeout)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "create_connection", connect)
    return looked_up, connected
