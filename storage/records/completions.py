"""How a task ends well: complete, with its File, its name and nothing half done.

Invariants: it is one statement, so all of it is written or nothing; nothing is written unless the
attempt still has the task; no project with a limit stores more than that; a File is called what its
task has reserved, or reserves its own key here. One statement, since every small file pays for it:
seven of them took a third of the worker's time.
"""

from __future__ import annotations

from enum import Enum

from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb
from sqlalchemy import ARRAY, Boolean, Connection, String, bindparam, func, select, text

from ingest.errors import QuotaExceeded, SourceChanged
from ingest.events import EventType
from ingest.model import File, Lease
from ingest.states import Status, find_sources
from storage.records import files, names, outbox, projects, tasks
from storage.records.asking import NamedRow, ask_one, write_query
from storage.records.files import MEDIA
from storage.records.lookups import COLUMNS
from storage.records.tables import attempts, uploads
from storage.records.tables import files as files_table
from storage.records.tables import names as names_table
from storage.records.tables import tasks as tasks_table
from storage.records.tallies import TALLY_COMPLETE

# Either is seen first: the parts of a statement run in no order.
_KEYS = frozenset({str(names_table.primary_key.name), "files_object_key_key"})
_SOURCES = find_sources(Status.COMPLETE)

# A file's id is its task's from the beginning, and so is its project's.
_COMPLETE = text(f"""
    WITH project AS MATERIALIZED (
        SELECT max_stored_bytes FROM projects WHERE id = :project_id FOR KEY SHARE
    ), ended AS (
        UPDATE tasks SET status = :complete, updated = now(), finished = now(), error = NULL,
            lease_until = NULL, sealed_headers = NULL
        FROM project
        WHERE id = :task_id AND attempt = :attempt AND status = ANY(:sources)
            AND (max_stored_bytes IS NULL OR NOT :at_once)
        RETURNING {COLUMNS}
    ), counted AS (
        UPDATE projects SET stored_bytes = stored_bytes + :filesize_bytes
        FROM ended, project
        WHERE projects.id = :project_id AND project.max_stored_bytes IS NOT NULL
        RETURNING stored_bytes > projects.max_stored_bytes AS is_over
    ), closed AS (
        UPDATE attempts SET finished = now(), transferred_bytes = :transferred_bytes, error = NULL
        FROM ended
        WHERE task_id = ended.id AND number = ended.attempt AND attempts.finished IS NULL
        RETURNING {", ".join(str(column) for column in attempts.columns)}
    ), named AS (
        INSERT INTO names (object_key, project_id, task_id)
        SELECT :object_key, :project_id, id FROM ended WHERE :reserves
    ), filed AS (
        INSERT INTO files (id, project_id, media_id, task_id, object_key, folder, filename, ref,
            metadata, source, source_name, sha256, filesize_bytes, kind, type, media, lies_at,
            source_sha256, source_etag, access,
            poster_key)
        SELECT :id, :project_id, :media_id, id, :object_key, :folder, :filename, :ref,
            :metadata, :source, :source_name, :sha256, :filesize_bytes, :kind, :type, :media,
            :lies_at, :source_sha256, :source_etag, :access, :poster_key
        FROM ended
        RETURNING {", ".join(files_table.columns.keys())}
    ), dropped AS (
        DELETE FROM uploads USING ended WHERE task_id = ended.id AND begun_by = :begun_by
    ), told AS (
        SELECT :event_id AS id, project_id, {outbox.write_type(EventType.TASK_COMPLETED)},
            id AS subject_id,
            jsonb_build_object('task', {outbox.snapshot_task("ended")},
                'attempts', {outbox.list_attempts("ended", "<")}
                    || coalesce((SELECT to_jsonb(closed) FROM closed), '[]'::jsonb),
                'file', (SELECT to_jsonb(filed) FROM filed)) AS snapshot,
            webhook_url
        FROM ended
        UNION ALL
        SELECT :file_event_id, project_id, {outbox.write_type(EventType.FILE_CREATED)}, id,
            jsonb_build_object('file', to_jsonb(filed)), NULL
        FROM filed
    ), {TALLY_COMPLETE}, {outbox.DELIVER}
    SELECT (SELECT count(*) FROM ended) AS ended_count, (SELECT is_over FROM counted) AS is_over,
        (SELECT max_stored_bytes IS NOT NULL FROM project) AS is_limited,
        EXISTS (SELECT FROM wanted) AS is_told
""").bindparams(  # noqa: S608 - constants
    bindparam("sources", type_=ARRAY(String)),
    *(
        bindparam(name, type_=files_table.c[name].type)
        for name in (
            "id", "project_id", "media_id", "task_id", "object_key", "folder", "filename", "ref",
            "metadata", "source", "source_name", "sha256", "filesize_bytes", "kind", "type",
            "media", "lies_at", "source_sha256", "source_etag", "access", "poster_key",
        )
    ),
    bindparam("event_id", type_=String),
    bindparam("file_event_id", type_=String),
    bindparam("begun_by", type_=uploads.c.begun_by.type),
    bindparam("transferred_bytes", type_=attempts.c.transferred_bytes.type),
    bindparam("reserves", type_=Boolean),
    bindparam("at_once", type_=Boolean),
)  # fmt: skip
_COMPLETE_QUERY = write_query(_COMPLETE)


class Completion(Enum):
    """What came of ending a task well."""

    # Nothing was written.
    LEASE_LOST = "lease_lost"
    DONE = "done"
    # Done, and somebody is to be told of it by webhook.
    TOLD = "told"


def complete(
    connection: Connection,
    lease: Lease,
    file: File,
    transferred_bytes: int,
    upload_begun_by: int | None = None,
) -> Completion:
    """End a task well, with its File.

    Args:
        upload_begun_by: the attempt that began the upload which became the object, if one did; it
            is not kept in mind any more.

    Raises:
        FileExists: the key of a file that nobody named is taken. The transaction is broken.
        QuotaExceeded: the project would store more than it may; to be rolled back.
    """
    if _takes_name(lease) and not _take_name(connection, lease, file):
        return Completion.LEASE_LOST
    row = _ask(connection, lease, file, transferred_bytes, upload_begun_by, at_once=False)
    if row.is_over:
        raise QuotaExceeded("With this file the project would store more than it may.")
    return _tell(row)


def complete_at_once(
    connection: Connection,
    lease: Lease,
    file: File,
    transferred_bytes: int,
    upload_begun_by: int | None = None,
) -> Completion | None:
    """End a task well as :func:`complete` does, on a connection of :meth:`Database.look`.

    Returns:
        None if nothing was written since it takes more than one statement: the project has a limit,
        or the file takes over a name.

    Raises:
        FileExists: the key of a file that nobody named is taken.
    """
    if _takes_name(lease) or lease.room_bytes is not None:
        return None
    row = _ask(connection, lease, file, transferred_bytes, upload_begun_by, at_once=True)
    # A limit that was set since the claim.
    return None if row.is_limited else _tell(row)


def complete_as_duplicate(
    connection: Connection, lease: Lease, file: File, transferred_bytes: int
) -> Completion:
    """End a task well with a file that was there already, and free its name.

    Raises:
        SourceChanged: the file is gone.
    """
    there = select(files_table.c.id).where(
        files_table.c.id == file.id, files_table.c.project_id == lease.task.project_id
    )
    if connection.execute(there.with_for_update(key_share=True, read=True)).one_or_none() is None:
        raise SourceChanged("The file that was there already was deleted meanwhile.")
    row = tasks.move(
        connection,
        lease.task.id,
        Status.COMPLETE,
        attempt=lease.attempt,
        values={
            "finished": func.now(),
            "error": None,
            "lease_until": None,
            "sealed_headers": None,
            "duplicate_of": file.id,
        },
    )
    if row is None:
        return Completion.LEASE_LOST
    tasks.close_attempt(connection, lease.task.id, lease.attempt, transferred_bytes, None)
    names.free(connection, lease.task.id)
    outbox.tell_task(connection, EventType.TASK_COMPLETED, lease.task.id)
    return Completion.TOLD


def _takes_name(lease: Lease) -> bool:
    order = lease.task.order
    return order.overwrites and order.filename is not None


def _ask(
    connection: Connection,
    lease: Lease,
    file: File,
    transferred_bytes: int,
    upload_begun_by: int | None,
    *,
    at_once: bool,
) -> NamedRow:
    given = {
        **_list_values(file),
        "attempt": lease.attempt,
        "complete": Status.COMPLETE,
        "sources": list(_SOURCES),
        "transferred_bytes": transferred_bytes,
        "reserves": lease.task.order.filename is None,
        "begun_by": upload_begun_by,
        "event_id": outbox.make_event_id(),
        "file_event_id": outbox.make_event_id(),
        "at_once": at_once,
    }
    try:
        return ask_one(connection, _COMPLETE_QUERY, given)
    except UniqueViolation as error:
        if error.diag.constraint_name in _KEYS:
            raise names.explain_taken(file.object_key) from error
        raise


def _tell(row: NamedRow) -> Completion:
    if row.ended_count != 1:
        return Completion.LEASE_LOST
    return Completion.TOLD if row.is_told else Completion.DONE


def _take_name(connection: Connection, lease: Lease, file: File) -> bool:
    """Put a file in the place of the one that has its name; return False if the lease is lost."""
    projects.hold(connection, file.project_id)
    own = select(tasks_table.c.id).where(
        tasks_table.c.id == lease.task.id,
        tasks_table.c.attempt == lease.attempt,
        tasks_table.c.status == Status.PROCESSING,
    )
    if connection.execute(own.with_for_update(key_share=True)).one_or_none() is None:
        return False
    before = files.find_named(connection, file.object_key)
    if names.take_over(connection, lease.task.id, file.object_key) and before is not None:
        removed = files.remove(connection, file.project_id, before.id)
        if removed is not None:
            projects.give_back(connection, file.project_id, removed.filesize_bytes)
            if removed.poster_key is not None:
                # Whoever moves the new object deletes what nobody reads any more.
                names.note_object(connection, file.project_id, lease.task.id, removed.poster_key)
    if file.lies_at is not None:
        names.note_object(connection, file.project_id, lease.task.id, file.lies_at)
    return True


def _list_values(file: File) -> dict[str, object]:
    values = {
        name: getattr(file, name) for name in File.__slots__ if name not in {"created", "updated"}
    }
    return {
        **values,
        "kind": file.media.kind,
        "type": file.media.type,
        "metadata": None if file.metadata is None else Jsonb(file.metadata),
        "media": MEDIA.dump_json(file.media).decode(),
    }
