"""What leads to this machine or its neighbours is refused in every spelling, unconnected.

Canaries listen on addresses of this machine; the servers of the stack are canaries of their own:
what is asked of them here would be answered by PostgreSQL, Valkey or SeaweedFS.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address

import pytest

from ingest.config import Settings
from ingest.errors import AddressBlocked, FieldInvalid, IngestError, SourceDns, SourceUnavailable
from ingest.outlets import DEFAULT_PORTS, parse_ports
from ingest.urls import parse_source_url
from ingest.webhooks import WebhookRules, parse_webhook_url
from tests.support.canary import Canary
from tests.support.figures import Figures
from tests.support.origin import Origin
from tests.support.spellings import spell
from workers.egress import Egress, Policy
from workers.fetch import Limits, open_source

pytestmark = pytest.mark.security

LIMITS = Limits(
    max_bytes=1000, total_timeout_s=30, lowest_bps=1, lowest_window_s=30, max_redirects=2
)
OWN = [f"127.0.0.{last}" for last in range(1, 10)]
OTHERS = ["0.0.0.0", "10.0.0.1", "100.64.0.1", "169.254.169.254", "172.16.0.1", "192.168.0.1"]
NAMES = [
    "localhost", "LOCALHOST", "localhost.", "ip6-localhost", "\u24db\u24de\u24d2alhost",
    "[::1]", "[::]", "[0:0::0:1]", "[::0001]", "[::1%25lo]", "[fe80::1%25lo]", "[::1].",
]  # fmt: skip
RULES = WebhookRules(takes_http=True, ports=parse_ports(DEFAULT_PORTS))
# Just outside of what is special; the first and the last of what is public between two ranges.
PUBLIC = [
    "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
    "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0",
    "191.255.255.255", "192.0.1.0", "192.0.3.0", "192.88.98.255", "192.88.100.0",
    "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255",
    "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255",
    "2000::", "2001:200::", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::", "2003::",
    "3ffe::", "3fff:1000::",
]  # fmt: skip


@dataclass(slots=True)
class Tried:
    """How many URLs were tried, and which were not refused for what they are.

    ``passed`` are the public neighbours that were connected to, as they should be.
    """

    hosts: set[str] = field(default_factory=set)
    urls: int = 0
    followed: list[str] = field(default_factory=list)
    passed: int = 0

    def try_all(self, refuse: Callable[[str], bool], urls: Mapping[str, str]) -> list[str]:
        """Return those of some URLs, by their hosts, that ``refuse`` does not refuse."""
        followed = [url for url in urls.values() if not refuse(url)]
        self.hosts |= urls.keys()
        self.urls += len(urls)
        self.followed += followed
        return followed


@pytest.fixture(scope="module")
def canaries() -> Iterator[dict[str, Canary]]:
    """A listener on each of this machine's addresses."""
    with ExitStack() as held:
        yield {host: held.enter_context(Canary(host=host)) for host in [*OWN, "::1"]}


@pytest.fixture(scope="module")
def tried(canaries: dict[str, Canary], security_figures: Figures) -> Iterator[Tried]:
    """What was tried as a URL."""
    yield from _tell("S1", "hostile URLs", canaries, security_figures)


@pytest.fixture(scope="module")
def redirected(canaries: dict[str, Canary], security_figures: Figures) -> Iterator[Tried]:
    """What was tried behind a redirect."""
    yield from _tell("S2", "hostile redirects", canaries, security_figures)


@pytest.fixture(scope="module")
def told(canaries: dict[str, Canary], security_figures: Figures) -> Iterator[Tried]:
    """What was tried as a receiver of webhooks."""
    yield from _tell("S2", "hostile receivers of webhooks", canaries, security_figures)


def _tell(name: str, what: str, canaries: dict[str, Canary], figures: Figures) -> Iterator[Tried]:
    tried = Tried()
    yield tried
    done = f"{tried.urls} {what} of {len(tried.hosts)} hosts, canaries on {len(canaries)} addresses"
    with figures.row(name, done) as row:
        row.note("each is refused", tried.followed or 0, held=not tried.followed)
        reached = sum(one.count_connections() for one in canaries.values())
        row.note("no canary sees a connection", reached, held=reached == 0)
        if name == "S1":
            row.note("20 public neighbours and more pass", tried.passed, held=tried.passed >= 20)


@pytest.fixture(scope="module")
def egress() -> Iterator[Egress]:
    opened = Egress(Policy(2, 2))
    yield opened
    opened.close()


def _refuse(egress: Egress, url: str) -> bool:
    """Return whether a URL is refused for what it is, and not for want of an answer."""
    try:
        egress.get(parse_source_url(url), {}).close()
    except (FieldInvalid, AddressBlocked, SourceDns):
        return True
    except IngestError:
        pass
    return False


@pytest.mark.parametrize("address", OWN)
def test_no_spelling_of_this_machine_leads_to_it(
    address: str, canaries: dict[str, Canary], egress: Egress, tried: Tried
) -> None:
    port = canaries[address].port
    urls = {host: f"http://{host}:{port}/" for host in spell(IPv4Address(address))}
    assert tried.try_all(partial(_refuse, egress), urls) == []
    assert canaries[address].count_connections() == 0


@pytest.mark.parametrize("address", OTHERS)
def test_no_spelling_of_a_neighbour_leads_to_it(address: str, egress: Egress, tried: Tried) -> None:
    urls = {host: f"http://{host}/" for host in spell(IPv4Address(address))}
    assert tried.try_all(partial(_refuse, egress), urls) == []


@pytest.mark.parametrize("host", NAMES, ids=ascii)
def test_no_name_of_this_machine_leads_to_it(
    host: str, canaries: dict[str, Canary], egress: Egress, tried: Tried
) -> None:
    for address in ("127.0.0.1", "::1"):
        urls = {host: f"http://{host}:{canaries[address].port}/"}
        assert tried.try_all(partial(_refuse, egress), urls) == []


def test_the_servers_of_the_stack_are_nobodys_sources(
    settings: Settings, egress: Egress, tried: Tried
) -> None:
    own = [settings.database_url, settings.redis_url]
    servers = [one.get_secret_value() for one in own] + [str(settings.s3_endpoint)]
    ports = {int(one.rpartition(":")[2].partition("/")[0]) for one in servers}
    assert len(ports) == 3
    for port in ports:
        urls = {host: f"http://{host}:{port}/" for host in spell(IPv4Address("127.0.0.1"))}
        assert tried.try_all(partial(_refuse, egress), urls) == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_leads_where_no_url_does(
    status: int, canaries: dict[str, Canary], origin: Origin, redirected: Tried
) -> None:
    allowed = Egress(Policy(2, 2, frozenset({f"127.0.0.1:{origin.port}"})))
    port = canaries["127.0.0.2"].port

    def refuse(url: str) -> bool:
        behind = origin.redirect("/spelled", url, status)
        try:
            open_source(allowed, parse_source_url(behind), LIMITS).close()
        except IngestError as error:
            # A Location with a line break in it is no header at all.
            return error.code in {"address_blocked", "source_dns", "source_invalid"}
        return False

    with closing(allowed):
        for address in ("127.0.0.2", *OTHERS):
            urls = {host: f"http://{host}:{port}/" for host in spell(IPv4Address(address))}
            assert redirected.try_all(refuse, urls) == []


@pytest.mark.parametrize("address", [*OWN, *OTHERS])
def test_no_webhook_is_sent_where_no_url_leads(
    address: str, canaries: dict[str, Canary], egress: Egress, told: Tried
) -> None:
    port = canaries[address].port if address in canaries else 80
    urls = {host: f"http://{host}:{port}/" for host in spell(IPv4Address(address))}
    names = NAMES if address == OWN[0] else []
    urls |= {host: f"http://{host}:{port}/" for host in names}

    def refuse(url: str) -> bool:
        """A sender trusts no row: what was let in once is judged again where it is connected to."""
        try:
            egress.post(parse_source_url(url), {}, b"{}", limit_s=4).close()
        except (FieldInvalid, AddressBlocked, SourceDns):
            return True
        except IngestError:
            pass
        return False

    assert told.try_all(refuse, urls) == []
    # What is an address itself is refused before anything is kept.
    for host in (address, f"0x{int(IPv4Address(address)):x}", f"[::ffff:{address}]"):
        with pytest.raises(FieldInvalid, match="not public"):
            parse_webhook_url(f"http://{host}:{max(port, 1024)}/", RULES)


def test_three_hundred_spellings_and_more_are_tried() -> None:
    tried = {host for address in [*OWN, *OTHERS] for host in spell(IPv4Address(address))}
    assert len(tried | set(NAMES)) >= 300


@pytest.mark.parametrize("address", PUBLIC)
def test_what_lies_just_outside_is_connected_to(
    address: str, egress: Egress, monkeypatch: pytest.MonkeyPatch, tried: Tried
) -> None:
    asked: list[tuple[str, int]] = []

    def connect(server: tuple[str, int], *_: object, **__: object) -> socket.socket:
        asked.append(server)
        raise OSError("nothing leaves this machine")

    monkeypatch.setattr(socket, "create_connection", connect)
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(SourceUnavailable):
        egress.get(parse_source_url(f"http://{host}/"), {})
    assert asked == [(address, 80)]
    tried.passed += 1
