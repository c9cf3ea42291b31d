"""How an attempt asks its source: until its time is over, and over how many connections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from ingest.config import Settings
from ingest.errors import (
    HeadraceError,
    LeaseLost,
    SourceForbidden,
    SourceTimeout,
    SourceTruncated,
    SourceUnavailable,
    StorageUnavailable,
    WorkerStopped,
)
from ingest.urls import SourceUrl, parse_source_url
from tests.unit.workers.test_fetch import FakeAnswer, FakeEgress
from tests.unit.workers.test_leases import Clock
from tests.unit.workers.test_placement import make_lease
from workers.attempt import Attempt
from workers.opening import Opener
from workers.watchdog import Cancellation

URL = parse_source_url("http://source.example/a.mp4")


class EndlessEgress(FakeEgress):
    """Serves every rest of a file that never comes to its end: a byte, and the line breaks."""

    def __init__(self, clock: Clock, seconds_each: float) -> None:
        super().__init__()
        self._clock, self._seconds_each = clock, seconds_each

    def get(
        self, url: SourceUrl, headers: Mapping[str, str], cancellation: Cancellation | None = None
    ) -> FakeAnswer:
        self._clock.now += self._seconds_each
        first = headers["range"].removeprefix("bytes=").removesuffix("-")
        ranged = ("Content-Range", f"bytes {first}-99/100")
        self.answers.append(FakeAnswer(206, [("ETag", '"a"'), ranged], pieces=[b"x"]))
        return super().get(url, headers, cancellation)


def make_opener(
    egress: FakeEgress,
    clock: Clock,
    *,
    previous: HeadraceError | None = None,
    connections: int = 4,
) -> Opener:
    settings = Settings.model_validate(
        {
            "database_url": "postgresql://h/d",
            "redis_url": "redis://h",
            "s3_bucket": "media",
            "total_timeout_s": 100,
            "source_connections": connections,
        }
    )
    failure = None if previous is None else previous.as_failure()
    lease = replace(make_lease(2), previous_error=failure)
    tools = SimpleNamespace(
        settings=settings, egress=egress, clock=clock, readers=None, sealer=None, sources=None
    )
    attempt = SimpleNamespace(tools=tools, lease=lease, url=URL)
    return Opener(cast("Attempt", attempt), Cancellation())


def test_a_source_that_drops_for_ever_is_asked_until_its_time_is_over() -> None:
    clock = Clock()
    egress = EndlessEgress(clock, 30)
    stream, _ = make_opener(egress, clock).open(None)
    with pytest.raises(SourceTimeout, match="longer than 100 s"):
        stream.fill(bytearray(100), lambda _: None)
    # At 30, 60 and 90 seconds, and once more before the time is over.
    asked = [headers["range"] for headers in egress.headers]
    assert asked == ["bytes=0-", "bytes=1-", "bytes=2-", "bytes=3-"]


@pytest.mark.parametrize(
    "previous",
    [None, LeaseLost("x"), WorkerStopped("x"), StorageUnavailable("x")],
    ids=lambda error: "none" if error is None else error.code,
)
def test_a_source_that_did_no_wrong_may_be_read_over_several_connections(
    previous: HeadraceError | None,
) -> None:
    assert make_opener(FakeEgress(), Clock(), previous=previous).split() is not None


@pytest.mark.parametrize(
    "previous",
    [SourceUnavailable("x"), SourceTruncated("x"), SourceForbidden("x"), SourceTimeout("x")],
    ids=lambda error: error.code,
)
def test_a_source_that_ended_the_attempt_before_is_read_over_one(previous: HeadraceError) -> None:
    assert make_opener(FakeEgress(), Clock(), previous=previous).split() is None


def test_a_worker_that_is_to_have_one_connection_has_one() -> None:
    assert make_opener(FakeEgress(), Clock(), connections=1).split() is None
