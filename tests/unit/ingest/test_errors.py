"""The drawing of the error tree is the error tree."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import pytest

from ingest import errors
from ingest.errors import (
    ConfigError,
    DeliveryError,
    FieldInvalid,
    HeadraceError,
    IngestError,
    RequestError,
    ServiceError,
    StorageUnavailable,
)

ABSTRACT = {HeadraceError, RequestError, IngestError, DeliveryError, ServiceError}
INDENT = 2


def walk(error: type[HeadraceError]) -> Iterator[type[HeadraceError]]:
    yield error
    for child in error.__subclasses__():
        yield from walk(child)


CLASSES = [error for error in walk(HeadraceError) if error.__module__ == errors.__name__]
CONCRETE = [error for error in CLASSES if error not in ABSTRACT]


def read_drawing() -> list[tuple[str, str | None, str | None]]:
    """Return (class, parent, code) for each line of the drawing."""
    drawing = inspect.cleandoc(errors.__doc__ or "").split("::\n")[1]
    rows: list[tuple[str, str | None, str | None]] = []
    path: list[str] = []
    for line in filter(str.strip, inspect.cleandoc(drawing).splitlines()):
        depth, odd = divmod(len(line) - len(line.lstrip()), INDENT)
        assert odd == 0, line
        name, *code = line.split()
        del path[depth:]
        rows.append((name, path[-1] if path else None, code[0] if code else None))
        path.append(name)
    return rows


def test_the_drawing_shows_every_class_under_its_parent_with_its_code() -> None:
    real = {
        (
            error.__name__,
            None if error is HeadraceError else error.__mro__[1].__name__,
            None if error in ABSTRACT else error.code,
        )
        for error in CLASSES
    }
    drawn = read_drawing()
    assert len(drawn) == len(set(drawn))
    assert set(drawn) == real


def test_the_drawing_is_in_alphabetical_order_within_each_branch() -> None:
    branches: dict[str | None, list[str]] = {}
    for name, parent, _ in read_drawing():
        branches.setdefault(parent, []).append(name)
    for parent, names in branches.items():
        if parent != "HeadraceError":
            assert names == sorted(names)


def test_no_two_errors_share_a_code() -> None:
    codes = [error.code for error in CONCRETE]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("error", CONCRETE)
def test_a_code_is_snake_case_and_its_own(error: type[HeadraceError]) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
    assert "code" in vars(error)


@pytest.mark.parametrize("error", CONCRETE)
def test_an_error_says_what_it_is_for(error: type[HeadraceError]) -> None:
    assert (error.__doc__ or "").strip()
    assert error.__doc__ != error.__mro__[1].__doc__


@pytest.mark.parametrize("error", CONCRETE)
def test_a_status_belongs_to_the_branch(error: type[HeadraceError]) -> None:
    if issubclass(error, (RequestError, IngestError)):
        assert 400 <= error.http_status < 500
    else:
        assert error.http_status >= 500


def test_what_the_request_did_wrong_is_never_worth_repeating() -> None:
    assert not any(error.retryable for error in walk(RequestError))


def test_what_a_server_did_not_answer_is_always_worth_repeating() -> None:
    assert all(error.retryable for error in walk(ServiceError))


RETRYABLE_INGESTS = {
    "internal_error",
    "lease_lost",
    "source_changed",
    "source_dns",
    "source_timeout",
    "source_too_slow",
    "source_truncated",
    "source_unavailable",
    "worker_stopped",
}


@pytest.mark.parametrize("error", [error for error in CONCRETE if issubclass(error, IngestError)])
def test_an_ingest_is_tried_again_only_where_time_may_help(error: type[IngestError]) -> None:
    assert error.retryable is (error.code in RETRYABLE_INGESTS)


def test_an_error_keeps_its_message_param_and_wait() -> None:
    error = FieldInvalid("'url' is empty.", param="url", retry_after_s=3)
    assert str(error) == error.message == "'url' is empty."
    assert error.param == "url"
    assert error.retry_after_s == 3


def test_an_error_becomes_a_failure_that_a_row_can_keep() -> None:
    failure = StorageUnavailable("The bucket is gone.").as_failure()
    assert (failure.code, failure.message, failure.retryable) == (
        "storage_unavailable",
        "The bucket is gone.",
        True,
    )


def test_a_server_that_does_not_answer_asks_for_two_seconds() -> None:
    assert StorageUnavailable("x").retry_after_s == 2
    assert ConfigError("x").retry_after_s is None
