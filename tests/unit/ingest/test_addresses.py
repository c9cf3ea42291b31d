"""Every special range at its edges, and the neighbours just outside them.

The expectations are written out from the IANA registries of special-purpose addresses, not derived
from the code's own table.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.addresses import classify, may_be_server, read_numeric_host

# A reason, then addresses that must be refused for it: first and last of each range come first.
REFUSED = """
# 0.0.0.0/8
unspecified  0.0.0.0 0.0.0.1 0.255.255.255
# 10.0.0.0/8
private  10.0.0.0 10.255.255.255 10.1.2.3
# 100.64.0.0/10
cgnat  100.64.0.0 100.127.255.255 100.100.100.199 100.100.100.201
# 127.0.0.0/8
loopback  127.0.0.0 127.0.0.1 127.255.255.255
# 169.254.0.0/16
link_local  169.254.0.0 169.254.255.255 169.254.169.253 169.254.169.255 169.254.170.1
    169.254.170.23
# 172.16.0.0/12
private  172.16.0.0 172.31.255.255
# 192.0.0.0/24: DS-Lite, the dummy address, PCP and TURN anycast, NAT64 discovery
reserved  192.0.0.0 192.0.0.7 192.0.0.8 192.0.0.9 192.0.0.10 192.0.0.170 192.0.0.171 192.0.0.255
# 192.0.2.0/24
documentation  192.0.2.0 192.0.2.255
# 192.31.196.0/24
reserved  192.31.196.0 192.31.196.255
# 192.52.193.0/24
reserved  192.52.193.0 192.52.193.255
# 192.88.99.0/24
embedded_ipv4  192.88.99.0 192.88.99.2 192.88.99.255
# 192.168.0.0/16
private  192.168.0.0 192.168.255.255
# 192.175.48.0/24
reserved  192.175.48.0 192.175.48.255
# 198.18.0.0/15
benchmark  198.18.0.0 198.19.255.255
# 198.51.100.0/24
documentation  198.51.100.0 198.51.100.255
# 203.0.113.0/24
documentation  203.0.113.0 203.0.113.255
# 224.0.0.0/4
multicast  224.0.0.0 224.0.0.251 239.255.255.255
# 240.0.0.0/4
reserved  240.0.0.0 255.255.255.254
# 255.255.255.255/32
broadcast  255.255.255.255
# metadata: AWS, GCP and Azure; ECS tasks; Alibaba; Azure's wire server; Oracle
metadata  169.254.169.254 169.254.170.2 100.100.100.200 168.63.129.16 192.0.0.192
# ::/128
unspecified  ::
# ::1/128
loopback  ::1
# ::/96, IPv4-compatible
embedded_ipv4  ::2 ::127.0.0.1 ::169.254.169.254 ::8.8.8.8 ::ffff:ffff
# ::ffff:0:0/96, IPv4-mapped
embedded_ipv4  ::ffff:0.0.0.0 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254
    ::ffff:8.8.8.8 ::ffff:7f00:1 0:0:0:0:0:ffff:127.0.0.1 ::ffff:255.255.255.255
# ::ffff:0:0:0/96, IPv4-translated
embedded_ipv4  ::ffff:0:0.0.0.0 ::ffff:0:127.0.0.1 ::ffff:0:255.255.255.255
# 64:ff9b::/96, NAT64
embedded_ipv4  64:ff9b:: 64:ff9b::127.0.0.1 64:ff9b::169.254.169.254 64:ff9b::ffff:ffff
# 64:ff9b:1::/48, local NAT64
embedded_ipv4  64:ff9b:1:: 64:ff9b:1::127.0.0.1 64:ff9b:1:ffff:ffff:ffff:ffff:ffff
# 100::/64, discard
reserved  100:: 100::ffff:ffff:ffff:ffff
# 100:0:0:1::/64, dummy
reserved  100:0:0:1:: 100:0:0:1:ffff:ffff:ffff:ffff
# 2001::/32, Teredo
embedded_ipv4  2001:: 2001:0:0:0:8000:63bf:80ff:fffe 2001:0:ffff:ffff:ffff:ffff:ffff:ffff
# 2001::/23: PCP, TURN, DNS-SD anycast; AMT; AS112; ORCHID; ORCHIDv2; drone ids
reserved  2001:1::1 2001:1::2 2001:1::3 2001:3:: 2001:3:ffff:ffff:ffff:ffff:ffff:ffff 2001:4:112::
    2001:4:112:ffff:ffff:ffff:ffff:ffff 2001:10:: 2001:1f:ffff:ffff:ffff:ffff:ffff:ffff 2001:20::
    2001:2f:ffff:ffff:ffff:ffff:ffff:ffff 2001:30:: 2001:3f:ffff:ffff:ffff:ffff:ffff:ffff 2001:1::
    2001:2:1:: 2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff
# 2001:2::/48
benchmark  2001:2:: 2001:2:0:ffff:ffff:ffff:ffff:ffff
# 2001:db8::/32
documentation  2001:db8:: 2001:db8::1 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff
# 2002::/16, 6to4
embedded_ipv4  2002:: 2002:7f00:1:: 2002:a9fe:a9fe:: 2002:808:808::
    2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff
# 2620:4f:8000::/48
reserved  2620:4f:8000:: 2620:4f:8000:ffff:ffff:ffff:ffff:ffff
# 3fff::/20
documentation  3fff:: 3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff
# 5f00::/16, segment routing
reserved  5f00:: 5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff
# fc00::/7
private  fc00:: fd00:: fd00:ec2::253 fd00:ec2::23 fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
# fe80::/10
link_local  fe80:: fe80::1 febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff
# fec0::/10
site_local  fec0:: feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
# ff00::/8
multicast  ff00:: ff02::1 ff0e::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
# metadata of IPv6
metadata  fd00:ec2::254 fd20:ce::254
# outside 2000::/3 nothing is given out; just outside each special range there
reserved  ::1:0:0:0 ::fffe:ffff:ffff:ffff ::1:0:0:0:0 64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff
    64:ff9b::1:0:0 64:ff9b:2:: ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 100:0:0:2::
    1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 4000:: 5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 5f01::
    fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff fe00:: fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff
# with a zone
zone_id  fe80::1%eth0 2600::1%1 ::1%lo ::ffff:127.0.0.1%2
"""

# Just outside each range, and what people really fetch from.
PUBLIC = """
1.0.0.0 1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255
128.0.0.0 168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0
191.255.255.255 192.0.1.0 192.0.1.255 192.0.3.0 192.31.195.255 192.31.197.0 192.52.192.255
192.52.194.0 192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 192.175.47.255 192.175.49.0
198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255
2000:: 2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2001:200:: 2001:4860:4860::8888
2001:db7:ffff:ffff:ffff:ffff:ffff:ffff 2001:db9:: 2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2003::
2400:: 2600:: 2606:4700:4700::1111 2620:4f:7fff:ffff:ffff:ffff:ffff:ffff 2620:4f:8001:: 2a00::
3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff 3fff:1000:: 3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
"""


def read_table(text: str) -> list[tuple[str, str]]:
    rows = []
    reason = ""
    for line in text.splitlines():
        words = line.split()
        if line.startswith("#"):
            continue
        if words and not line.startswith(" "):
            reason = words.pop(0)
        rows += [(address, reason) for address in words]
    return rows


@pytest.mark.parametrize(("address", "reason"), read_table(REFUSED))
def test_a_special_address_is_refused_with_its_reason(address: str, reason: str) -> None:
    verdict = classify(address)
    assert not verdict.allowed
    assert verdict.reason == reason


@pytest.mark.parametrize("address", PUBLIC.split())
def test_a_public_address_passes(address: str) -> None:
    verdict = classify(address)
    assert verdict.allowed
    assert verdict.reason == "public"


def test_the_tables_are_as_long_as_they_claim_and_hold_nothing_twice() -> None:
    refused = [address for address, _ in read_table(REFUSED)]
    listed = refused + PUBLIC.split()
    assert len(refused) >= 140
    assert len(set(listed)) == len(listed)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "[::1]",
        "1",
    ],
)
def test_text_that_no_resolver_gives_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        classify(text)


def test_an_address_object_is_judged_like_its_text() -> None:
    for text in ("10.0.0.1", "8.8.8.8", "::1", "2606:4700::1"):
        assert classify(ip_address(text)) == classify(text)


@given(address=st.ip_addresses(v=4))
def test_what_the_standard_library_calls_special_is_never_let_through_as_ipv4(
    address: IPv4Address,
) -> None:
    special = (
        address.is_private
        or address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    )
    if special:
        assert not classify(address).allowed


@given(number=st.integers(0, 2**32 - 1))
def test_no_form_that_carries_an_ipv4_address_passes(number: int) -> None:
    for prefix in (0, 0xFFFF << 32, 0xFFFF << 48, 0x64FF9B << 96, 0x64FF9B0001 << 80):
        assert not classify(IPv6Address(prefix | number)).allowed
    assert not classify(IPv6Address(0x2002 << 112 | number << 80 | 1)).allowed
    # Teredo carries the server plainly and the client inverted.
    teredo = 0x20010000 << 96 | number << 64 | (number ^ 0xFFFFFFFF)
    assert not classify(IPv6Address(teredo)).allowed


@given(address=st.ip_addresses(v=6))
def test_ipv6_passes_in_2000_slash_3_alone(address: IPv6Address) -> None:
    if classify(address).allowed:
        assert int(address) >> 125 == 1


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1", True),
        ("127.0.0.1", True),
        ("100.64.0.1", True),
        ("93.184.215.14", True),
        ("fd00::1", True),
        ("::1", True),
        ("::ffff:10.0.0.1", True),
        ("64:ff9b::a00:1", True),
        ("169.254.169.254", False),
        ("168.63.129.16", False),
        ("169.254.1.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("fd00:ec2::254", False),
        ("fe80::1", False),
        ("fe80::1%1", False),
        ("::", False),
        ("ff02::1", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::a9fe:a9fe", False),
    ],
)
def test_a_server_may_be_private_and_is_nowhere_that_no_server_is(
    address: str, *, expected: bool
) -> None:
    assert may_be_server(address) is expected
    assert may_be_server(ip_address(address)) is expected


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"), ("127.0.0.1.", "127.0.0.1"), ("127.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"), ("0x7f000001", "127.0.0.1"), ("017700000001", "127.0.0.1"),
        ("0x7F.0x0.0x0.0x1", "127.0.0.1"), ("0177.0.0.0x1", "127.0.0.1"),
        ("10.65535", "10.0.255.255"), ("0", "0.0.0.0"), ("::1", "::1"),
        ("::ffff:127.0.0.1", "::ffff:7f00:1"),
    ],
)  # fmt: skip
def test_a_host_that_is_an_address_is_read_however_it_is_written(host: str, address: str) -> None:
    assert read_numeric_host(host) == ip_address(address)


@pytest.mark.parametrize(
    "host",
    ["example.com", "localhost", "1.2.3.4.5", "256.0.0.1", "1.256.1", "4294967296", "0x",
     "08.0.0.1", "127..1", "", ".", "1e2.0.0.1", "0x7f000001.com", "٣.0.0.1"],
)  # fmt: skip
def test_a_name_is_no_address(host: str) -> None:
    assert read_numeric_host(host) is None
