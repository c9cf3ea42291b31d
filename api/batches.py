"""``/batches``: many ingests that are asked for at once and followed as one."""

from __future__ import annotations

from collections.abc import Callable

from apiflask import APIBlueprint
from flask import Response, g
from sqlalchemy import Connection

from api.admission import admit_list
from api.answers import BatchAnswer, BatchCheckAnswer, BatchListAnswer, TaskListAnswer
from api.auth import get_project
from api.batch_bodies import AskedBatch, BatchQuery, open_list
from api.documents import describe
from api.envelope import build_list, build_object, make_link
from api.idempotency import find_made, make_renewal, note_made
from api.ingests import show_tasks
from api.receivers import ensure_project_secret
from api.schemas import BatchListing, BatchTaskListing
from api.services import Services, get_services
from ingest.batch_requests import BatchOptions, ListSource
from ingest.batch_resources import BatchCheckResource, show_batch, show_reject
from ingest.batches import Batch
from ingest.errors import FieldInvalid, FileExists, NotFound, QuotaExceeded
from ingest.ids import Prefix, is_id, make_id
from ingest.logs import get_logger
from ingest.model import Project
from ingest.source_headers import dump_headers
from ingest.urls import parse_order_url
from storage.batch_intake import Intake
from storage.check_rows import CheckRows
from storage.records import batch_checks, batch_jobs, batches, lookups
from storage.records.batch_loading import PlannedTask

blueprint = APIBlueprint("batches", __name__, tag="Batches")
blueprint.before_request(admit_list)


@blueprint.post("/batches")
@blueprint.input(BatchQuery, location="query", arg_name="query")
@describe(
    blueprint,
    "Create a batch",
    "A task for each item of a list: a JSON body, NDJSON, CSV with a first line that names the "
    "fields, a URL a line, or a `TsvHttpData-1.0` list. Items that cannot be taken are told with "
    "their line and do not stop the others. With `dry_run` it says what would be made, and makes "
    "nothing; with `check_sources` too, a worker asks each source for its beginning. A list at a "
    "`source_url` is read by a worker: the batch is `loading` meanwhile.",
    {200: BatchCheckAnswer, 201: BatchAnswer, 202: BatchAnswer, 400: None, 409: None, 413: None,
     415: None, 422: None, 503: None},
    raises={403: (QuotaExceeded,), 409: (FileExists,)},
)  # fmt: skip
def create(query: BatchQuery) -> Response:
    """Write all tasks of a list down, or none."""
    services, project = get_services(), get_project()
    with (
        open_list(query, services.settings.batch_max_bytes) as asked,
        services.database.transaction() as connection,
    ):
        made = find_made(Prefix.BATCH)
        if made is not None:
            return _show_made(find_batch(connection, project, made))
        if g.access.is_full:
            raise QuotaExceeded(
                "The project stores as much as it may. Delete files, or ask for more."
            )
        if asked.source is not None:
            batch = _order_load(services, connection, project, asked.options, asked.source)
            return _show_made(batch)
        if asked.options.check_sources:
            return _show_made(_order_check(services, connection, project, asked))
        taken = _make_intake(services, connection, project, asked.options).take(asked.rows)
        if asked.options.dry_run:
            shown = BatchCheckResource(
                total=taken.total,
                rejected=taken.rejected,
                rejects=[show_reject(one) for one in taken.rejects],
            )
            return build_object(shown, "/batches")
        note_made(connection, taken.batch_id)
        batch = find_batch(connection, project, taken.batch_id)
    get_logger(__name__).info(
        "batch.created", batch_id=batch.id, tasks=batch.total, rejected=batch.rejected
    )
    services.queue.nudge()
    return _show_made(batch)


@blueprint.get("/batches/<batch_id>")
@describe(
    blueprint,
    "Get a batch",
    "With its tasks counted by state, and the first of the items that were not taken.",
    {200: BatchAnswer, 404: None},
)
def read(batch_id: str) -> Response:
    """Answer with one batch."""
    with get_services().database.look() as connection:
        batch = find_batch(connection, get_project(), batch_id)
    return build_object(show_batch(batch), f"/batches/{batch.id}")


@blueprint.get("/batches")
@blueprint.input(BatchListing, location="query", arg_name="asked")
@describe(blueprint, "List batches", "Newest first.", {200: BatchListAnswer, 422: None})
def list_all(asked: BatchListing) -> Response:
    """Answer with one page of batches."""
    window = asked.to_window()
    narrowed = batches.BatchFilter(asked.status, asked.ref)
    with get_services().database.transaction() as connection:
        page = batches.list_page(connection, get_project().id, narrowed, window)
    ids = [batch.id for batch in page.items]
    return build_list([show_batch(batch) for batch in page.items], page, window, ids)


@blueprint.get("/batches/<batch_id>/tasks")
@blueprint.input(BatchTaskListing, location="query", arg_name="asked")
@describe(
    blueprint,
    "List a batch's tasks",
    "The last of its list first.",
    {200: TaskListAnswer, 404: None, 422: None},
)
def list_tasks(batch_id: str, asked: BatchTaskListing) -> Response:
    """Answer with one page of a batch's tasks."""
    services, project = get_services(), get_project()
    window = asked.to_window()
    narrowed = lookups.TaskFilter(status=asked.status, ref=asked.ref, batch_id=batch_id)
    with services.database.transaction() as connection:
        find_batch(connection, project, batch_id)
        page = lookups.list_page(connection, project.id, narrowed, window)
    ids = [task.id for task in page.items]
    return build_list(show_tasks(services, page.items), page, window, ids)


def find_batch(connection: Connection, project: Project, batch_id: str) -> Batch:
    """Return a project's batch.

    Raises:
        NotFound: it has no such batch, or this is no batch's id.
    """
    batch = None
    if is_id(Prefix.BATCH, batch_id):
        batch = batches.get(connection, project.id, batch_id)
    if batch is None:
        raise NotFound("There is no such batch in this project.")
    return batch


def _show_made(batch: Batch) -> Response:
    path = f"/batches/{batch.id}"
    # Its list is still read, or its sources are asked.
    is_done = batch.source_url is None and not batch.dry_run
    status = 201 if is_done else 202
    return build_object(show_batch(batch), path, status, {"Location": make_link(path)})


def _order_check(
    services: Services, connection: Connection, project: Project, asked: AskedBatch
) -> Batch:
    """Write a dry run down whose sources some worker asks.

    Raises:
        HeadraceError: as for a batch that is made.
    """
    options = asked.options
    with CheckRows() as rows:
        intake = _make_intake(services, connection, project, options, rows.note)
        taken = intake.take(asked.rows)
        batches.create_check(
            connection,
            project.id,
            taken.batch_id,
            batches.NewBatch(
                options.ref, options.metadata, options.webhook_url, options.concurrency
            ),
            total=taken.total,
            rejects=taken.rejects,
            rejected=taken.rejected,
            request_id=g.request_id,
        )
        batch_checks.order(connection, project.id, taken.batch_id, rows.read())
    note_made(connection, taken.batch_id)
    get_logger(__name__).info("batch.check_ordered", batch_id=taken.batch_id, sources=taken.total)
    return find_batch(connection, project, taken.batch_id)


def _order_load(
    services: Services,
    connection: Connection,
    project: Project,
    options: BatchOptions,
    source: ListSource,
) -> Batch:
    """Write a batch down whose list some worker reads.

    Raises:
        FieldInvalid: what can be judged without the list is wrong.
    """
    planner, found = services.planner, parse_order_url(source.source_url)
    planner.check_connection(project, found, "source_url")
    told = options.webhook_url
    if told is not None:
        told = planner.check_receiver(told, "webhook_url")
        ensure_project_secret(services, connection, project)
    defaults, of_items = options.defaults, None
    if defaults is not None and defaults.headers:
        if not services.sealer.can_seal:
            raise FieldInvalid(
                "'headers' cannot be kept safe here: the operator has set no HEADRACE_SECRET_KEYS.",
                param="defaults.headers",
            )
        of_items = services.sealer.seal(dump_headers(defaults.headers))
    batch_id = make_id(Prefix.BATCH)
    batches.create_loading(
        connection,
        project.id,
        batch_id,
        batches.NewBatch(options.ref, options.metadata, told, options.concurrency),
        source_url=found.redacted,
        dry_run=options.dry_run,
        request_id=g.request_id,
    )
    batch_jobs.order_load(
        connection,
        project.id,
        batch_id,
        source.source_url,
        source.form,
        options.model_dump(mode="json", exclude_none=True, exclude={"defaults": {"headers"}}),
        sealed_headers=planner.seal_headers(source.source_url, source.headers),
        sealed_item_headers=of_items,
    )
    note_made(connection, batch_id)
    get_logger(__name__).info("batch.ordered", batch_id=batch_id, source=found.redacted)
    return find_batch(connection, project, batch_id)


def _make_intake(
    services: Services,
    connection: Connection,
    project: Project,
    options: BatchOptions,
    note: Callable[[PlannedTask], object] | None = None,
) -> Intake:
    settings = services.settings
    return Intake(
        connection,
        services.planner,
        project,
        options,
        request_id=g.request_id,
        most_rows=settings.find_most_rows(asks_sources=options.check_sources),
        max_attempts=settings.max_attempts,
        ensure_secret=lambda: ensure_project_secret(services, connection, project),
        keep_alive=make_renewal(),
        note=note,
    )
