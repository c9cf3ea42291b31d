"""``/uploads/…``: whoever has a URL that is signed for it sends one file, without a key.

The body goes into the store beside all files (:mod:`api.upload_bodies`), and a task makes the file
of it like of any other source, so that all that is told of files and tasks is told of it. What
was sent is deleted once that task has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from apiflask import APIBlueprint
from flask import Response, g

from api.answers import FileAnswer, TaskAnswer
from api.documents import describe
from api.ingests import Ordered, create_task, find_places, find_there
from api.outcomes import answer_end
from api.preferences import read_preference
from api.refusals import FAILED_INGEST
from api.schemas import UploadQuery
from api.services import Services, get_services
from api.upload_bodies import take_in
from api.waiting import wait_for_end
from ingest.access import Access, Scope
from ingest.errors import (
    BodyTooLarge,
    ConflictError,
    DatabaseUnavailable,
    FileExists,
    HeadraceError,
    NotFound,
    QuotaExceeded,
    RateLimited,
    StorageUnavailable,
    UploadLost,
)
from ingest.ids import Prefix, is_id, make_id
from ingest.logs import get_logger
from ingest.model import IfExists, Order, Project, Task
from ingest.url_signatures import Grant, SignedMethod, read_terms
from ingest.urls import ObjectUrl
from storage.records import files, names, projects

blueprint = APIBlueprint("uploads", __name__, tag="Uploads")
_FULL = "The project stores as much as it may. Delete files, or ask for more."


@blueprint.put("/uploads/<project_id>/<path:name>")
@blueprint.input(UploadQuery, location="query", arg_name="asked")
@describe(
    blueprint,
    "Send a file to a signed URL",
    "The body is the file. 201 with the File; 200 and 202 as for `POST /files`.",
    {
        200: FileAnswer,
        201: FileAnswer,
        202: TaskAnswer,
        400: None,
        404: None,
        413: None,
        422: None,
        503: None,
    },
    raises={
        403: (QuotaExceeded,),
        409: (ConflictError, FileExists),
        422: FAILED_INGEST,
        429: (RateLimited,),
        503: (StorageUnavailable, UploadLost),
    },
    public=True,
)
def send(project_id: str, name: str, asked: UploadQuery) -> Response:
    """Take a file in, and wait for it."""
    services = get_services()
    limit_s, applied = read_preference(services.settings.sync_timeout_s)
    project, room_bytes, grant = _let_in(services, project_id, name, asked)
    folder, _, filename = name.rpartition("/")
    there, freed_bytes = _look_at_name(services, project, folder or None, filename, grant.if_exists)
    if there is None:
        if room_bytes is not None:
            room_bytes += freed_bytes
        with _place(services):
            ordered = _take(services, project, room_bytes, folder or None, filename, grant)
    else:
        ordered = Ordered(there, was_there=True)
    task = wait_for_end(services, ordered.task, limit_s)
    response = answer_end(services, task, 200 if ordered.was_there else 201, has_key=False)
    if applied is not None:
        response.headers["Preference-Applied"] = applied
    return response


def _let_in(
    services: Services, project_id: str, name: str, asked: UploadQuery
) -> tuple[Project, int | None, Grant]:
    terms = read_terms(asked.expiry, asked.if_exists, asked.access)
    found = None
    if is_id(Prefix.PROJECT, project_id) and terms is not None:
        with services.database.look() as connection:
            found = projects.find_open(connection, project_id)
    if found is not None and terms is not None:
        project, room_bytes = found
        key = "/".join(part for part in (project.key_prefix, name) if part)
        grant = Grant(SignedMethod.PUT, project.id, key, *terms)
        if services.signer.count_seconds(grant, asked.signature or ""):
            scopes = frozenset({Scope.WRITE})
            g.access = Access(project, "", scopes, is_full=room_bytes == 0)
            return project, room_bytes, grant
    raise NotFound("Nothing is taken here: the URL is not signed for it, or has ended.")


def _look_at_name(
    services: Services, project: Project, folder: str | None, filename: str, if_exists: IfExists
) -> tuple[Task | None, int]:
    """Return the task that has the name, where that is what is answered with; and how many bytes
    give room that are to be replaced.

    Before anything is sent: the name is reserved when all of it is there, and only then.

    Raises:
        FileExists: somebody has it, and that is not to be helped.
        FieldInvalid: it may not be taken any more.
    """
    with services.database.transaction() as connection:
        places = find_places(connection, project)
        key = services.planner.plan_key(project, folder, filename, places)
        there = find_there(connection, project, folder, filename)
        if there is None or if_exists is IfExists.RENAME:
            return None, 0
        if if_exists is IfExists.OVERWRITE:
            file = files.get(connection, project.id, there.output_id)
            return None, 0 if file is None else file.filesize_bytes
    if if_exists is IfExists.ERROR:
        raise names.explain_taken(key)
    return there, 0


@contextmanager
def _place(services: Services) -> Iterator[None]:
    """Hold one of the places for those who send: each has a part of a file in memory, and a thread.

    Raises:
        RateLimited: there is none.
    """
    busy = RateLimited("As many files are sent here as may be; try again.", retry_after_s=5)
    if not services.uploads.acquire(blocking=False):
        raise busy
    try:
        if not services.waiters.acquire(blocking=False):
            raise busy
        try:
            yield
        finally:
            services.waiters.release()
    finally:
        services.uploads.release()


def _take(
    services: Services,
    project: Project,
    room_bytes: int | None,
    folder: str | None,
    filename: str,
    grant: Grant,
) -> Ordered:
    if room_bytes == 0:
        raise QuotaExceeded(_FULL)
    file_id = make_id(Prefix.FILE)
    url = ObjectUrl.of_upload(file_id)
    most = services.settings.max_bytes

    def say_too_large() -> HeadraceError:
        if room_bytes is not None and room_bytes < most:
            return QuotaExceeded("With this file the project would store more than it may.")
        return BodyTooLarge(f"The body is longer than the {most} bytes that are taken.")

    most_bytes = most if room_bytes is None else min(most, room_bytes)
    staged = take_in(services.settings, services.staging, url.key, most_bytes, say_too_large)
    get_logger(__name__).info("upload.taken", file_id=file_id, bytes=staged.size_bytes)
    order = Order(
        url=str(url),
        folder=folder,
        filename=filename,
        ref=None,
        metadata=None,
        checksum=f"sha256:{staged.sha256}",
        max_bytes=None,
        overwrites=grant.if_exists is IfExists.OVERWRITE,
        access=grant.access,
    )
    try:
        ordered = create_task(services, project, order, if_exists=grant.if_exists, file_id=file_id)
    except DatabaseUnavailable:
        # Perhaps it has the task, and only its answer was lost: then a worker needs what was sent.
        raise
    except HeadraceError:
        _drop(services, url)
        raise
    if ordered.was_there:
        _drop(services, url)
    return ordered


def _drop(services: Services, url: ObjectUrl) -> None:
    """Delete what was sent and nobody will name; what cannot be deleted now is swept."""
    try:
        services.staging.delete(url.key)
    except HeadraceError as error:
        get_logger(__name__).warning("upload.left", reason=error.code)
