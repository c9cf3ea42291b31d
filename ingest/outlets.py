"""What a worker may connect to besides public addresses, and at which ports, as operators say it.

Invariants: an address outside the networks that were written down, or a port outside the ranges, is
not let through; a network lets no address through where no server is (metadata, link-local,
multicast, unspecified), however wide it was written. Only an exact ``ip:port`` does.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from ingest.addresses import may_be_server

Network = IPv4Network | IPv6Network
Ports = tuple[range, ...]

# The web's own, and none of those that a system's services have.
DEFAULT_PORTS = "80,443,1024-65535"
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_MOST_PORT = 65535


def parse_networks(text: str) -> tuple[Network, ...]:
    """Return the networks of a list like ``10.1.0.0/16, fd00:1::/32``.

    Raises:
        ValueError: one of them is none: it has no length, or bits behind it.
    """
    return tuple(_parse_network(part.strip()) for part in text.split(",") if part.strip())


def parse_ports(text: str) -> Ports:
    """Return the ports of a list like ``80, 443, 1024-65535``.

    Raises:
        ValueError: it is empty, or one of them is no port and no range of ports.
    """
    found = tuple(_parse_range(part.strip()) for part in text.split(",") if part.strip())
    if not found:
        raise ValueError("has no port in it; write 80,443 for the usual ones")
    return found


def covers(networks: tuple[Network, ...], address: str) -> bool:
    """Return whether one of the networks lets an address through, given in canonical form."""
    ip = ip_address(address)
    return any(ip in one for one in networks) and may_be_server(ip)


def _parse_network(text: str) -> Network:
    if "/" not in text:
        raise ValueError(f"'{text}' is no network; write address/length")
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError(f"'{text}' is no network; write address/length") from None


def _parse_range(text: str) -> range:
    found = _RANGE.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text}' is no port and no range of ports")
    first = int(found[1])
    last = first if found[2] is None else int(found[2])
    if not 1 <= first <= last <= _MOST_PORT:
        raise ValueError(f"'{text}' is no range of ports between 1 and {_MOST_PORT}")
    return range(first, last + 1)
