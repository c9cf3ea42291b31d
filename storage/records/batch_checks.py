"""Dry runs that ask sources: their rows, and what the sources answered.

Invariants: an answer is written under the lease of the job, together with the batch's counts, so
each row is counted once; headers are erased with the answer, since nobody asks again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Connection,
    Integer,
    String,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    update,
)

from ingest.batch_jobs import Job, JobKind
from ingest.batches import BatchStatus
from ingest.errors import Failure, HeadraceError
from storage.records.batch_jobs import hold
from storage.records.batch_tables import batch_jobs, batch_sources, batches
from storage.records.lookups import to_failure

PENDING, OK, FAILED = "pending", "ok", "failed"
_ROWS_AT_ONCE = 1000
# Column and type of what an answer says.
_SAID = {
    "status": String, "type": String, "size_bytes": BigInteger, "etag": String,
    "last_modified": String, "ranged": Boolean, "error": String,
}  # fmt: skip
_SET = ", ".join(f"{name} = said.{name}" for name in _SAID).replace(
    "said.error", "CAST(said.error AS jsonb)"
)
# Errors go as text: an array of JSON is read twice.
_ANSWER = text(f"""
    UPDATE batch_sources SET sealed_headers = NULL, {_SET}
    FROM unnest(:line, {", ".join(f":{name}" for name in _SAID)})
        AS said (line, {", ".join(_SAID)})
    WHERE batch_id = :batch_id AND batch_sources.line = said.line
        AND batch_sources.status = '{PENDING}'
""").bindparams(  # noqa: S608 - constants
    bindparam("line", type_=ARRAY(Integer)),
    *(bindparam(name, type_=ARRAY(kind)) for name, kind in _SAID.items()),
)


@dataclass(frozen=True, slots=True)
class CheckRow:
    """A row of a list whose source is to be asked."""

    line: int
    url: str
    source_host: str
    max_bytes: int | None
    sealed_headers: bytes | None


@dataclass(frozen=True, slots=True)
class CheckAnswer:
    """What a source answered, or why it did not. ``ranged`` is whether it answers ranges."""

    line: int
    type: str | None = None
    size_bytes: int | None = None
    etag: str | None = None
    last_modified: str | None = None
    ranged: bool | None = None
    error: Failure | None = None


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """A row and what is known of its source so far; ``status`` is of :data:`PENDING` and so on."""

    url: str
    status: str
    answer: CheckAnswer


def order(
    connection: Connection,
    project_id: str,
    batch_id: str,
    rows: Iterable[CheckRow],
    *,
    attempt: int = 0,
) -> None:
    """Have the sources of a batch asked by some worker.

    Args:
        attempt: of who read the list: whoever read it too, and is late, must not find the number of
            their own attempt in the job that takes its place.
    """
    rest = iter(rows)
    while some := list(islice(rest, _ROWS_AT_ONCE)):
        connection.execute(
            insert(batch_sources), [{"batch_id": batch_id, **asdict(row)} for row in some]
        )
    connection.execute(
        insert(batch_jobs).values(
            batch_id=batch_id, project_id=project_id, kind=JobKind.CHECK, attempt=attempt
        )
    )


def list_pending(
    connection: Connection, batch_id: str, after_line: int, limit: int
) -> Sequence[CheckRow]:
    """Return rows that have no answer, from behind a line on, in order."""
    query = (
        select(*(batch_sources.c[name] for name in CheckRow.__slots__))
        .where(
            batch_sources.c.batch_id == batch_id,
            batch_sources.c.line > after_line,
            batch_sources.c.status == PENDING,
        )
        .order_by(batch_sources.c.line)
        .limit(limit)
    )
    return [CheckRow(*row) for row in connection.execute(query)]


def write_answers(connection: Connection, job: Job, answers: Sequence[CheckAnswer]) -> bool:
    """Write down what sources answered; return whether the job was still one's."""
    if not hold(connection, job):
        return False
    values: dict[str, object] = {
        name: [getattr(one, name) for one in answers]
        for name in ("line", *_SAID)
        if name not in {"status", "error"}
    }
    values["status"] = [OK if one.error is None else FAILED for one in answers]
    values["error"] = [
        None if one.error is None else json.dumps(asdict(one.error)) for one in answers
    ]
    connection.execute(_ANSWER, {**values, "batch_id": job.batch_id})
    failed = sum(one.error is not None for one in answers)
    _count(connection, job, complete=len(answers) - failed, failed=failed)
    return True


def give_up(connection: Connection, job: Job, error: HeadraceError) -> bool:
    """Write an error down for all rows without an answer; return whether the job was one's."""
    if not hold(connection, job):
        return False
    given_up = connection.execute(
        update(batch_sources)
        .where(batch_sources.c.batch_id == job.batch_id, batch_sources.c.status == PENDING)
        .values(status=FAILED, error=asdict(error.as_failure()), sealed_headers=None)
    ).rowcount
    _count(connection, job, failed=given_up)
    return True


def finish(connection: Connection, job: Job) -> bool:
    """Say that all sources of a batch were asked; return whether the job was still one's."""
    if not hold(connection, job):
        return False
    connection.execute(delete(batch_jobs).where(batch_jobs.c.batch_id == job.batch_id))
    connection.execute(
        update(batches)
        .where(batches.c.id == job.batch_id)
        .values(
            status=BatchStatus.COMPLETE,
            # Of a try before.
            list_error=None,
            finished=func.now(),
            updated=func.now(),
        )
    )
    return True


def list_checked(
    connection: Connection, batch_id: str, after_line: int, limit: int
) -> Sequence[CheckedRow]:
    """Return rows and what is known of their sources, from behind a line on, in order."""
    query = (
        select(batch_sources)
        .where(batch_sources.c.batch_id == batch_id, batch_sources.c.line > after_line)
        .order_by(batch_sources.c.line)
        .limit(limit)
    )
    return [
        CheckedRow(
            row.url,
            row.status,
            CheckAnswer(
                row.line,
                row.type,
                row.size_bytes,
                row.etag,
                row.last_modified,
                row.ranged,
                to_failure(row.error),
            ),
        )
        for row in connection.execute(query)
    ]


def _count(connection: Connection, job: Job, *, complete: int = 0, failed: int = 0) -> None:
    added: Mapping[str, object] = {
        "complete": batches.c.complete + complete,
        "failed": batches.c.failed + failed,
        "updated": func.now(),
    }
    connection.execute(update(batches).where(batches.c.id == job.batch_id).values(**added))
