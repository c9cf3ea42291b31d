"""What operators open besides public addresses, and what stays closed all the same."""

from __future__ import annotations

import pytest

from ingest.outlets import covers, parse_networks, parse_ports

EVERYTHING = parse_networks("0.0.0.0/0, ::/0")


@pytest.mark.parametrize(
    ("networks", "address", "expected"),
    [
        ("10.1.0.0/16", "10.1.0.0", True),
        ("10.1.0.0/16", "10.1.255.255", True),
        ("10.1.0.0/16", "10.0.255.255", False),
        ("10.1.0.0/16", "10.2.0.0", False),
        ("10.1.0.0/16", "127.0.0.1", False),
        ("127.0.0.1/32", "127.0.0.1", True),
        ("127.0.0.1/32", "127.0.0.2", False),
        ("fd00:1::/32", "fd00:1::5", True),
        ("fd00:1::/32", "fd00:2::5", False),
        ("10.0.0.0/8", "::ffff:10.0.0.1", False),
        (" 10.1.0.0/16 , fd00::/8 ,", "fd12::1", True),
        ("", "10.1.0.0", False),
    ],
)
def test_a_network_lets_through_what_lies_in_it(
    networks: str, address: str, expected: object
) -> None:
    assert covers(parse_networks(networks), address) is expected


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "169.254.0.1", "168.63.129.16", "100.100.100.200", "0.0.0.0", "::",
     "224.0.0.1", "ff02::1", "fe80::1", "fd00:ec2::254", "255.255.255.255",
     "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"],
)  # fmt: skip
def test_no_network_is_wide_enough_for_an_address_where_no_server_is(address: str) -> None:
    assert not covers(EVERYTHING, address)


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "::1", "fd00::1", "100.64.0.1"])
def test_the_widest_networks_let_private_servers_through(address: str) -> None:
    assert covers(EVERYTHING, address)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("80", [80], [79, 81]),
        ("80,443, 1024-65535", [80, 443, 1024, 65535], [1, 79, 81, 442, 444, 1023]),
        ("1-65535", [1, 65535], [0]),
    ],
)
def test_ports_are_those_that_were_written(
    text: str, inside: list[int], outside: list[int]
) -> None:
    ports = parse_ports(text)
    assert all(any(port in one for one in ports) for port in inside)
    assert not any(port in one for one in ports for port in outside)
