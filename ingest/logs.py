"""One JSON line an event, or a readable one on a terminal.

Every room logs through structlog with the same field names: ``event`` (a short dotted verb phrase),
``request_id``, ``task_id``, ``attempt``, ``worker``. Records of other libraries pass the same
formatter. URLs are logged redacted (:attr:`ingest.urls.SourceUrl.redacted`), never whole.
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
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
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
