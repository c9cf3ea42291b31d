"""``/batches/{id}/pause``, ``…/resume``, ``…/cancel``, ``…/retry``: what a person decides about all
tasks of a batch.

The decision is one write and counts from its answer on; the tasks follow (the beat's ``batches``).
"""

from __future__ import annotations

from collections.abc import Callable

from apiflask import APIBlueprint
from flask import Response
from sqlalchemy import Connection

from api.admission import admit_bodiless
from api.answers import BatchAnswer
from api.auth import get_project
from api.batches import find_batch
from api.documents import describe
from api.envelope import build_object
from api.services import get_services
from ingest.batch_resources import show_batch
from ingest.batches import DECISIONS
from ingest.errors import ConflictError
from ingest.logs import get_logger
from storage.records import batches

blueprint = APIBlueprint("batch_actions", __name__, tag="Batches")
blueprint.before_request(admit_bodiless)

_ANSWERS = {200: BatchAnswer, 404: None, 409: None, 415: None, 422: None, 503: None}


@blueprint.post("/batches/<batch_id>/pause")
@describe(
    blueprint,
    "Pause a batch",
    "None of its tasks begins any more; those that run go on. Takes no body.",
    _ANSWERS,
)
def pause(batch_id: str) -> Response:
    """Let no more tasks begin."""
    return _decide(batch_id, "pause", batches.pause)


@blueprint.post("/batches/<batch_id>/resume")
@describe(blueprint, "Resume a batch", "Its tasks begin again. Takes no body.", _ANSWERS)
def resume(batch_id: str) -> Response:
    """Let tasks begin again."""
    return _decide(batch_id, "resume", batches.resume)


@blueprint.post("/batches/<batch_id>/cancel")
@describe(
    blueprint,
    "Cancel a batch",
    "None of its tasks begins any more, and all that have not ended are cancelled, some hundreds "
    "at a time. Takes no body.",
    _ANSWERS,
)
def cancel(batch_id: str) -> Response:
    """End all that is open."""
    return _decide(batch_id, "cancel", batches.cancel)


@blueprint.post("/batches/<batch_id>/retry")
@describe(
    blueprint,
    "Retry what failed of a batch",
    "Each failed task is pending again, with all its attempts before it, some hundreds at a time. "
    "Takes no body.",
    _ANSWERS,
)
def retry(batch_id: str) -> Response:
    """Give what failed another go."""
    return _decide(batch_id, "retry", batches.retry)


def _decide(
    batch_id: str, decision: str, decide: Callable[[Connection, str, str], bool]
) -> Response:
    services, project = get_services(), get_project()
    with services.database.transaction() as connection:
        before = find_batch(connection, project, batch_id)
        if not decide(connection, project.id, batch_id):
            if before.dry_run and before.finished is None:
                raise ConflictError(
                    "The batch is a dry run; it has no tasks, and can be cancelled."
                )
            takes = " or ".join(sorted(DECISIONS[decision]))
            raise ConflictError(f"The batch is {before.status}; this takes one that is {takes}.")
        batch = find_batch(connection, project, batch_id)
    get_logger(__name__).info(f"batch.{decision}", batch_id=batch.id)
    services.queue.nudge()
    return build_object(show_batch(batch), f"/batches/{batch.id}")
