"""What gunicorn says of requests: never a query, and never a header."""

from __future__ import annotations

import logging

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import InvalidHTTPVersion

from api.server_log import EventLogger


def _fail(error: Exception) -> None:
    raise error


def test_a_request_that_cannot_be_read_is_not_quoted(caplog: pytest.LogCaptureFixture) -> None:
    log = EventLogger(Config())
    with caplog.at_level(logging.INFO):
        try:
            _fail(InvalidHTTPVersion("b.mp4?expiry=1&signature=s3cret HTTP/1.1"))
        except InvalidHTTPVersion as error:
            log.warning(f"Invalid request from ip=127.0.0.1: {error}")
        log.warning("Something else: 100%")
    said = [one.getMessage() for one in caplog.records]
    assert said == ["Invalid request from ip=127.0.0.1: InvalidHTTPVersion", "Something else: 100%"]


def test_a_request_that_broke_is_told_by_its_path(caplog: pytest.LogCaptureFixture) -> None:
    log = EventLogger(Config())
    with caplog.at_level(logging.INFO):
        try:
            _fail(ValueError())
        except ValueError:
            log.exception("Error handling request %s %s", "PUT", "/uploads/x?signature=s3cret")
    assert [one.getMessage() for one in caplog.records] == ["Error handling request PUT /uploads/x"]
    assert caplog.records[0].exc_info is not None
