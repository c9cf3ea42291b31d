"""Events, and who is told of them: written by the very statement that changes what they tell of.

So an event is there exactly when what it tells of has happened, and with it its deliveries (the
transactional outbox). Statements of their own would be a round trip more for every small file;
:func:`tell_task` is one, for what happens less often. Invariants: an event keeps the rows as they
were, and no secret of theirs; an endpoint has one delivery of an event, or none.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import Boolean, String

from ingest.events import ENDS, EventType, list_topics
from ingest.ids import Prefix, make_id
from ingest.model import Transfer

# Makes the deliveries of a table `wanted`. An id is the event's time and 80 bits of a digest, since
# a statement that may make any number of them has to make their ids too.
QUEUE = """
    INSERT INTO deliveries (id, project_id, event_id, event_type, endpoint_id, url, lane)
    SELECT 'del_' || substr(id, 5, 10) || (
            SELECT string_agg(substr('0123456789abcdefghjkmnpqrstvwxyz', 1 + (
                get_byte(sha256(convert_to(id || lane, 'UTF8')), byte) & 31), 1), '')
            FROM generate_series(0, 15) AS byte
        ), project_id, id, type, endpoint_id, url, lane
    FROM wanted
    -- Two replays of the same events make each of them once.
    ON CONFLICT (id) DO NOTHING
"""
# For a statement that has its events in a table `told`.
DELIVER = f"""
    kept AS (
        INSERT INTO events (id, project_id, type, subject_id, snapshot)
        SELECT id, project_id, type, subject_id, snapshot FROM told
    ), wanted AS (
        SELECT told.id, told.project_id, told.type, endpoint.id AS endpoint_id, NULL AS url,
            endpoint.id AS lane
        FROM told JOIN webhook_endpoints AS endpoint ON endpoint.project_id = told.project_id
        WHERE endpoint.status = 'enabled' AND endpoint.topics && told.topics
        UNION ALL
        SELECT id, project_id, type, NULL, webhook_url,
            project_id || ' ' || split_part(split_part(webhook_url, '://', 2), '/', 1)
        FROM told WHERE webhook_url IS NOT NULL
    ), queued AS ({QUEUE})
"""  # noqa: S608 - constants


# While the store is missing a task may have thousands; each of its events would tell them all.
_KEPT_ATTEMPTS = 20


def snapshot_task(row: str) -> str:
    """Return SQL for a task as an event keeps it: without secrets, and without queries of URLs."""
    return f"""to_jsonb({row}) - 'sealed_headers' || jsonb_build_object(
        'url', split_part({row}.url, '?', 1),
        'webhook_url', split_part({row}.webhook_url, '?', 1))"""


def list_attempts(row: str, upto: str) -> str:
    """Return SQL for the last attempts of a task that were there before the statement.

    Args:
        upto: ``<`` leaves out the last, which the statement changes.
    """
    return f"""(SELECT coalesce(jsonb_agg(to_jsonb(one) ORDER BY one.number), '[]'::jsonb)
        FROM attempts AS one WHERE one.task_id = {row}.id AND one.number {upto} {row}.attempt
            AND one.number > {row}.attempt - {_KEPT_ATTEMPTS})"""  # noqa: S608 - constants


def write_type(event: EventType) -> str:
    """Return SQL for an event's type and for the topics that ask for it."""
    topics = ", ".join(f"'{topic}'" for topic in list_topics(event))
    return f"'{event.value}' AS type, CAST(ARRAY[{topics}] AS varchar[]) AS topics"


_TELL_TASK = text(f"""
    WITH told AS (
        SELECT :event_id AS id, project_id, :type AS type, :topics AS topics, id AS subject_id,
            jsonb_build_object('task', {snapshot_task("tasks")},
                'attempts', {list_attempts("tasks", "<=")},
                'file', (SELECT to_jsonb(files) FROM files WHERE files.id = duplicate_of)
            ) AS snapshot,
            CASE WHEN :ends THEN webhook_url END AS webhook_url
        FROM tasks WHERE id = :task_id
    ), {DELIVER}
    SELECT FROM told
""").bindparams(  # noqa: S608 - constants
    bindparam("event_id", type_=String),
    bindparam("type", type_=String),
    bindparam("topics", type_=ARRAY(String)),
    bindparam("ends", type_=Boolean),
)
_TELL_PROGRESS = text(f"""
    WITH told AS (
        SELECT :event_id AS id, project_id, {write_type(EventType.TASK_PROGRESS)},
            id AS subject_id,
            jsonb_build_object('task', {snapshot_task("tasks")},
                'attempts', {list_attempts("tasks", "<=")}, 'transfer', :transfer) AS snapshot,
            NULL AS webhook_url
        FROM tasks WHERE id = :task_id AND attempt = :attempt AND status = 'processing'
            AND EXISTS (SELECT FROM webhook_endpoints AS endpoint
                WHERE endpoint.project_id = tasks.project_id AND endpoint.status = 'enabled'
                    AND '{EventType.TASK_PROGRESS.value}' = ANY(endpoint.topics))
    ), {DELIVER}
    SELECT FROM told
""").bindparams(  # noqa: S608 - constants
    bindparam("event_id", type_=String),
    bindparam("transfer", type_=JSONB),
)
_TELL_FILE = text(f"""
    WITH told AS (
        SELECT :event_id AS id, project_id, :type AS type, :topics AS topics, id AS subject_id,
            jsonb_build_object('file', to_jsonb(files)) AS snapshot,
            NULL AS webhook_url
        FROM files WHERE id = :file_id AND project_id = :project_id
    ), {DELIVER}
    SELECT FROM told
""").bindparams(  # noqa: S608 - constants
    bindparam("event_id", type_=String),
    bindparam("type", type_=String),
    bindparam("topics", type_=ARRAY(String)),
)
_TELL_ENDPOINT = text(f"""
    WITH told AS (
        SELECT :event_id AS id, project_id, :type AS type, :topics AS topics, id AS subject_id,
            jsonb_build_object('endpoint', to_jsonb(shown) - 'sealed_secret' - 'sealed_old_secret'
                || jsonb_build_object('url', split_part(url, '?', 1), 'failing_since', (
                    SELECT failing_since FROM troubles WHERE lane = shown.id))) AS snapshot,
            NULL AS webhook_url
        FROM webhook_endpoints AS shown WHERE id = :endpoint_id
    ), {DELIVER}
    SELECT FROM told
""").bindparams(  # noqa: S608 - constants
    bindparam("event_id", type_=String),
    bindparam("type", type_=String),
    bindparam("topics", type_=ARRAY(String)),
)
_TELL_BATCH = text(f"""
    WITH told AS (
        SELECT :event_id AS id, project_id, :type AS type, :topics AS topics, id AS subject_id,
            jsonb_build_object('batch', to_jsonb(shown) || jsonb_build_object(
                'webhook_url', split_part(webhook_url, '?', 1))) AS snapshot,
            CASE WHEN :ends THEN webhook_url END AS webhook_url
        FROM batches AS shown WHERE id = :batch_id
    ), {DELIVER}
    SELECT FROM told
""").bindparams(  # noqa: S608 - constants
    bindparam("event_id", type_=String),
    bindparam("type", type_=String),
    bindparam("topics", type_=ARRAY(String)),
    bindparam("ends", type_=Boolean),
)


def make_event_id() -> str:
    """Return the id of an event that is about to be written."""
    return make_id(Prefix.EVENT)


def tell_task(connection: Connection, event: EventType, task_id: str) -> None:
    """Tell of a task as it is at this moment of the transaction."""
    given = {
        "event_id": make_event_id(),
        "type": event.value,
        "topics": list(list_topics(event)),
        "ends": event in ENDS,
        "task_id": task_id,
    }
    connection.execute(_TELL_TASK, given)


def tell_batch(connection: Connection, event: EventType, batch_id: str) -> None:
    """Tell of a batch as it is at this moment of the transaction."""
    given = {
        "event_id": make_event_id(),
        "type": event.value,
        "topics": list(list_topics(event)),
        "ends": event in ENDS,
        "batch_id": batch_id,
    }
    connection.execute(_TELL_BATCH, given)


def tell_progress(connection: Connection, task_id: str, attempt: int, transfer: Transfer) -> None:
    """Tell how far an attempt is, if it has the task and some endpoint asks for that by name."""
    told = [transfer.transferred_bytes, transfer.total_bytes, round(transfer.rate_bps)]
    given = {
        "event_id": make_event_id(),
        "task_id": task_id,
        "attempt": attempt,
        "transfer": told,
    }
    connection.execute(_TELL_PROGRESS, given)


def tell_file(connection: Connection, event: EventType, project_id: str, file_id: str) -> None:
    """Tell of a file as it is at this moment of the transaction, if there is one."""
    given = {
        "event_id": make_event_id(),
        "type": event.value,
        "topics": list(list_topics(event)),
        "file_id": file_id,
        "project_id": project_id,
    }
    connection.execute(_TELL_FILE, given)


def tell_endpoint(connection: Connection, event: EventType, endpoint_id: str) -> str:
    """Tell of an endpoint as it is at this moment of the transaction; return the event's id."""
    given = {
        "event_id": make_event_id(),
        "type": event.value,
        "topics": list(list_topics(event)),
        "endpoint_id": endpoint_id,
    }
    connection.execute(_TELL_ENDPOINT, given)
    return str(given["event_id"])
