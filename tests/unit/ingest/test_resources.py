"""Files and tasks as JSON: every field, null where it does not apply, and true progress."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from ingest.errors import Failure
from ingest.formats import Kind
from ingest.model import Attempt, File, FileAccess, MediaInfo, Order, Task, Transfer
from ingest.resources import hide_secrets, show_file, show_task, show_time
from ingest.states import Status

FILE_ID = "file_01m859r1yny08r1ap8hz69hcss"
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC)
TASK = Task(
    id="task_1",
    project_id="prj_1",
    kind="ingest",
    status=Status.PENDING,
    order=Order("https://example.com/a.mp4?sig=x", None, None, None, None, None, None),
    file_id="file_1",
    media_id="med_1",
    attempt=0,
    max_attempts=5,
    error=None,
    request_id="req_1",
    created=MOMENT,
    started=None,
    finished=None,
    updated=MOMENT,
    tries=0,
    next_attempt_at=None,
    outage_since=None,
)
FILE = File(
    id="file_1",
    media_id="med_1",
    project_id="prj_1",
    task_id="task_1",
    object_key="prefix/folder/file_1.mp3",
    folder="folder",
    filename=None,
    ref=None,
    metadata=None,
    source="https://example.com/a.mp3",
    source_name="a.mp3",
    sha256="0" * 64,
    filesize_bytes=10,
    media=MediaInfo(
        kind=Kind.AUDIO,
        type="audio/mpeg",
        container="mp3",
        extension="mp3",
        codec="mp3",
        width=None,
        height=None,
        orientation=None,
        rotation=None,
        transparency=None,
        animated=None,
        frames=None,
        duration_s=1.5,
        fps=None,
        bitrate_bps=128_000,
        language=None,
        streams=[],
    ),
    created=MOMENT,
    updated=MOMENT,
)


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        (MOMENT, "2026-01-02T03:04:05.678Z"),
        (MOMENT.replace(microsecond=0), "2026-01-02T03:04:05.000Z"),
        (MOMENT.replace(microsecond=999_999), "2026-01-02T03:04:05.999Z"),
        (MOMENT.astimezone(timezone(timedelta(hours=5.5))), "2026-01-02T03:04:05.678Z"),
    ],
)
def test_a_time_is_shown_in_utc_with_milliseconds(moment: datetime, shown: str) -> None:
    assert show_time(moment) == shown


@pytest.mark.parametrize(
    ("transferred", "total", "progress", "eta_s"),
    [
        (0, 100, 0, 10.0),
        (49, 100, 49, 5.1),
        (99, 100, 99, 0.1),
        # All is there, and still it is not stored.
        (100, 100, 99, 0.0),
        (50, None, 0, None),
        (0, 0, 0, 0.0),
        (1, 3, 33, 0.2),
    ],
)
def test_progress_is_told_by_bytes_while_it_runs(
    transferred: int, total: int | None, progress: int, eta_s: float | None
) -> None:
    running = replace(TASK, status=Status.PROCESSING, attempt=1)
    shown = show_task(running, [], Transfer(transferred, total, 10.0), None)
    assert shown.progress == progress
    assert shown.transfer is not None
    assert (shown.transfer.bytes, shown.transfer.total) == (transferred, total)
    assert (shown.transfer.rate_bps, shown.transfer.eta_s) == (10, eta_s)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.com/a.mp4?sig=x", "https://example.com/a.mp4"),
        ("s3://archive/a.mp4", "s3://archive/a.mp4"),
        (f"upload:{FILE_ID}", f"upload:{FILE_ID}"),
    ],
)
def test_who_has_no_key_is_shown_no_query_of_a_source_and_no_receiver(url: str, shown: str) -> None:
    order = replace(TASK.order, url=url, webhook_url="https://hooks.example/s3cret", folder="f")
    whole = show_task(replace(TASK, order=order), [], None, None)
    hidden = hide_secrets(whole)
    assert (hidden.input.url, hidden.input.folder) == (shown, "f")
    assert hidden.options.webhook_url is None
    assert (whole.input.url, whole.options.webhook_url) == (url, order.webhook_url)


def test_a_transfer_that_does_not_move_has_no_end_in_sight() -> None:
    running = replace(TASK, status=Status.PROCESSING, attempt=1)
    shown = show_task(running, [], Transfer(0, 100, 0.0), None)
    assert shown.transfer is not None
    assert shown.transfer.eta_s is None


@pytest.mark.parametrize(
    ("status", "progress"),
    [(Status.PENDING, 0), (Status.COMPLETE, 100), (Status.FAILED, 0), (Status.CANCELLED, 0)],
)
def test_a_transfer_that_is_told_late_is_left_out(status: Status, progress: int) -> None:
    shown = show_task(replace(TASK, status=status), [], Transfer(50, 100, 10.0), None)
    assert (shown.progress, shown.transfer) == (progress, None)


def test_attempts_are_shown_with_their_errors() -> None:
    lost = Attempt(1, "worker-1", MOMENT, MOMENT, None, Failure("lease_lost", "Lost.", True))  # noqa: FBT003
    running = Attempt(2, "worker-2", MOMENT, None, 7, None)
    first, second = show_task(TASK, [lost, running], None, None).attempts
    assert first.model_dump() == {
        "number": 1,
        "worker": "worker-1",
        "started": "2026-01-02T03:04:05.678Z",
        "finished": "2026-01-02T03:04:05.678Z",
        "bytes": None,
        "error": {"code": "lease_lost", "message": "Lost.", "retryable": True},
    }
    assert (second.number, second.finished, second.bytes, second.error) == (2, None, 7, None)


def test_a_file_of_which_nobody_knows_the_sha256_has_no_checksum() -> None:
    shown = show_file(replace(FILE, sha256=None), "http://h")
    assert shown.checksum is None


def test_priority_and_number_of_attempts_are_shown_as_they_are_in_force() -> None:
    asked = replace(TASK, order=replace(TASK.order, priority=-3), max_attempts=7)
    assert show_task(asked, [], None, None).options.model_dump() == {
        "checksum": None,
        "max_bytes": None,
        "priority": -3,
        "max_attempts": 7,
        "webhook_url": None,
        "overwrites": False,
        "dedupe": "none",
        "access": "public",
        "poster": False,
    }


@pytest.mark.parametrize("status", list(Status))
def test_the_next_attempt_is_told_while_a_task_is_pending_alone(status: Status) -> None:
    shown = show_task(replace(TASK, status=status, next_attempt_at=MOMENT), [], None, None)
    assert shown.next_attempt_at == (
        "2026-01-02T03:04:05.678Z" if status is Status.PENDING else None
    )


def test_a_task_that_waits_for_its_next_attempt_shows_what_the_last_one_met() -> None:
    failure = Failure("source_unavailable", "The source answered 503.", retryable=True)
    waiting = replace(TASK, attempt=1, tries=1, error=failure, next_attempt_at=MOMENT)
    shown = show_task(waiting, [], None, None)
    assert shown.error is not None
    assert (shown.status, shown.error.code) == (Status.PENDING, "source_unavailable")


@pytest.mark.parametrize(
    ("folder", "filename", "key", "own", "url"),
    [
        (None, None, "file_1.mp3", True, "https://d.example/file_1"),
        (None, None, "file_1.mp3", False, "https://d.example/file_1.mp3"),
        ("f", None, "p/f/file_1.mp3", True, "https://d.example/file_1"),
        ("f", None, "p/f/file_1.mp3", False, "https://d.example/p/f/file_1.mp3"),
        ("f", "a b.mp3", "p/f/a b.mp3", True, "https://d.example/p/f/a%20b.mp3"),
        ("f", "100%?#\u6620.mp3", "f/100%?#\u6620.mp3", False,
         "https://d.example/f/100%25%3F%23%E6%98%A0.mp3"),
    ],
)  # fmt: skip
def test_a_files_address_is_its_id_or_its_key_percent_encoded(
    folder: str | None,
    filename: str | None,
    key: str,
    own: bool,  # noqa: FBT001
    url: str,
) -> None:
    file = replace(FILE, folder=folder, filename=filename, object_key=key)
    shown = show_file(file, "https://d.example", None if own else "https://d.example")
    assert shown.url == url


def test_a_file_that_takes_a_signature_has_its_address_where_signatures_are_known() -> None:
    file = replace(FILE, folder="f", filename="a.mp3", object_key="p/f/a.mp3")
    signed = replace(file, access=FileAccess.SIGNED)
    cdn = "https://cdn.example"
    assert show_file(file, "https://a.example/delivery", cdn).url == f"{cdn}/p/f/a.mp3"
    shown = show_file(signed, "https://a.example/delivery", cdn)
    assert (shown.url, shown.access) == ("https://a.example/delivery/p/f/a.mp3", "signed")


def test_what_does_not_apply_is_null() -> None:
    shown = show_file(FILE, "https://d.example").model_dump(mode="json")
    null = {name for name, value in shown.items() if value is None}
    assert null == {
        "codecs", "width", "height", "orientation", "rotation", "mirrored", "transparency", "color",
        "hdr", "animated", "frames", "fps", "frame_rate", "language", "audio", "label", "ref",
        "filename", "placeholder", "background", "poster", "metadata",
    }  # fmt: skip
    assert (shown["chapters"], shown["tags"]) == ([], {})
    assert (shown["kind"], shown["duration"], shown["bitrate"]) == ("audio", 1.5, 128_000)


@pytest.mark.parametrize(
    ("delivery_url", "access", "shown"),
    [
        (None, "public", "https://own.example/file_1.poster.jpg"),
        ("https://cdn.example", "public", "https://cdn.example/prefix/a%20b/file_1.poster.jpg"),
        ("https://cdn.example", "signed", "https://own.example/file_1.poster.jpg"),
    ],
)
def test_a_poster_is_shown_where_it_can_be_read(
    delivery_url: str | None, access: str, shown: str
) -> None:
    drawn = replace(
        FILE,
        id="file_1",
        poster_key="prefix/a b/file_1.poster.jpg",
        access=FileAccess(access),
    )
    assert show_file(drawn, "https://own.example", delivery_url).poster == shown
    assert show_file(FILE, "https://own.example", delivery_url).poster is None
