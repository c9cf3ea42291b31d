"""One JSON line an event, or a readable one on a terminal.

Every room logs through structlog with the same field names: ``event`` (a short dotted verb phrase),
``request_id``, ``task_id``, ``attempt``, ``worker``. Our own events are written as they are made;
records of other libraries come through ``logging`` and pass the same renderer. URLs are logged
redacted (:attr:`ingest.urls.SourceUrl.redacted`), never whole.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog

from ingest.config import LogFormat


def configure_logging(level: str, log_format: LogFormat, stream: TextIO | None = None) -> None:
    """Send all logging of this process to ``stream`` (stderr unless told).

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        log_format: JSON lines, console, or by whether the stream is a terminal.
    """
    out = sys.stderr if stream is None else stream
    as_json = log_format is LogFormat.JSON or (log_format is LogFormat.AUTO and not out.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    final = _make_json_end() if as_json else _make_console_end(colors=out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    structlog.configure(
        processors=[*shared, *final],
        logger_factory=lambda name="": _Lines(name, handler),
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        cache_logger_on_first_use=False,
    )
    logging.captureWarnings(capture=True)
    # urllib3 quotes whole URLs in its warnings, signatures and all.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    # These narrate every request or message at info; Headrace's own events say what matters.
    for noisy in (
        "botocore",
        "boto3",
        "s3transfer",
        "celery.worker.strategy",
        "celery.app.trace",
        "celery.beat",
    ):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


class _Lines:
    """Writes finished lines where a handler writes its own, never one into another."""

    def __init__(self, name: str, handler: logging.StreamHandler[TextIO]) -> None:
        self.name = name
        self._handler = handler

    def msg(self, line: str) -> None:
        """Write a line; whoever logs does not fail for want of a log."""
        self._handler.acquire()
        try:
            self._handler.stream.write(f"{line}\n")
            self._handler.flush()
        except (OSError, ValueError):
            pass
        finally:
            self._handler.release()

    debug = info = warning = error = critical = msg


# Tracebacks never show local variables, as both renderers would if left alone: those hold keys and
# signed URLs.
def _make_json_end() -> list[structlog.typing.Processor]:
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [
        structlog.processors.ExceptionRenderer(tracebacks),
        structlog.processors.JSONRenderer(),
    ]


def _make_console_end(*, colors: bool) -> list[structlog.typing.Processor]:
    return [
        structlog.dev.ConsoleRenderer(
            colors=colors,
            exception_formatter=structlog.dev.plain_traceback,
            timestamp_key="time",
        )
    ]


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module; call it inside functions or bind it at the edges."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
