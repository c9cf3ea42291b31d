"""``s3://`` URLs: what an order takes, and what only looks like one."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import FieldInvalid
from ingest.urls import (
    MAX_URL_BYTES,
    ObjectUrl,
    SourceUrl,
    parse_order_url,
    parse_source_url,
    parse_stored_url,
)

TAKEN = {
    "plain": ("s3://archive/a.mp4", "archive", "a.mp4", "s3://archive/a.mp4"),
    "scheme_in_capitals": ("S3://archive/a", "archive", "a", "s3://archive/a"),
    "folders": ("s3://archive/a/b/c.mp4", "archive", "a/b/c.mp4", "s3://archive/a/b/c.mp4"),
    "dotted_name": ("s3://a.b-c.1/k", "a.b-c.1", "k", "s3://a.b-c.1/k"),
    "space": ("s3://archive/a%20b", "archive", "a b", "s3://archive/a%20b"),
    "plus": ("s3://archive/a+b", "archive", "a+b", "s3://archive/a+b"),
    "encoded_plus": ("s3://archive/a%2Bb", "archive", "a+b", "s3://archive/a+b"),
    "percent": ("s3://archive/100%25", "archive", "100%", "s3://archive/100%25"),
    "twice_encoded": ("s3://archive/a%2520b", "archive", "a%20b", "s3://archive/a%2520b"),
    "question_mark": ("s3://archive/a%3Fb", "archive", "a?b", "s3://archive/a%3Fb"),
    "hash": ("s3://archive/a%23b", "archive", "a#b", "s3://archive/a%23b"),
    "unicode": ("s3://archive/\u00fc\U0001f3ac", "archive", "\u00fc\U0001f3ac",
                "s3://archive/%C3%BC%F0%9F%8E%AC"),
    "encoded_unicode": ("s3://archive/%c3%bc", "archive", "\u00fc", "s3://archive/%C3%BC"),
    "encoded_slash": ("s3://archive/a%2Fb", "archive", "a/b", "s3://archive/a/b"),
    "two_slashes": ("s3://archive//a", "archive", "/a", "s3://archive//a"),
    "slash_at_the_end": ("s3://archive/a/", "archive", "a/", "s3://archive/a/"),
    "dots_in_a_name": ("s3://archive/a..b/...", "archive", "a..b/...", "s3://archive/a..b/..."),
    "at": ("s3://archive/a@b:c", "archive", "a@b:c", "s3://archive/a@b:c"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "connection", "key", "normal"), TAKEN.values(), ids=TAKEN)
def test_an_object_is_a_connection_and_a_decoded_key(
    text: str, connection: str, key: str, normal: str
) -> None:
    url = parse_order_url(text)
    assert url == ObjectUrl(connection, key)
    assert str(url) == normal
    assert parse_order_url(normal) == url


REFUSED = {
    "nothing": ("s3:", "names no connection"),
    "no_slashes": ("s3:archive/a", "names no connection"),
    "no_name": ("s3:///a", "names no connection"),
    "no_key": ("s3://archive", "names no key"),
    "empty_key": ("s3://archive/", "names no key"),
    "capitals": ("s3://Archive/a", "names no connection"),
    "underscore": ("s3://a_b/a", "names no connection"),
    "user": ("s3://key:secret@archive/a", "names no connection"),
    "port": ("s3://archive:80/a", "names no connection"),
    "encoded_name": ("s3://%61rchive/a", "names no connection"),
    "long_name": (f"s3://{'a' * 64}/a", "names no connection"),
    "query": ("s3://archive/a?versionId=1", r"has a '\?'"),
    "empty_query": ("s3://archive/a?", r"has a '\?'"),
    "fragment": ("s3://archive/a#t=1", "has a '#'"),
    "bare_percent": ("s3://archive/100%", "two hexadecimal digits"),
    "latin_1": ("s3://archive/%fc", "not UTF-8"),
    "surrogate": ("s3://archive/%ed%a0%80", "not UTF-8"),
    "nul": ("s3://archive/a%00", "control character"),
    "line_end": ("s3://archive/a%0A", "control character"),
    "bare_space": ("s3://archive/a b", r"U\+0020"),
    "backslash": ("s3://archive/a\\b", "percent-encode it"),
    "dot_dot": ("s3://archive/a/../b", "'.' or '..'"),
    "encoded_dot_dot": ("s3://archive/a/%2E%2e/b", "'.' or '..'"),
    "encoded_slashes": ("s3://archive/a%2F..%2Fb", "'.' or '..'"),
    "backslashes_for_slashes": ("s3://archive/a%5C..%5Cb", "'.' or '..'"),
    "dot": ("s3://archive/./a", "'.' or '..'"),
    "long_key": (f"s3://archive/{'a' * 1025}", "longer than 1024"),
    "long_key_in_bytes": (f"s3://archive/{'%C3%BC' * 513}", "longer than 1024"),
    "too_long": (f"s3://archive/{'a' * MAX_URL_BYTES}", "longer than 8192"),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_bad_object_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(FieldInvalid, match=reason) as caught:
        parse_order_url(text)
    assert caught.value.param == "url"
    assert "secret" not in caught.value.message
    assert len(caught.value.message) < 200


def test_the_longest_key_has_1024_bytes() -> None:
    url = parse_order_url(f"s3://archive/{'%C3%BC' * 512}")
    assert isinstance(url, ObjectUrl)
    assert len(url.key.encode()) == 1024


def test_a_source_url_is_never_an_object() -> None:
    # Redirects are parsed so.
    with pytest.raises(FieldInvalid, match="scheme 's3'; it takes http or https"):
        parse_source_url("s3://archive/a")


def test_an_order_takes_what_a_source_takes() -> None:
    url = parse_order_url("HTTPS://Media.Example:443/a?b")
    assert isinstance(url, SourceUrl)
    assert url == parse_source_url("https://media.example/a?b")


@pytest.mark.parametrize("text", ["ftp://h/a", "s3a://archive/a", "file:///etc/passwd"])
def test_an_order_of_another_scheme_is_told_all_three(text: str) -> None:
    with pytest.raises(FieldInvalid, match="it takes http, https or s3"):
        parse_order_url(text)


@given(text=st.text(max_size=40))
def test_any_text_is_an_object_or_a_refusal(text: str) -> None:
    try:
        url = parse_order_url(f"s3://archive/{text}")
    except FieldInvalid:
        return
    assert isinstance(url, ObjectUrl)
    assert parse_order_url(str(url)) == url
    assert str(url).isascii()


@given(key=st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=60))
def test_every_key_has_a_url(key: str) -> None:
    try:
        url = parse_order_url(str(ObjectUrl("archive", key)))
    except FieldInvalid as error:
        assert "'.' or '..'" in error.message  # noqa: PT017 - the only reason there may be
        return
    assert url == ObjectUrl("archive", key)
    assert unquote(url.path) == f"/{key}"


FILE_ID = "file_01m859r1yny08r1ap8hz69hcss"


def test_what_was_sent_has_a_url_that_nobody_can_order() -> None:
    url = ObjectUrl.of_upload(FILE_ID)
    assert (str(url), url.redacted) == (f"upload:{FILE_ID}", f"upload:{FILE_ID}")
    assert (url.key, url.is_upload) == (f".headrace/uploads/{FILE_ID}", True)
    assert parse_stored_url(str(url)) == url
    with pytest.raises(FieldInvalid, match="'upload'"):
        parse_order_url(str(url))


@pytest.mark.parametrize("rest", ["", "x", "../a", f"{FILE_ID}/x", f"//{FILE_ID}", "task_1"])
def test_what_only_looks_like_the_url_of_what_was_sent_is_none(rest: str) -> None:
    with pytest.raises(FieldInvalid):
        parse_stored_url(f"upload:{rest}")


def test_the_url_of_any_other_order_is_read_as_it_was_written() -> None:
    for text in ("https://example.com/a?b", "s3://archive/a%20b"):
        assert parse_stored_url(text) == parse_order_url(text)
    found = parse_stored_url("s3://archive/a")
    assert isinstance(found, ObjectUrl)
    assert not found.is_upload
