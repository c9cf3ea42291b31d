"""Addresses that are nobody's business: blocked in every spelling, with no connection made."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.api import Api, read_error, read_object
from tests.support.canary import Canary
from tests.support.origin import Origin

# The canary listens on 127.0.0.1; all of these lead there, or would to a careless client.
LOOPBACK = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.0.0.2",
    "127.255.255.254",
    "2130706433",
    "0x7f000001",
    "0x7F.0x0.0x0.0x1",
    "0x7f.1",
    "0177.0.0.1",
    "0177.0.0.0x1",
    "017700000001",
    "00000177.0.0.1",
    "0",
    "0.0.0.0",
    "0x0",
    "localhost",
    "LocalHost",
    "localhost.",
    "127.0.0.1.",
    "127.1.",
    "0x7f000001.",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::FFFF:7f00:1]",
    "[::127.0.0.1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "\uff11\uff12\uff17.0.0.1",
    "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460",
    "127\u30020\uff0e0\uff611",
    "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",
]
ELSEWHERE = [
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "0xc0.0xa8.1",
    "3232235521",
    "169.254.169.254",
    "0xa9fea9fe",
    "2852039166",
    "0251.0376.0251.0376",
    "169.254.43518",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
    "100.100.100.200",
    "168.63.129.16",
    "100.64.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "[fc00::1]",
    "[fe80::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[2001:db8::1]",
    "[100::1]",
    "[3fff::1]",
    "[4000::1]",
]
# The form itself is refused, before anything is promised.
REFUSED = [
    "127%2e0%2e0%2e1",
    "%6c%6f%63%61%6c%68%6f%73%74",
    "[::1%25lo]",
    "[fe80::1%eth0]",
    "[127.0.0.1]",
    "[::ffff:127.1]",
    "127.0.0.1\\@nowhere.invalid",
    "nowhere.invalid@127.0.0.1",
    "127.0.0.1\t",
    "127.0.0.1\u200b",
    "127.0.0.1\uff0fnowhere.invalid",
    "127..1",
    ".127.0.0.1",
    "",
]
UNRESOLVED = ["256.0.0.1", "127.0.0.1.1", "1e2.0.0.1", "127.0.0.0x", "0x7f000001.com.invalid"]


@pytest.fixture(scope="module")
def canary() -> Iterator[Canary]:
    with Canary() as listening:
        yield listening
        assert listening.count_connections() == 0


def _expect(api: Api, url: str, code: str, canary: Canary) -> str:
    error = read_error(api.post("/files", {"url": url}), 422, code)
    assert canary.count_connections() == 0
    return str(error["message"])


@pytest.mark.parametrize("host", LOOPBACK, ids=ascii)
def test_this_machine_is_blocked_in_every_spelling(host: str, api: Api, canary: Canary) -> None:
    message = _expect(api, canary.url("/a.mp4", host=host), "address_blocked", canary)
    assert "does not connect to" in message


@pytest.mark.parametrize("host", ELSEWHERE)
def test_private_and_special_addresses_are_blocked_in_every_spelling(
    host: str, api: Api, canary: Canary
) -> None:
    _expect(api, f"http://{host}/latest/meta-data/", "address_blocked", canary)


@pytest.mark.parametrize("host", REFUSED, ids=ascii)
def test_a_host_in_a_form_that_readers_disagree_on_is_refused_at_once(
    host: str, api: Api, canary: Canary
) -> None:
    _expect(api, canary.url("/a.mp4", host=host), "field_invalid", canary)


@pytest.mark.parametrize("host", UNRESOLVED)
def test_what_is_nearly_an_address_does_not_resolve(host: str, api: Api, canary: Canary) -> None:
    _expect(api, canary.url("/a.mp4", host=host), "source_dns", canary)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_this_machine_is_blocked(
    scheme: str, status: int, api: Api, origin: Origin, canary: Canary
) -> None:
    target = canary.url("/a.mp4").replace("http", scheme)
    url = origin.redirect(f"/blocked/{status}/{scheme}", target, status)
    _expect(api, url, "address_blocked", canary)


@pytest.mark.parametrize("host", LOOPBACK + ELSEWHERE, ids=ascii)
def test_a_redirect_is_blocked_in_every_spelling(
    host: str, api: Api, origin: Origin, canary: Canary
) -> None:
    url = origin.redirect("/blocked/spelling", canary.url("/a.mp4", host=host))
    _expect(api, url, "address_blocked", canary)


@pytest.mark.parametrize("host", REFUSED, ids=ascii)
def test_a_redirect_to_a_host_that_readers_disagree_on_is_refused(
    host: str, api: Api, origin: Origin, canary: Canary
) -> None:
    url = origin.redirect("/blocked/form", canary.url("/a.mp4", host=host))
    _expect(api, url, "source_invalid", canary)


def test_a_redirect_without_a_scheme_is_blocked_too(
    api: Api, origin: Origin, canary: Canary
) -> None:
    url = origin.redirect("/blocked/relative", f"//127.0.0.1:{canary.port}/a.mp4")
    _expect(api, url, "address_blocked", canary)


def test_the_last_of_several_redirects_is_blocked_as_the_first_is(
    api: Api, origin: Origin, canary: Canary
) -> None:
    origin.redirect("/blocked/last", canary.url("/a.mp4", host="[::ffff:127.0.0.1]"))
    origin.redirect("/blocked/middle", "last")
    url = origin.redirect("/blocked/first", "middle")
    _expect(api, url, "address_blocked", canary)


def test_an_exception_is_for_its_exact_address_and_port_alone(
    api: Api, origin: Origin, canary: Canary, picture: bytes
) -> None:
    origin.serve("/excepted.jpg", picture)
    for host in ("127.0.0.2", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"):
        before = origin.connection_count
        _expect(api, origin.url("/excepted.jpg", host=host), "address_blocked", canary)
        assert origin.connection_count == before
    # Another spelling of the very address that is excepted is still that address.
    read_object(api.post("/files", {"url": origin.url("/excepted.jpg", host="2130706433")}), 201)


def test_what_is_blocked_is_told_without_the_address_that_a_name_has(
    api: Api, canary: Canary
) -> None:
    message = _expect(api, canary.url("/", host="localhost"), "address_blocked", canary)
    assert message == "'localhost' is at an address Headrace does not connect to (loopback)."


def test_the_services_of_the_stack_itself_are_blocked(api: Api, canary: Canary) -> None:
    for path in ("/healthz", "/metrics", "/files"):
        _expect(api, api.url + path, "address_blocked", canary)
