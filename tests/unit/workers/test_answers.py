"""The heads of answers, whole and for the rest of a file, as sources send them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import cast

import pytest

from ingest.errors import (
    IngestError,
    SourceChanged,
    SourceEmpty,
    SourceForbidden,
    SourceInvalid,
    SourceNotFound,
    SourceUnavailable,
)
from ingest.urls import parse_source_url
from tests.unit.workers.test_fetch import FakeAnswer, content_range, length
from workers.answers import Head, Resume, judge_answer
from workers.egress import Answer

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RESUME = Resume(from_byte=4, etag='"a"', size_bytes=10)
PART = Resume(from_byte=4, etag='"a"', size_bytes=10, until=7)
Pairs = list[tuple[str, str]]


def judge(
    status: int,
    headers: Sequence[tuple[str, str]] = (),
    resume: Resume | None = None,
    head_bytes: int | None = None,
) -> Head:
    answer = cast("Answer", FakeAnswer(status, headers))
    return judge_answer(answer, resume, NOW, head_bytes=head_bytes)


def etag(value: str) -> Pairs:
    return [("ETag", value)]


@pytest.mark.parametrize("resume", [None, RESUME], ids=["whole", "rest"])
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, SourceInvalid),
        (401, SourceForbidden),
        (402, SourceForbidden),
        (403, SourceForbidden),
        (404, SourceNotFound),
        (405, SourceInvalid),
        (407, SourceForbidden),
        (408, SourceUnavailable),
        (410, SourceNotFound),
        (425, SourceUnavailable),
        (429, SourceUnavailable),
        (451, SourceForbidden),
        (500, SourceUnavailable),
        (503, SourceUnavailable),
        (599, SourceUnavailable),
        (204, SourceEmpty),
        (205, SourceEmpty),
        (201, SourceInvalid),
        (304, SourceInvalid),
        (300, SourceInvalid),
    ],
)
def test_every_status_has_its_error(
    status: int, error: type[IngestError], resume: Resume | None
) -> None:
    with pytest.raises(error) as caught:
        judge(status, resume=resume)
    assert type(caught.value) is error
    assert str(status) in caught.value.message


def test_a_condition_that_nobody_set_is_no_answer_and_one_that_failed_is_another_file() -> None:
    with pytest.raises(SourceInvalid):
        judge(412)
    with pytest.raises(SourceChanged):
        judge(412, resume=RESUME)


def test_a_range_that_no_byte_satisfies_is_an_empty_file_or_a_shorter_one() -> None:
    with pytest.raises(SourceEmpty):
        judge(416)
    with pytest.raises(SourceChanged):
        judge(416, content_range("bytes */3"), RESUME)


@pytest.mark.parametrize(
    ("status", "end", "error", "told"),
    [
        (403, "1767225600", SourceForbidden, "403: its signed URL has ended (2026-01-01 00:00:00"),
        (403, "1767225601", SourceForbidden, "403."),
        (400, "1767225600", SourceForbidden, "400: its signed URL has ended (2026-01-01 00:00:00"),
        (400, "1767225601", SourceInvalid, "400."),
        (404, "1767225600", SourceNotFound, "404."),
    ],
)
def test_a_signed_url_past_its_end_is_forbidden_and_the_message_says_why(
    status: int, end: str, error: type[IngestError], told: str
) -> None:
    answer = FakeAnswer(status)
    answer.url = parse_source_url(f"http://source.example/a?Expires={end}&Signature=secret")
    with pytest.raises(error) as caught:
        judge_answer(cast("Answer", answer), None, NOW)
    assert caught.value.message.startswith(f"The source answered {told}")
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("999999", 3600.0),
        ("-1", None),
        ("soon", None),
        ("", None),
        ("9" * 30, None),
        ("Thu, 01 Jan 2026 00:02:00 GMT", 120.0),
        ("Thursday, 01-Jan-26 00:02:00 GMT", 120.0),
        ("Thu Jan  1 00:02:00 2026", 120.0),
        ("Thu, 01 Jan 2026 02:02:00 +0200", 120.0),
        ("Thu, 01 Jan 2026 00:02:00 -0000", 120.0),
        ("Fri, 02 Jan 2026 00:00:00 GMT", 3600.0),
        ("Wed, 31 Dec 2025 23:59:59 GMT", 0.0),
        ("Thu, 41 Jan 2026 00:02:00 GMT", None),
        ("Thu, 01 Jan 99999999999 00:02:00 GMT", None),
        ("Thu, 01 Jan 2026 00:02:00 +99999999999999999999", None),
        ("2026-01-01T00:02:00Z", None),
    ],
)
@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_retry_after_is_kept_where_it_makes_sense(
    status: int, value: str, wait_s: float | None
) -> None:
    with pytest.raises(SourceUnavailable) as caught:
        judge(status, [("Retry-After", value)])
    assert caught.value.retry_after_s == wait_s


@pytest.mark.parametrize(
    ("status", "headers", "size"),
    [
        (200, [], None),
        (200, length("10"), 10),
        (200, length("10", "10"), 10),
        (200, length("10, 10"), 10),
        (200, [("Transfer-Encoding", "chunked")], None),
        (206, content_range("bytes 0-9/10"), 10),
        (206, [*content_range("bytes 0-9/10"), *length("10")], 10),
        (206, content_range("bytes 0-9/*"), 10),
        (200, [*content_range("bytes 0-9/10"), *length("10")], 10),
        (200, [*content_range("bytes 0-9/*"), *length("10")], 10),
        (200, content_range("bytes 0-9/10"), None),
        (200, [*content_range("all of it"), *length("10")], 10),
    ],
)
def test_a_length_that_is_announced_is_known(status: int, headers: Pairs, size: int | None) -> None:
    assert judge(status, headers) == Head(0, size, None, size, ranged=status == 206)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, length("ten")),
        (200, length("-1")),
        (200, length("+1")),
        (200, length("1_0")),
        (200, length("\u0661\u0660")),
        (200, length("9" * 5000)),
        (200, length("10", "11")),
        (200, length("10, 11")),
        (200, [*length("10"), ("Transfer-Encoding", "chunked")]),
        (200, [("Content-Encoding", "gzip")]),
        (200, [("Content-Encoding", "a\x00b")]),
        (206, []),
        (206, content_range("bytes 1-9/10")),
        (206, content_range("bytes 0-8/10")),
        (206, content_range("bytes 0-9/11")),
        (206, content_range("items 0-9/10")),
        (206, content_range(f"bytes 0-{'9' * 5000}/*")),
        (206, [*content_range("bytes 0-9/10"), *length("9")]),
        (200, [*content_range("bytes 0-9/20"), *length("10")]),
        (200, [*content_range("bytes 0-9/10"), *length("11")]),
        (200, [*content_range("bytes 10-19/20"), *length("10")]),
        (200, content_range("bytes 1-9/10")),
    ],
)
def test_a_head_that_contradicts_itself_or_the_request_is_refused(
    status: int, headers: Pairs
) -> None:
    with pytest.raises(SourceInvalid):
        judge(status, headers)


@pytest.mark.parametrize("status", [200, 206])
@pytest.mark.parametrize(
    "value", ['"a"', ' "a" ', '"5f3-62b:0_/+=gzip"', '"\u00e4"', '"' + "a" * 1000 + '"']
)
def test_a_strong_etag_is_kept(status: int, value: str) -> None:
    head = judge(status, [*etag(value), *content_range("bytes 0-9/10")])
    assert head.etag == value.strip()


@pytest.mark.parametrize("status", [200, 206])
@pytest.mark.parametrize(
    "value",
    [
        'W/"a"',
        'w/"a"',
        "a",
        '"a',
        '""',
        '"a b"',
        '"a"b"',
        '"a", "a"',
        '"\x7f"',
        '"' + "a" * 1001 + '"',
        "",
    ],
)
def test_an_etag_that_is_weak_or_malformed_is_none(status: int, value: str) -> None:
    head = judge(status, [*etag(value), *content_range("bytes 0-9/10")])
    assert head.etag is None


@pytest.mark.parametrize("extra", [[], length("6"), [("Transfer-Encoding", "chunked")]])
def test_the_rest_is_taken_where_it_is_exactly_the_rest(extra: Pairs) -> None:
    headers = [*etag('"a"'), *content_range("bytes 4-9/10"), *extra]
    assert judge(206, headers, RESUME) == Head(4, 10, '"a"', 10, ranged=True)


@pytest.mark.parametrize("extra", [[], length("3"), [("Transfer-Encoding", "chunked")]])
def test_a_part_is_taken_where_it_is_exactly_the_part(extra: Pairs) -> None:
    headers = [*etag('"a"'), *content_range("bytes 4-6/10"), *extra]
    assert judge(206, headers, PART) == Head(4, 10, '"a"', 7, ranged=True)


@pytest.mark.parametrize(
    "headers",
    [
        content_range("bytes 4-6/10"),
        [*content_range("bytes 4-6/10"), *etag('"b"')],
        [*content_range("bytes 4-9/10"), *etag('"a"')],
        [*content_range("bytes 4-5/10"), *etag('"a"')],
        [*content_range("bytes 4-7/10"), *etag('"a"')],
        [*content_range("bytes 3-6/10"), *etag('"a"')],
        [*content_range("bytes 4-6/11"), *etag('"a"')],
        [*content_range("bytes 4-6/10"), *etag('"a"'), *length("6")],
    ],
)
def test_a_part_that_is_not_the_one_asked_for_is_refused(headers: Pairs) -> None:
    with pytest.raises(SourceChanged):
        judge(206, headers, PART)


@pytest.mark.parametrize(
    "headers",
    [
        content_range("bytes 4-9/10"),
        [*content_range("bytes 4-9/10"), *etag('"b"')],
        [*content_range("bytes 4-9/10"), *etag('W/"a"')],
        [*content_range("bytes 4-9/10"), *etag("a")],
        etag('"a"'),
        [*content_range("bytes 0-9/10"), *etag('"a"')],
        [*content_range("bytes 3-9/10"), *etag('"a"')],
        [*content_range("bytes 5-9/10"), *etag('"a"')],
        [*content_range("bytes 4-8/10"), *etag('"a"')],
        [*content_range("bytes 4-10/11"), *etag('"a"')],
        [*content_range("bytes 4-9/11"), *etag('"a"')],
        [*content_range("bytes 4-9/*"), *etag('"a"')],
        [*content_range("items 4-9/10"), *etag('"a"')],
        [*content_range("bytes 4-9/10"), *etag('"a"'), *length("5")],
        [*content_range("bytes 4-9/10"), *etag('"a"'), *length("10")],
    ],
)
def test_a_rest_that_may_be_of_another_file_is_refused(headers: Pairs) -> None:
    with pytest.raises(SourceChanged):
        judge(206, headers, RESUME)


@pytest.mark.parametrize("tag", ['"a"', '"b"', 'W/"a"', ""])
def test_a_whole_file_is_taken_as_such_though_the_rest_was_asked_for(tag: str) -> None:
    headers = [*etag(tag), *length("12")]
    known = tag if tag in {'"a"', '"b"'} else None
    assert judge(200, headers, RESUME) == Head(0, 12, known, 12, ranged=False)


@pytest.mark.parametrize("value", ["bytes 4-9/10", "bytes 0-5/10", "bytes 4-9/*"])
def test_a_rest_that_is_sent_as_a_whole_file_is_refused(value: str) -> None:
    with pytest.raises(SourceChanged):
        judge(200, [*etag('"a"'), *content_range(value), *length("6")], RESUME)


@pytest.mark.parametrize("from_byte", [-1, 0, 10, 11])
def test_there_is_no_going_on_before_the_start_or_at_the_end(from_byte: int) -> None:
    with pytest.raises(ValueError, match="nothing to go on"):
        Resume(from_byte, '"a"', 10)


@pytest.mark.parametrize("until", [0, 4, 11])
def test_there_is_no_part_that_is_empty_or_goes_past_the_end(until: int) -> None:
    with pytest.raises(ValueError, match="nothing to go on"):
        Resume(4, '"a"', 10, until)


@pytest.mark.parametrize(
    ("status", "headers", "end_byte", "size_bytes"),
    [
        (206, content_range("bytes 0-3/10"), 4, 10),
        (206, [*content_range("bytes 0-3/10"), *length("4")], 4, 10),
        (206, content_range("bytes 0-3/*"), 4, None),
        (206, content_range("bytes 0-2/3"), 3, 3),
        (206, content_range("bytes 0-9/10"), 10, 10),
        (200, length("10"), 10, 10),
        (200, [], None, None),
    ],
)
def test_the_beginning_of_a_file_tells_how_long_it_is(
    status: int, headers: Pairs, end_byte: int | None, size_bytes: int | None
) -> None:
    head = judge(status, [*headers, *etag('"a"')], head_bytes=4)
    assert head == Head(0, size_bytes, '"a"', end_byte, ranged=status == 206)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        content_range("bytes 1-4/10"),
        content_range("bytes 0-2/10"),
        content_range("bytes 0-4/10"),
        content_range("bytes 0-2/*"),
        content_range("bytes 0-9/*"),
        [*content_range("bytes 0-3/10"), *length("10")],
    ],
)
def test_another_range_than_the_beginning_that_was_asked_for_is_refused(headers: Pairs) -> None:
    with pytest.raises(SourceInvalid):
        judge(206, headers, head_bytes=4)
