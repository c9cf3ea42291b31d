"""The door with ports and networks that an operator has set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from ingest.errors import AddressBlocked
from ingest.outlets import parse_networks, parse_ports
from ingest.urls import parse_source_url
from tests.support.canary import Canary
from tests.support.origin import Origin
from workers.egress import Egress, Policy

LOOPBACK = parse_networks("127.0.0.0/8")


@pytest.fixture
def canary() -> Iterator[Canary]:
    with Canary() as listening:
        yield listening


def _fetch(policy: Policy, url: str) -> int:
    with closing(Egress(policy)) as egress, closing(egress.get(parse_source_url(url), {})) as got:
        return got.status


def test_a_server_in_a_network_that_was_opened_is_connected_to(origin: Origin) -> None:
    url = origin.serve("/network", b"content")
    assert _fetch(Policy(1, 1, networks=LOOPBACK), url) == 200
    assert _fetch(Policy(1, 1, frozenset({f"127.0.0.1:{origin.port}"})), url) == 200


def test_a_port_that_is_not_let_through_is_not_connected_to_in_any_network(
    canary: Canary,
) -> None:
    policy = Policy(1, 1, networks=LOOPBACK, ports=parse_ports("80,443"))
    with pytest.raises(AddressBlocked, match="port"):
        _fetch(policy, canary.url())
    assert canary.count_connections() == 0


def test_an_exact_exception_opens_its_port_too(origin: Origin) -> None:
    url = origin.serve("/port", b"content")
    allowed = frozenset({f"127.0.0.1:{origin.port}"})
    assert _fetch(Policy(1, 1, allowed, ports=parse_ports("80")), url) == 200


@pytest.mark.parametrize("port", [1, 22, 25, 79, 81, 442, 444, 1023])
def test_systems_own_ports_are_closed_on_public_hosts_as_well(port: int) -> None:
    with pytest.raises(AddressBlocked, match=f"port {port}"):
        _fetch(Policy(1, 1), f"http://93.184.215.14:{port}/")
