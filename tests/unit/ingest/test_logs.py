"""One line an event, whatever is in it, in one form for all, and no secrets by accident."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from ingest.config import LogFormat
from ingest.errors import StorageUnavailable
from ingest.logs import configure_logging, get_logger


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    # A test before these may have begun a process's work in this one, which binds its name.
    structlog.contextvars.clear_contextvars()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {
        name: logger.level
        for name, logger in logging.root.manager.loggerDict.items()
        if isinstance(logger, logging.Logger)
    }
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger):
            logger.setLevel(levels.get(name, logging.NOTSET))
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def out() -> io.StringIO:
    stream = io.StringIO()
    configure_logging("info", LogFormat.JSON, stream)
    return stream


def read(out: io.StringIO) -> list[dict[str, object]]:
    lines = out.getvalue().splitlines()
    return [json.loads(line) for line in lines]


def test_an_event_is_one_json_line_with_its_fields(out: io.StringIO) -> None:
    get_logger("workers.fetch").info("fetch.started", task_id="task_1", bytes=7, ok=True)
    (line,) = read(out)
    assert str(line.pop("time")).endswith("Z")
    assert line == {
        "event": "fetch.started",
        "level": "info",
        "logger": "workers.fetch",
        "task_id": "task_1",
        "bytes": 7,
        "ok": True,
    }


def test_a_field_with_line_ends_stays_in_its_line(out: io.StringIO) -> None:
    get_logger("x").info("a\nb", text='c\r\n{"event": "forged"}', other="\u2028\x00")
    (line,) = read(out)
    assert line["event"] == "a\nb"
    assert line["text"] == 'c\r\n{"event": "forged"}'
    assert line["other"] == "\u2028\x00"


def test_a_field_that_is_no_json_is_shown_all_the_same(out: io.StringIO) -> None:
    get_logger("x").info("event", raw=b"\xff", kind=LogFormat.JSON, things={1})
    (line,) = read(out)
    assert line["raw"] == repr(b"\xff")
    assert line["kind"] == "json"
    assert line["things"] == repr({1})


def fail() -> None:
    presigned = "https://s3/x?X-Amz-Signature=hunter2"
    if presigned:
        raise StorageUnavailable("The bucket is gone.")


def test_an_exception_is_inside_the_one_line(out: io.StringIO) -> None:
    try:
        fail()
    except StorageUnavailable:
        get_logger("x").exception("store.failed", task_id="task_1")
    (line,) = read(out)
    assert line["level"] == "error"
    text = json.dumps(line["exception"])
    assert "StorageUnavailable" in text
    assert "The bucket is gone." in text
    assert '"name": "fail"' in text


def fail_because() -> None:
    try:
        Path("/nowhere/at/all").read_bytes()
    except OSError as error:
        raise StorageUnavailable("The bucket is gone.") from error


@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.CONSOLE])
def test_an_exception_never_shows_local_variables(log_format: LogFormat) -> None:
    stream = io.StringIO()
    configure_logging("info", log_format, stream)
    try:
        fail()
    except StorageUnavailable:
        get_logger("x").exception("store.failed")
        logging.getLogger("y").exception("store failed")
    assert "The bucket is gone." in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_the_cause_of_an_exception_is_told(out: io.StringIO) -> None:
    try:
        fail_because()
    except StorageUnavailable:
        get_logger("x").exception("store.failed")
    (line,) = read(out)
    assert "/nowhere/at/all" in json.dumps(line["exception"])


def test_records_of_other_libraries_have_the_same_form(out: io.StringIO) -> None:
    logging.getLogger("other.library").warning("took %d of %s", 3, "five", extra={"port": 80})
    (line,) = read(out)
    line.pop("time")
    assert line == {
        "event": "took 3 of five",
        "level": "warning",
        "logger": "other.library",
        "port": 80,
    }


def test_an_exception_of_another_library_is_inside_the_one_line(out: io.StringIO) -> None:
    try:
        fail()
    except StorageUnavailable:
        logging.getLogger("other.library").exception("it broke\nbadly")
    (line,) = read(out)
    assert line["event"] == "it broke\nbadly"
    assert "StorageUnavailable" in json.dumps(line["exception"])


def test_a_warning_is_an_event_too(out: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        configure_logging("info", LogFormat.JSON, out)
        warnings.warn("old\nways", DeprecationWarning, stacklevel=1)
    (line,) = read(out)
    assert line["level"] == "warning"
    assert "old\nways" in str(line["event"])


def test_what_is_bound_to_the_context_is_in_everybodys_lines(out: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(request_id="req_1"):
        get_logger("x").info("ours")
        logging.getLogger("other").info("theirs")
    get_logger("x").info("later")
    ours, theirs, later = read(out)
    assert ours["request_id"] == theirs["request_id"] == "req_1"
    assert "request_id" not in later


@pytest.mark.parametrize(
    ("level", "seen"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_nothing_below_the_level_is_written(level: str, seen: list[str]) -> None:
    stream = io.StringIO()
    configure_logging(level, LogFormat.JSON, stream)
    for name in ("debug", "info", "warning", "error"):
        getattr(get_logger("x"), name)("event")
    assert [line["level"] for line in read(stream)] == seen


def test_libraries_that_narrate_are_heard_only_when_something_is_wrong(out: io.StringIO) -> None:
    for name in ("botocore.endpoint", "celery.beat"):
        logging.getLogger(name).info("narrating")
        logging.getLogger(name).warning("wrong")
    assert [line["event"] for line in read(out)] == ["wrong"] * 2


def test_urllib3_which_quotes_whole_urls_in_its_warnings_is_not_heard(out: io.StringIO) -> None:
    logging.getLogger("urllib3.connection").warning("Failed to parse headers (url=http://a/?s=k)")
    assert read(out) == []


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("closed file")])
def test_whoever_logs_does_not_fail_for_want_of_a_log(error: Exception) -> None:
    class Gone(io.StringIO):
        def write(self, text: str, /) -> int:
            del text
            raise error

    configure_logging("info", LogFormat.JSON, Gone())
    get_logger("x").info("event")


def test_a_second_configuration_replaces_the_first(out: io.StringIO) -> None:
    again = io.StringIO()
    configure_logging("info", LogFormat.JSON, again)
    get_logger("x").info("event")
    assert out.getvalue() == ""
    assert len(read(again)) == 1


def test_auto_is_console_on_a_terminal_and_json_elsewhere() -> None:
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        configure_logging("info", LogFormat.AUTO, stream)
        get_logger("x").info("fetch.started", task_id="task_1")
    assert "\x1b[" in terminal.getvalue()
    assert "task_1" in terminal.getvalue()
    assert read(file)[0]["task_id"] == "task_1"


def test_console_has_no_colours_in_a_file() -> None:
    stream = io.StringIO()
    configure_logging("info", LogFormat.CONSOLE, stream)
    get_logger("x").info("fetch.started", task_id="task_1")
    assert "\x1b[" not in stream.getvalue()
    assert "fetch.started" in stream.getvalue()


def test_without_a_stream_logs_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", LogFormat.JSON)
    get_logger("x").info("event")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert json.loads(shown.err)["event"] == "event"
