"""A source's head and body as the fetch judges them; what is on the wire is up to the test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import cast

import pytest

from ingest.errors import (
    IngestError,
    SourceEmpty,
    SourceForbidden,
    SourceInvalid,
    SourceNotFound,
    SourceTimeout,
    SourceTooLarge,
    SourceTooSlow,
    SourceTruncated,
    SourceUnavailable,
)
from ingest.urls import SourceUrl, parse_source_url
from tests.unit.workers.test_leases import Clock
from workers.egress import Egress
from workers.fetch import Limits, Source, open_source

URL = parse_source_url("http://source.example/a.mp4")
LIMITS = Limits(
    max_bytes=1000, total_timeout_s=100, lowest_bps=10, lowest_window_s=10, max_redirects=2
)


class FakeAnswer:
    """An answer whose body comes as the test says, and takes as long."""

    def __init__(
        self,
        status: int = 200,
        headers: Sequence[tuple[str, str]] = (),
        pieces: Iterable[bytes] = (),
    ) -> None:
        self.url = URL
        self.status = status
        self.headers = dict(headers)
        self.closed = False
        self._pairs = headers
        self._pieces = iter(pieces)

    def list_header(self, name: str) -> list[str]:
        return [value for one, value in self._pairs if one == name]

    def read_some(self, limit: int) -> bytes:
        return next(self._pieces, b"")[:limit]

    def close(self) -> None:
        self.closed = True


class FakeEgress:
    """Gives out answers in turn and remembers where they were asked for."""

    def __init__(self, *answers: FakeAnswer) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def get(self, url: SourceUrl, headers: Mapping[str, str]) -> FakeAnswer:
        assert headers["Accept-Encoding"] == "identity"
        assert headers["Range"] == "bytes=0-"
        self.asked.append(str(url))
        answer = self.answers.pop(0)
        answer.url = url
        return answer


def open_answers(*answers: FakeAnswer, clock: Callable[[], float] | None = None) -> Source:
    egress = cast("Egress", FakeEgress(*answers))
    return open_source(egress, URL, LIMITS, clock or Clock())


def length(*values: str) -> list[tuple[str, str]]:
    return [("Content-Length", value) for value in values]


def content_range(value: str) -> list[tuple[str, str]]:
    return [("Content-Range", value)]


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
        (416, SourceEmpty),
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
def test_every_status_has_its_error_and_the_connection_is_let_go(
    status: int, error: type[IngestError]
) -> None:
    answer = FakeAnswer(status)
    with pytest.raises(error) as caught:
        open_answers(answer)
    assert type(caught.value) is error
    assert answer.closed


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [("7", 7.0), ("999999", 3600.0), ("-1", None), ("soon", None), ("", None), ("9" * 30, None)],
)
def test_retry_after_is_kept_where_it_makes_sense(value: str, wait_s: float | None) -> None:
    with pytest.raises(SourceUnavailable) as caught:
        open_answers(FakeAnswer(503, [("Retry-After", value)]))
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
    ],
)
def test_a_length_that_is_announced_is_known(
    status: int, headers: list[tuple[str, str]], size: int | None
) -> None:
    assert open_answers(FakeAnswer(status, headers)).size_bytes == size


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
    ],
)
def test_a_head_that_contradicts_itself_or_the_request_is_refused(
    status: int, headers: list[tuple[str, str]]
) -> None:
    answer = FakeAnswer(status, headers)
    with pytest.raises(SourceInvalid):
        open_answers(answer)
    assert answer.closed


def test_a_source_that_announces_too_much_is_refused_before_a_byte_is_read() -> None:
    with pytest.raises(SourceTooLarge):
        open_answers(FakeAnswer(200, length("1001")))


def test_a_source_that_announces_nothing_is_counted() -> None:
    source = open_answers(FakeAnswer(pieces=iter([bytes(600), bytes(600)])))
    with pytest.raises(SourceTooLarge):
        source.fill(bytearray(2000))


def test_a_body_is_read_to_its_announced_end() -> None:
    source = open_answers(FakeAnswer(200, length("10"), iter([b"12345", b"67890"])))
    buffer = bytearray(11)
    assert source.fill(buffer) == 10
    assert bytes(buffer[:10]) == b"1234567890"
    assert source.ended


@pytest.mark.parametrize(("announced", "error"), [("11", SourceTruncated), ("9", SourceInvalid)])
def test_a_body_of_another_length_than_announced_is_refused(
    announced: str, error: type[IngestError]
) -> None:
    source = open_answers(FakeAnswer(200, length(announced), iter([b"1234567890"])))
    with pytest.raises(error):
        source.fill(bytearray(100))


def test_a_source_below_the_lowest_speed_for_a_window_is_dropped() -> None:
    clock = Clock()

    def drip() -> Iterator[bytes]:
        while True:
            clock.now += 1
            yield b"12345"

    source = open_answers(FakeAnswer(pieces=drip()), clock=clock)
    with pytest.raises(SourceTooSlow):
        source.fill(bytearray(1000))
    assert clock.now <= 100.0 + LIMITS.lowest_window_s + 1


def test_a_source_is_not_blamed_for_the_time_between_reads() -> None:
    clock = Clock()
    source = open_answers(FakeAnswer(pieces=iter([bytes(100)] * 9)), clock=clock)
    for _ in range(9):
        # The object store was slow.
        clock.now += LIMITS.lowest_window_s
        assert source.fill(bytearray(100)) == 100


def test_a_whole_download_has_a_limit_too() -> None:
    clock = Clock()

    late = open_answers(FakeAnswer(pieces=[b"1", b"2"]), clock=clock)
    clock.now += LIMITS.total_timeout_s + 1
    with pytest.raises(SourceTimeout):
        late.fill(bytearray(10))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_from_where_they_were_sent(status: int) -> None:
    egress = FakeEgress(
        FakeAnswer(status, [("Location", "//other.example/b/?s=%2f")]),
        FakeAnswer(status, [("Location", "c")]),
        FakeAnswer(),
    )
    open_source(cast("Egress", egress), URL, LIMITS, Clock())
    assert egress.asked == [
        str(URL),
        "http://other.example/b/?s=%2f",
        "http://other.example/b/c",
    ]


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([FakeAnswer(302)], id="no Location"),
        pytest.param([FakeAnswer(302, [("Location", "ftp://a/")])], id="another scheme"),
        pytest.param([FakeAnswer(302, [("Location", "http://u:p@a/")])], id="credentials"),
        pytest.param([FakeAnswer(302, [("Location", "/")]) for _ in range(3)], id="too many"),
    ],
)
def test_a_redirect_that_leads_nowhere_is_refused(answers: list[FakeAnswer]) -> None:
    with pytest.raises(SourceInvalid):
        open_answers(*answers)
    assert all(answer.closed for answer in answers)
