"""URLs of endpoints: https, and no address that is not everybody's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ingest.errors import FieldInvalid
from ingest.outlets import DEFAULT_PORTS, parse_networks, parse_ports
from ingest.webhooks import WebhookRules, parse_webhook_url

RULES = WebhookRules(takes_http=False, ports=parse_ports(DEFAULT_PORTS))
TAKES_HTTP = replace(RULES, takes_http=True)


@pytest.mark.parametrize(
    "text",
    ["https://example.com/hook", "https://example.com:8443/a?b=c", "https://93.184.215.14/"],
)
def test_a_public_url_is_taken(text: str) -> None:
    assert str(parse_webhook_url(text, RULES)) == text


def test_http_is_taken_where_it_may_be() -> None:
    assert str(parse_webhook_url("http://example.com/", TAKES_HTTP)) == "http://example.com/"
    with pytest.raises(FieldInvalid, match="'webhook_url' must be an https URL"):
        parse_webhook_url("http://example.com/", RULES, param="webhook_url")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("https://127.0.0.1/", "loopback"),
        ("https://10.0.0.1/", "private"),
        ("https://169.254.169.254/latest", "metadata"),
        ("https://[::1]/", "loopback"),
        ("https://[::ffff:8.8.8.8]/", "embedded_ipv4"),
        ("https://0.0.0.0/", "unspecified"),
    ],
)
def test_an_address_that_is_not_public_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(FieldInvalid, match=rf"not public \({reason}\)") as refused:
        parse_webhook_url(text, RULES)
    assert refused.value.param == "url"


@pytest.mark.parametrize(
    "text", ["", "example.com", "ftp://example.com/", "https://a:b@example.com/", "https://a b/"]
)
def test_what_is_no_url_is_refused_as_a_sources_is(text: str) -> None:
    with pytest.raises(FieldInvalid, match="'url'"):
        parse_webhook_url(text, TAKES_HTTP)


def test_a_port_that_is_not_let_through_is_refused() -> None:
    with pytest.raises(FieldInvalid, match="'url' leads to port 22, which is not let through"):
        parse_webhook_url("https://example.com:22/", RULES)


def test_what_the_operator_has_excepted_is_taken_and_its_neighbours_are_not() -> None:
    rules = replace(RULES, allowed=frozenset({"127.0.0.1:22", "[::1]:8443"}))
    for text in ("https://127.0.0.1:22/hook", "https://[::1]:8443/"):
        assert str(parse_webhook_url(text, rules)) == text
    for text in ("https://127.0.0.1/", "https://127.0.0.2:22/", "https://[::1]/"):
        with pytest.raises(FieldInvalid, match="'url' leads to"):
            parse_webhook_url(text, rules)
    within = replace(RULES, networks=parse_networks("10.1.0.0/16"))
    assert str(parse_webhook_url("https://10.1.2.3/", within)) == "https://10.1.2.3/"
    with pytest.raises(FieldInvalid, match="not public"):
        parse_webhook_url("https://10.2.2.3/", within)
