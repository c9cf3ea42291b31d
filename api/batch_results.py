"""``/batches/{id}/results.csv`` and ``….ndjson``: what became of each row of the list, streamed.

Invariants: a row of the list is told once, in its order, whatever its state; some hundred rows are
held at a time, and no transaction while they are sent.
"""

from __future__ import annotations

import csv
import heapq
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from apiflask import APIBlueprint
from flask import Response, stream_with_context

from api.admission import admit_list
from api.auth import get_project
from api.batches import find_batch
from api.documents import describe
from api.ingests import show
from api.services import Services, get_services
from ingest.batches import Batch, Reject
from ingest.errors import RateLimited
from ingest.resources import show_time_or_none
from storage.records import batch_checks, batches
from storage.records.batch_checks import CheckedRow
from storage.records.batch_loading import find_beginning
from storage.records.results import Result, read_results

blueprint = APIBlueprint("batch_results", __name__, tag="Batches")
blueprint.before_request(admit_list)

_ROWS_AT_ONCE = 500
_COLUMNS = (
    "line", "status", "url", "folder", "filename", "ref", "task_id", "attempts", "error_code",
    "error_message", "finished", "file_id", "file_url", "kind", "type", "filesize", "checksum",
    "width", "height", "duration",
)  # fmt: skip
# Of a dry run.
_CHECK_COLUMNS = (
    "line", "status", "url", "error_code", "error_message", "retryable", "type", "filesize",
    "ranges", "etag", "last_modified",
)  # fmt: skip
_Row = Mapping[str, object]
_Columns = Sequence[str]


@blueprint.get("/batches/<batch_id>/results.csv")
@describe(
    blueprint,
    "Download a batch's results as CSV",
    "A row for each row of the list, in its order, as they stand now.",
    {200: None, 404: None},
    stream="text/csv",
)
def read_csv(batch_id: str) -> Response:
    """Stream what became of each row."""
    return _stream(batch_id, "csv", "text/csv; charset=utf-8; header=present", _write_csv)


@blueprint.get("/batches/<batch_id>/results.ndjson")
@describe(
    blueprint,
    "Download a batch's results as NDJSON",
    "An object for each row of the list, in its order, as they stand now.",
    {200: None, 404: None},
    stream="application/x-ndjson",
)
def read_ndjson(batch_id: str) -> Response:
    """Stream what became of each row."""
    return _stream(batch_id, "ndjson", "application/x-ndjson", _write_ndjson)


def _stream(
    batch_id: str,
    suffix: str,
    content_type: str,
    write: Callable[[_Columns, Iterator[_Row]], Iterator[str]],
) -> Response:
    services = get_services()
    with services.database.transaction() as connection:
        batch = find_batch(connection, get_project(), batch_id)
    # Whoever reads slowly holds a thread, and some are to be left for those who only ask.
    if not services.waiters.acquire(blocking=False):
        raise RateLimited("As many downloads run here as may; ask again.", retry_after_s=5)
    columns = _CHECK_COLUMNS if batch.dry_run else _COLUMNS
    taken = _read_checked if batch.dry_run else _read_tasks
    rows = (
        {**dict.fromkeys(columns), **row}
        for _, row in heapq.merge(
            taken(services, batch), _read_rejects(services, batch), key=lambda pair: pair[0]
        )
    )
    response = Response(stream_with_context(write(columns, rows)), content_type=content_type)
    response.call_on_close(services.waiters.release)
    response.headers["Content-Disposition"] = f'attachment; filename="{batch.id}.{suffix}"'
    return response


def _read_tasks(services: Services, batch: Batch) -> Iterator[tuple[int, _Row]]:
    after = find_beginning(batch.id)
    while True:
        with services.database.transaction() as connection:
            found = read_results(connection, batch.id, after, _ROWS_AT_ONCE)
        yield from ((one.line, _show_result(services, one)) for one in found)
        if len(found) < _ROWS_AT_ONCE:
            return
        after = found[-1].task_id


def _read_checked(services: Services, batch: Batch) -> Iterator[tuple[int, _Row]]:
    after = 0
    while True:
        with services.database.transaction() as connection:
            found = batch_checks.list_checked(connection, batch.id, after, _ROWS_AT_ONCE)
        yield from ((one.answer.line, _show_checked(one)) for one in found)
        if len(found) < _ROWS_AT_ONCE:
            return
        after = found[-1].answer.line


def _read_rejects(services: Services, batch: Batch) -> Iterator[tuple[int, _Row]]:
    after = 0
    while True:
        with services.database.transaction() as connection:
            found = batches.list_rejects(connection, batch.id, after, _ROWS_AT_ONCE)
        yield from ((one.line, _show_reject(one)) for one in found)
        if len(found) < _ROWS_AT_ONCE:
            return
        after = found[-1].line


def _show_result(services: Services, result: Result) -> _Row:
    file = None if result.file is None else show(services, result.file)
    error = result.error
    shown: dict[str, object] = {
        "line": result.line,
        "status": result.status.value,
        "url": result.url,
        "folder": result.folder,
        "filename": result.filename,
        "ref": result.ref,
        "task_id": result.task_id,
        "attempts": result.attempts,
        "error_code": None if error is None else error.code,
        "error_message": None if error is None else error.message,
        "finished": show_time_or_none(result.finished),
    }
    if file is not None:
        shown |= {"file_id": file.id, "file_url": file.url}
        shown |= file.model_dump(
            include={"kind", "type", "filesize", "checksum", "width", "height", "duration"}
        )
    return shown


def _show_checked(row: CheckedRow) -> _Row:
    answer, error = row.answer, row.answer.error
    return {
        "line": answer.line,
        "status": row.status,
        "url": row.url,
        "error_code": None if error is None else error.code,
        "error_message": None if error is None else error.message,
        "retryable": None if error is None else error.retryable,
        "type": answer.type,
        "filesize": answer.size_bytes,
        "ranges": answer.ranged,
        "etag": answer.etag,
        "last_modified": answer.last_modified,
    }


def _show_reject(reject: Reject) -> _Row:
    return {
        "line": reject.line,
        "status": "rejected",
        "url": reject.url,
        "error_code": reject.error.code,
        "error_message": reject.error.message,
    }


def _write_csv(columns: _Columns, rows: Iterator[_Row]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\r\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(row)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    # The first line alone, where there are no rows.
    yield buffer.getvalue()


def _write_ndjson(columns: _Columns, rows: Iterator[_Row]) -> Iterator[str]:
    # Each row has them all.
    del columns
    for row in rows:
        yield json.dumps(row, ensure_ascii=False) + "\n"
