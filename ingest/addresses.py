"""Which IP addresses a worker may connect to, and why not the others.

Our own table, because the standard library's ``is_global`` is wrong for 23 special addresses on
Python 3.11 and no library judges embedded IPv4 (docs/decisions.md). Sources: the IANA registries of
special-purpose addresses (RFC 6890 and what followed), RFC 6052 (NAT64), RFC 3056 (6to4), RFC 4380
(Teredo), RFC 4291.

Invariants: IPv6 passes only inside 2000::/3 and outside every special range there; an IPv6 address
that carries an IPv4 address is refused whatever the IPv4 is, since nothing public needs that form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

IpAddress = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Verdict:
    """``allowed`` or not, and the ``reason``: a stable word for logs and errors."""

    allowed: bool
    reason: str


_PUBLIC = Verdict(allowed=True, reason="public")

# First match wins, so the narrow ranges stand before the wide ones.
_IPV4_REFUSED: tuple[tuple[IPv4Network, str], ...] = tuple(
    (IPv4Network(network), reason)
    for network, reason in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.100.100.200/32", "metadata"),
        ("100.64.0.0/10", "cgnat"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.169.254/32", "metadata"),
        ("169.254.170.2/32", "metadata"),
        ("169.254.0.0/16", "link_local"),
        ("172.16.0.0/12", "private"),
        ("168.63.129.16/32", "metadata"),
        ("192.0.0.192/32", "metadata"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "reserved"),
        ("192.52.193.0/24", "reserved"),
        ("192.88.99.0/24", "embedded_ipv4"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "reserved"),
        ("198.18.0.0/15", "benchmark"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("255.255.255.255/32", "broadcast"),
        ("240.0.0.0/4", "reserved"),
    )
)

_IPV6_REFUSED: tuple[tuple[IPv6Network, str], ...] = tuple(
    (IPv6Network(network), reason)
    for network, reason in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "embedded_ipv4"),
        ("::ffff:0:0:0/96", "embedded_ipv4"),
        ("::/96", "embedded_ipv4"),
        ("64:ff9b::/96", "embedded_ipv4"),
        ("64:ff9b:1::/48", "embedded_ipv4"),
        ("100::/64", "reserved"),
        ("100:0:0:1::/64", "reserved"),
        ("2001::/32", "embedded_ipv4"),
        ("2001:2::/48", "benchmark"),
        ("2001:db8::/32", "documentation"),
        ("2001::/23", "reserved"),
        ("2002::/16", "embedded_ipv4"),
        ("2620:4f:8000::/48", "reserved"),
        ("3fff::/20", "documentation"),
        ("5f00::/16", "reserved"),
        ("fd00:ec2::254/128", "metadata"),
        ("fd20:ce::254/128", "metadata"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link_local"),
        ("fec0::/10", "site_local"),
        ("ff00::/8", "multicast"),
    )
)
# What no server of an operator's has for its address, wherever a name of theirs may lead.
_NO_SERVERS = frozenset(
    {"broadcast", "link_local", "metadata", "multicast", "unspecified", "zone_id"}
)
# So short that no number of it takes long to read.
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20}", re.ASCII)
_NAT64 = IPv6Network("64:ff9b::/96")
_IPV6_GLOBAL = IPv6Network("2000::/3")


def read_numeric_host(host: str) -> IpAddress | None:
    """Return the address that a URL's host is, in whatever way it is written; None for a name.

    An IPv4 address may have one to four numbers, each in base 8, 10 or 16, the last of which fills
    what the others leave (inet_aton; "IPv4 parser" of the URL Standard).
    """
    text = host.removesuffix(".")
    try:
        return ip_address(text)
    except ValueError:
        pass
    parts = text.split(".")
    if len(parts) > 4 or not all(map(_NUMBER.fullmatch, parts)):
        return None
    numbers = [_read_number(part) for part in parts]
    *first, last = numbers
    if None in numbers or any(number > 255 for number in first if number is not None):
        return None
    if last is None or last >= 256 ** (5 - len(parts)):
        return None
    heads = sum((number or 0) << 8 * (3 - place) for place, number in enumerate(first))
    return IPv4Address(heads + last)


def _read_number(text: str) -> int | None:
    is_octal = len(text) > 1 and text[0] == "0" and text[1] not in "xX"
    try:
        return int(text, 8 if is_octal else 0)
    except ValueError:
        return None


def classify(address: IpAddress | str) -> Verdict:
    """Judge one address.

    Args:
        address: an address object, or its canonical text form (as a resolver gives it).

    Raises:
        ValueError: the text is no IP address.
    """
    ip = ip_address(address) if isinstance(address, str) else address
    if isinstance(ip, IPv4Address):
        for network4, reason in _IPV4_REFUSED:
            if ip in network4:
                return Verdict(allowed=False, reason=reason)
        return _PUBLIC
    if ip.scope_id is not None:
        return Verdict(allowed=False, reason="zone_id")
    for network6, reason in _IPV6_REFUSED:
        if ip in network6:
            return Verdict(allowed=False, reason=reason)
    return _PUBLIC if ip in _IPV6_GLOBAL else Verdict(allowed=False, reason="reserved")


def may_be_server(address: IpAddress | str) -> bool:
    """Return whether a server of the operator's, which may be private, can have an address.

    What carries an IPv4 address is judged by that one.

    Raises:
        ValueError: the text is no IP address.
    """
    ip = ip_address(address) if isinstance(address, str) else address
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip in _NAT64:
            ip = IPv4Address(int(ip) & 0xFFFFFFFF)
    return classify(ip).reason not in _NO_SERVERS
