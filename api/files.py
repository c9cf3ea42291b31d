"""``/files``: what is stored, and the ingest that answers with its file."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response
from sqlalchemy import Connection

from api.admission import admit
from api.answers import DeletedAnswer, FileAnswer, FileListAnswer, TaskAnswer
from api.auth import get_project
from api.documents import describe
from api.envelope import build_list, build_object
from api.ingests import create_task, find_places, show
from api.outcomes import answer_end
from api.preferences import read_preference
from api.refusals import FAILED_INGEST
from api.removal import remove_file
from api.schemas import FileChange, FileListing, FileRequest
from api.services import Services, get_services
from api.waiting import wait_for_end
from ingest.errors import FileExists, NotFound, QuotaExceeded, StorageUnavailable
from ingest.ids import Prefix, is_id
from ingest.logs import get_logger
from ingest.model import IfExists, Project
from ingest.resources import DeletedResource
from storage.records import files

blueprint = APIBlueprint("files", __name__, tag="Files")
blueprint.before_request(admit)

_NO_FILE = "There is no such file in this project."


@blueprint.post("/files")
@blueprint.input(FileRequest, arg_name="asked")
@describe(
    blueprint,
    "Ingest a file and wait for it",
    "201 with the file; 202 with the task if it takes longer than the server waits, or than "
    "`Prefer: wait=…` says, at once with `Prefer: respond-async`; 422 with the task's error if the "
    "ingest failed.",
    {
        200: FileAnswer,
        201: FileAnswer,
        202: TaskAnswer,
        400: None,
        409: None,
        413: None,
        415: None,
        422: None,
        503: None,
    },
    raises={403: (QuotaExceeded,), 409: (FileExists,), 422: FAILED_INGEST},
)
def create(asked: FileRequest) -> Response:
    """Ingest and wait; the work is a worker's."""
    services = get_services()
    limit_s, applied = read_preference(services.settings.sync_timeout_s)
    order = services.planner.make_order(asked)
    if_exists = asked.if_exists or IfExists.ERROR
    ordered = create_task(services, get_project(), order, if_exists=if_exists)
    task = wait_for_end(services, ordered.task, limit_s)
    response = answer_end(services, task, 200 if ordered.was_there else 201)
    if applied is not None:
        response.headers["Preference-Applied"] = applied
    return response


@blueprint.get("/files/<file_id>")
@describe(blueprint, "Get a file", "", {200: FileAnswer, 404: None})
def read(file_id: str) -> Response:
    """Answer with one file."""
    services = get_services()
    file = None
    if is_id(Prefix.FILE, file_id):
        with services.database.look() as connection:
            file = files.get(connection, get_project().id, file_id)
    if file is None:
        raise NotFound(_NO_FILE)
    return build_object(show(services, file), f"/files/{file.id}")


@blueprint.get("/files")
@blueprint.input(FileListing, location="query", arg_name="asked")
@describe(blueprint, "List files", "Newest first.", {200: FileListAnswer, 422: None})
def list_all(asked: FileListing) -> Response:
    """Answer with one page of files."""
    services = get_services()
    window = asked.to_window()
    with services.database.transaction() as connection:
        page = files.list_page(connection, get_project().id, asked.kind, asked.ref, window)
    ids = [file.id for file in page.items]
    return build_list([show(services, file) for file in page.items], page, window, ids)


@blueprint.patch("/files/<file_id>")
@blueprint.input(FileChange, arg_name="asked")
@describe(
    blueprint,
    "Change a file",
    "Its `ref` and its `metadata`: what is left out stays, null takes it away. Its `access`. With "
    "another `folder` or `filename` the file is called so at once, and its object is moved.",
    {
        200: FileAnswer,
        400: None,
        404: None,
        409: None,
        413: None,
        415: None,
        422: None,
        503: None,
    },
    raises={409: (FileExists,)},
)
def change(file_id: str, asked: FileChange) -> Response:
    """Change what belongs to its owner."""
    services, project = get_services(), get_project()
    file = None
    if is_id(Prefix.FILE, file_id):
        kept = asked.model_fields_set & {"ref", "metadata"}
        values = {name: getattr(asked, name) for name in kept}
        if asked.access is not None:
            services.planner.check_file_access(asked.access)
            values["access"] = asked.access
        with services.database.transaction() as connection:
            if asked.folder is not None or asked.filename is not None:
                _rename(services, connection, project, file_id, asked)
            file = files.change(connection, project.id, file_id, values)
    if file is None:
        raise NotFound(_NO_FILE)
    get_logger(__name__).info("file.changed", file_id=file.id)
    services.queue.nudge_webhooks()
    return build_object(show(services, file), f"/files/{file.id}")


def _rename(
    services: Services, connection: Connection, project: Project, file_id: str, asked: FileChange
) -> None:
    file = files.lock(connection, project.id, file_id)
    if file is None:
        return
    folder = file.folder if asked.folder is None else asked.folder
    filename = file.filename if asked.filename is None else asked.filename
    own_name = file.object_key.rpartition("/")[2]
    key = services.planner.plan_key(
        project, folder, filename or own_name, find_places(connection, project)
    )
    if key != file.object_key:
        files.rename(connection, file, folder, filename, key)


@blueprint.delete("/files/<file_id>")
@describe(
    blueprint,
    "Delete a file",
    "The object and its record; the name is free again.",
    {200: DeletedAnswer, 404: None, 503: None},
    raises={503: (StorageUnavailable,)},
)
def delete(file_id: str) -> Response:
    """Delete a file."""
    services = get_services()
    if not is_id(Prefix.FILE, file_id) or not remove_file(services, get_project().id, file_id):
        raise NotFound(_NO_FILE)
    gone = DeletedResource(id=file_id, message=f"{file_id} is deleted.")
    return build_object(gone, f"/files/{file_id}")
