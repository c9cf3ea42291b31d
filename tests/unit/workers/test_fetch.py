"""A source opened and read; what is on the wire is up to the test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import pytest

from ingest.errors import (
    IngestError,
    QuotaExceeded,
    SourceChanged,
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
from workers.answers import Resume
from workers.egress import Egress
from workers.fetch import Limits, Source, open_source
from workers.watchdog import Call, Cancellation

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

    def read_into(self, view: memoryview) -> int:
        piece = next(self._pieces, b"")[: len(view)]
        view[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self.closed = True


class FakeEgress:
    """Gives out answers in turn and remembers where they were asked for."""

    def __init__(self, *answers: FakeAnswer) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.cancellations: list[Cancellation | None] = []

    def get(
        self, url: SourceUrl, headers: Mapping[str, str], cancellation: Cancellation | None = None
    ) -> FakeAnswer:
        assert headers["accept-encoding"] == "identity"
        self.asked.append(str(url))
        self.headers.append(headers)
        self.cancellations.append(cancellation)
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
    ("answer", "error"),
    [
        (FakeAnswer(404), SourceNotFound),
        (FakeAnswer(200, length("ten")), SourceInvalid),
        (FakeAnswer(206), SourceInvalid),
        (FakeAnswer(200, length("1001")), SourceTooLarge),
    ],
    ids=["status", "length", "range", "size"],
)
def test_an_answer_that_is_refused_has_its_connection_let_go(
    answer: FakeAnswer, error: type[IngestError]
) -> None:
    with pytest.raises(error):
        open_answers(answer)
    assert answer.closed


def test_a_source_that_announces_too_much_is_refused_before_a_byte_is_read() -> None:
    with pytest.raises(SourceTooLarge):
        open_answers(FakeAnswer(200, length("1001")))


def test_a_source_that_announces_nothing_is_counted() -> None:
    source = open_answers(FakeAnswer(pieces=iter([bytes(600), bytes(600)])))
    with pytest.raises(SourceTooLarge):
        source.fill(bytearray(2000))


def test_a_source_that_announces_more_than_its_project_may_store_is_refused_at_once() -> None:
    egress = FakeEgress(FakeAnswer(200, length("101")), FakeAnswer(200, length("100")))
    limits = replace(LIMITS, room_bytes=100)
    with pytest.raises(QuotaExceeded):
        open_source(cast("Egress", egress), URL, limits, Clock())
    assert open_source(cast("Egress", egress), URL, limits, Clock()).size_bytes == 100


@pytest.mark.parametrize(("room_bytes", "read_bytes"), [(100, 100), (99, 60), (0, 0)])
def test_a_source_that_announces_nothing_is_read_as_far_as_its_project_has_room(
    room_bytes: int, read_bytes: int
) -> None:
    egress = FakeEgress(FakeAnswer(pieces=[bytes(60), bytes(40), bytes(1)]))
    limits = replace(LIMITS, room_bytes=room_bytes)
    source = open_source(cast("Egress", egress), URL, limits, Clock())
    with pytest.raises(QuotaExceeded):
        source.fill(bytearray(200))
    assert source.received_bytes == read_bytes


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


def test_a_limit_that_began_before_this_request_counts_from_there() -> None:
    clock = Clock()
    egress = FakeEgress(FakeAnswer(pieces=[b"1", b"2"]))
    source = open_source(cast("Egress", egress), URL, LIMITS, clock, deadline=clock.now + 5)
    clock.now += 6
    with pytest.raises(SourceTimeout, match="longer than 100 s"):
        source.fill(bytearray(10))


def test_a_piece_that_came_too_late_was_taken_in_before_that_is_said() -> None:
    clock, taken = Clock(), bytearray()
    source = open_answers(FakeAnswer(pieces=[b"1", b"2"]), clock=clock)
    clock.now += LIMITS.total_timeout_s + 1
    with pytest.raises(SourceTimeout):
        source.fill(bytearray(10), taken.extend)
    # Whoever goes on after the error goes on at received_bytes.
    assert len(taken) == source.received_bytes == 1


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


def test_a_whole_file_is_asked_for_as_a_range_that_needs_no_validator() -> None:
    egress = FakeEgress(FakeAnswer())
    open_source(cast("Egress", egress), URL, LIMITS, Clock())
    assert egress.headers[0]["range"] == "bytes=0-"
    assert "if-range" not in egress.headers[0]


RESUME = Resume(from_byte=4, etag='"a"', size_bytes=10)
REST = [("ETag", '"a"'), ("Content-Range", "bytes 4-9/10"), ("Content-Length", "6")]


def resume_answers(*answers: FakeAnswer, limits: Limits = LIMITS) -> Source:
    return open_source(cast("Egress", FakeEgress(*answers)), URL, limits, Clock(), resume=RESUME)


def test_a_rest_is_asked_for_under_its_etag_wherever_redirects_lead() -> None:
    egress = FakeEgress(
        FakeAnswer(302, [("Location", "//other.example/b")]),
        FakeAnswer(307, [("Location", "/c")]),
        FakeAnswer(206, REST),
    )
    source = open_source(cast("Egress", egress), URL, LIMITS, Clock(), resume=RESUME)
    assert source.resumed_from == 4
    for headers in egress.headers:
        assert (headers["range"], headers["if-range"]) == ("bytes=4-", '"a"')


def test_a_rest_counts_from_where_it_begins() -> None:
    source = resume_answers(FakeAnswer(206, REST, [b"4567", b"89"]))
    assert (source.resumed_from, source.received_bytes, source.size_bytes) == (4, 4, 10)
    buffer = bytearray(4)
    assert source.fill(buffer) == 4
    assert (source.received_bytes, source.ended) == (8, False)
    assert source.fill(buffer) == 2
    assert (source.received_bytes, source.ended) == (10, True)


@pytest.mark.parametrize(
    ("pieces", "error"), [([b"45678"], SourceTruncated), ([b"456789x"], SourceInvalid)]
)
def test_a_rest_of_another_length_than_is_missing_is_refused(
    pieces: list[bytes], error: type[IngestError]
) -> None:
    source = resume_answers(FakeAnswer(206, REST, pieces))
    with pytest.raises(error):
        source.fill(bytearray(100))


def test_a_rest_of_a_file_that_is_too_large_is_refused() -> None:
    answer = FakeAnswer(206, REST)
    with pytest.raises(SourceTooLarge):
        resume_answers(answer, limits=replace(LIMITS, max_bytes=9))
    assert answer.closed


def test_what_lies_before_a_rest_does_not_hide_a_drip() -> None:
    clock = Clock()

    def drip() -> Iterator[bytes]:
        while True:
            clock.now += 1
            yield b"12345"

    answer = FakeAnswer(
        206, [("ETag", '"a"'), ("Content-Range", "bytes 900-999/1000")], pieces=drip()
    )
    egress = cast("Egress", FakeEgress(answer))
    source = open_source(egress, URL, LIMITS, clock, resume=Resume(900, '"a"', 1000))
    with pytest.raises(SourceTooSlow):
        source.fill(bytearray(100))


def test_a_source_that_sends_all_is_read_from_the_start_without_being_asked_again() -> None:
    egress = FakeEgress(FakeAnswer(200, [*length("5"), ("ETag", '"b"')], [b"01234"]))
    source = open_source(cast("Egress", egress), URL, LIMITS, Clock(), resume=RESUME)
    assert (source.resumed_from, source.received_bytes, source.size_bytes) == (0, 0, 5)
    assert source.etag == '"b"'
    assert source.fill(bytearray(5)) == 5
    assert len(egress.asked) == 1


@pytest.mark.parametrize(
    "answer", [FakeAnswer(416), FakeAnswer(206, content_range("bytes 4-9/10"))]
)
def test_a_source_that_is_another_by_now_is_told_apart_and_let_go(answer: FakeAnswer) -> None:
    with pytest.raises(SourceChanged):
        resume_answers(answer)
    assert answer.closed


def test_dates_are_told_by_the_clock_that_was_given() -> None:
    answer = FakeAnswer(503, [("Retry-After", "Thu, 01 Jan 2026 00:00:30 GMT")])
    egress = cast("Egress", FakeEgress(answer))
    with pytest.raises(SourceUnavailable) as caught:
        open_source(egress, URL, LIMITS, Clock(), now=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    assert caught.value.retry_after_s == 30


@pytest.mark.parametrize("cancellation", [Cancellation(), None], ids=["given", "its own"])
def test_one_cancellation_covers_every_request_and_the_body(
    cancellation: Cancellation | None,
) -> None:
    egress = FakeEgress(FakeAnswer(302, [("Location", "/b")]), FakeAnswer())
    open_source(cast("Egress", egress), URL, LIMITS, Clock(), cancellation=cancellation)
    used = egress.cancellations[0]
    assert used is not None
    assert egress.cancellations == [used, used]
    assert used is (cancellation or used)
    call = Call(Clock())
    used.cover(call)
    used.abort()
    assert call.aborted
