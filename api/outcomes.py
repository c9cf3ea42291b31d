"""What came of an ingest, for whoever has waited for it: its file, its task, or why it failed."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Response

from api.envelope import build_error, build_object, make_link
from api.ingests import show, show_tasks
from api.services import Services
from ingest.errors import (
    AttemptsExhausted,
    Cancelled,
    ChecksumMismatch,
    Failure,
    FileExists,
    InternalError,
    LeaseLost,
    QuotaExceeded,
    StorageUnavailable,
    UploadLost,
)
from ingest.model import Task
from ingest.resources import hide_secrets
from ingest.states import Status
from storage.records import files

# Which field a failed ingest is to be blamed on, where that is not the source's URL.
_AT_FAULT: Mapping[str, str | None] = {
    AttemptsExhausted.code: None,
    Cancelled.code: None,
    ChecksumMismatch.code: "checksum",
    FileExists.code: "filename",
    InternalError.code: None,
    LeaseLost.code: None,
    QuotaExceeded.code: None,
    StorageUnavailable.code: None,
    UploadLost.code: None,
}


def answer_end(services: Services, task: Task, made: int, *, has_key: bool = True) -> Response:
    """Answer with what a task has come to.

    Args:
        made: the status for a file that this task has made.
        has_key: whether the one who asked has a key of the project. Who has none has sent the file,
            so no field is to blame; and may be answered with the task of somebody else.
    """
    if task.status is Status.COMPLETE:
        with services.database.transaction() as connection:
            file = files.get(connection, task.project_id, task.output_id)
        if file is not None:
            path = f"/files/{file.id}"
            status = 200 if task.duplicate_of is not None else made
            return build_object(show(services, file), path, status, {"Location": make_link(path)})
    task_path = f"/tasks/{task.id}"
    if task.status in {Status.FAILED, Status.CANCELLED}:
        error = task.error or Failure("internal_error", "The ingest failed.", retryable=True)
        body: dict[str, object] = {
            "code": error.code,
            "message": error.message,
            "param": _AT_FAULT.get(error.code, "url") if has_key else None,
            "retryable": error.retryable,
            "task_id": task.id,
        }
        return build_error(body, 422, {"Location": make_link(task_path)})
    shown = show_tasks(services, [task])[0]
    if not has_key:
        shown = hide_secrets(shown)
    return build_object(shown, task_path, 202, {"Location": make_link(task_path)})
