"""Signed URLs as the stores and CDNs make them, and as nobody does."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import FieldInvalid
from ingest.signed_urls import find_expiry, find_host

BUCKET = "https://bucket.s3.eu-west-1.amazonaws.com/a.mp4"
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
EPOCH_S = 1767225600


def make_policy(text: str) -> str:
    """Return a policy as CloudFront takes it in a query."""
    return base64.b64encode(text.encode()).decode().translate(str.maketrans("+=/", "-_~"))


POLICY = json.dumps(
    {
        "Statement": [
            {
                "Resource": "https://cdn.example/*?>",
                "Condition": {
                    "DateGreaterThan": {"AWS:EpochTime": 1},
                    "DateLessThan": {"AWS:EpochTime": EPOCH_S},
                },
            }
        ]
    }
)
SIGNED = {
    "sigv4": "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20251231%2Feu-west-1%2Fs3"
    "%2Faws4_request&X-Amz-Date=20251231T230000Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host"
    "&X-Amz-Signature=fe5f80",
    "sigv4_in_lower_case": "x-amz-date=20251231T230000Z&x-amz-expires=3600&x-amz-signature=f",
    "google_v4": "X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Date=20251231T230000Z"
    "&X-Goog-Expires=3600&X-Goog-SignedHeaders=host&X-Goog-Signature=24",
    "sigv2": f"AWSAccessKeyId=AKIA&Signature=vjbyPxybdZaNmGa%2ByT272YEAiv4%3D&Expires={EPOCH_S}",
    "google_v2": f"GoogleAccessId=a%40b.example&Expires={EPOCH_S}&Signature=x",
    "cloudfront_canned": f"Expires={EPOCH_S}&Signature=nitfHRCrtziwO2&Key-Pair-Id=K2JCJMDEHXQW5F",
    "cloudfront_custom": f"Policy={make_policy(POLICY)}&Signature=x&Key-Pair-Id=K2",
    "azure": "sv=2022-11-02&sr=b&st=2025-12-31T00%3A00%3A00Z&se=2026-01-01T00%3A00%3A00Z&sig=x",
    "azure_to_the_minute": "se=2026-01-01T00:00Z&sig=x",
    "azure_to_the_tick": "se=2026-01-01T00:00:00.0000000Z&sig=x",
    "azure_with_an_offset": "se=2026-01-01T02:00:00%2B02:00&sig=x",
    "azure_date_alone": "se=2026-01-01&sig=x",
    "the_first_of_two_ends": f"X-Amz-Date=20251231T230000Z&X-Amz-Expires=7200&Expires={EPOCH_S}",
    "the_first_of_two_values": f"Expires={EPOCH_S}&Expires=1",
    "one_end_of_two_malformed": f"Expires={EPOCH_S}&se=soon",
}


@pytest.mark.parametrize("query", SIGNED.values(), ids=SIGNED.keys())
def test_the_end_of_a_signed_url_is_found(query: str) -> None:
    assert find_expiry(f"{BUCKET}?{query}") == NEW_YEAR
    assert find_expiry(f"{BUCKET}?a=b&{query}&response-content-type=video%2Fmp4#x") == NEW_YEAR


def test_the_end_is_given_in_utc() -> None:
    for query in SIGNED.values():
        end = find_expiry(f"{BUCKET}?{query}")
        assert end is not None
        assert end.tzinfo is UTC


@pytest.mark.parametrize(
    "query",
    [
        "",
        "a=b",
        "X-Amz-Date=20251231T230000Z",
        "X-Amz-Expires=3600",
        "X-Amz-Date=20251231T230000Z&X-Goog-Expires=3600",
        "X-Amz-Date=2025-12-31T23:00:00Z&X-Amz-Expires=3600",
        "X-Amz-Date=20251331T230000Z&X-Amz-Expires=3600",
        "X-Amz-Date=20251231T230000Z&X-Amz-Expires=-1",
        "X-Amz-Date=20251231T230000Z&X-Amz-Expires=1h",
        "X-Amz-Date=20251231T230000Z&X-Amz-Expires=999999999999",
        "X-Amz-Date=00000101T000000Z&X-Amz-Expires=1",
        "Expires=",
        "Expires=soon",
        "Expires=-1",
        "Expires=1.5",
        "Expires=\u0661\u0660",
        # Milliseconds, and the year 10000.
        "Expires=1767225600000",
        "Expires=253402300800",
        "Expires=" + "9" * 5000,
        "Expires=Thu,%2001%20Jan%202026%2000:00:00%20GMT",
        "se=",
        "se=20260101",
        "se=2026-W01",
        "se=2026-13-01",
        "se=2026-01-01T25:00Z",
        "se=2026-01-01T00:00:00",
        "se=0001-01-01T00:00%2B01:00",
        "se=9999-12-31T23:59-01:00",
        "se=10000-01-01",
        "Policy=",
        "Policy=x",
        "Policy=%C3%A4",
        "Policy=" + make_policy("{}"),
        "Policy=" + make_policy('{"DateLessThan": {"AWS:EpochTime": -1}}'),
        "Policy=" + make_policy('{"DateLessThan": {"AWS:EpochTime": 253402300800}}'),
        "Policy=" + make_policy("[" * 6000),
        "Policy=" + base64.b64encode(b"\xff\xfe").decode(),
    ],
)
def test_what_makes_no_sense_is_no_end(query: str) -> None:
    assert find_expiry(f"{BUCKET}?{query}") is None


def test_only_the_query_is_read() -> None:
    assert find_expiry(f"https://media.example/Expires={EPOCH_S}#?Expires={EPOCH_S}") is None


@given(st.text())
def test_nothing_makes_the_reader_raise(text: str) -> None:
    find_expiry(text)
    find_expiry(f"{BUCKET}?Expires={text}&se={text}&Policy={text}")
    find_expiry(f"{BUCKET}?X-Amz-Date={text}&X-Amz-Expires={text}")


@given(st.integers(0, 253402300799))
def test_every_second_of_the_calendar_is_an_end(epoch_s: int) -> None:
    end = find_expiry(f"{BUCKET}?Expires={epoch_s}")
    assert end is not None
    assert end.timestamp() == epoch_s


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Media.Example/a", "media.example"),
        ("https://media.example:8443/a", "media.example"),
        ("https://media.example./a", "media.example"),
        ("https://b\u00fccher.example/a", "xn--bcher-kva.example"),
        ("http://192.0.2.1:81/a", "192.0.2.1"),
        ("http://[2001:DB8::1]:81/a", "2001:db8::1"),
        # No host is called so: a connection never shares another's limit.
        ("s3://archive/a", "s3:archive"),
        ("S3://media.example/a", "s3:media.example"),
    ],
)
def test_a_host_has_one_spelling_and_no_port(url: str, host: str) -> None:
    assert find_host(url) == host


def test_a_url_that_is_none_has_no_host() -> None:
    with pytest.raises(FieldInvalid):
        find_host("media.example/a")
