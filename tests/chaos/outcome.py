"""What became of a row's tasks: counted in the database, in the bucket and at the source."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import func, select

from ingest.errors import DatabaseUnavailable
from storage.records.tables import files, tasks
from tests.chaos.rig import Rig, Tenant
from tests.support.figures import Row
from tests.support.leftovers import list_uploads
from tests.support.waiting import wait_until

_READERS = 4
_OPEN = ("pending", "processing")


@dataclass(frozen=True, slots=True)
class Stored:
    """A file as the records have it, with the path of its source."""

    path: str
    key: str
    sha256: str
    size_bytes: int


def count_states(tenant: Tenant) -> Counter[str]:
    """Return how many tasks of a project are in which state."""
    with tenant.rig.database.transaction() as connection:
        rows = connection.execute(
            select(tasks.c.status, func.count())
            .where(tasks.c.project_id == tenant.project.id)
            .group_by(tasks.c.status)
        )
        return Counter({str(status): count for status, count in rows})


def wait_for_ends(tenant: Tenant, timeout_s: float) -> None:
    """Return once no task of a project is open any more, or the time is over: the tally tells."""

    def is_over() -> bool:
        # PostgreSQL may be what is broken just now.
        with suppress(DatabaseUnavailable):
            states = count_states(tenant)
            return not any(states[status] for status in _OPEN)
        return False

    with suppress(TimeoutError):
        wait_until(is_over, "the end of every task", timeout_s, pause_s=0.1)


def wait_started(tenant: Tenant, task_id: str) -> float:
    """Return the seconds from a task's creation to its first start, by the database's clock."""

    def look() -> float | None:
        with tenant.rig.database.transaction() as connection:
            created, started = connection.execute(
                select(tasks.c.created, tasks.c.started).where(tasks.c.id == task_id)
            ).one()
        return None if started is None else max((started - created).total_seconds(), 0.001)

    return wait_until(look, "a task to start", 60)


def list_ordered(tenant: Tenant) -> dict[str, str]:
    """Return the path of the source of every task of a project, by id."""
    root = tenant.rig.source.url("")
    with tenant.rig.database.transaction() as connection:
        rows = connection.execute(
            select(tasks.c.id, tasks.c.url).where(tasks.c.project_id == tenant.project.id)
        ).all()
    return {task_id: url.removeprefix(root) for task_id, url in rows}


def list_stored(tenant: Tenant) -> list[Stored]:
    """Return every File of a project."""
    root = tenant.rig.source.url("")
    with tenant.rig.database.transaction() as connection:
        rows = connection.execute(
            select(files.c.source, files.c.object_key, files.c.sha256, files.c.filesize_bytes)
            .where(files.c.project_id == tenant.project.id)
            .order_by(files.c.id)
        ).all()
    return [Stored(source.removeprefix(root), *rest) for source, *rest in rows]


def list_objects(tenant: Tenant) -> dict[str, tuple[int, str]]:
    """Return size and ETag of every object under a project's prefix, by key."""
    store = tenant.rig.store
    pages = store._client.get_paginator("list_objects_v2").paginate(
        Bucket=store._bucket, Prefix=f"{tenant.project.key_prefix}/"
    )
    return {
        one["Key"]: (one["Size"], one["ETag"].strip('"'))
        for page in pages
        for one in page.get("Contents", [])
    }


def hash_object(rig: Rig, key: str) -> str:
    """Return the sha256 of what the store gives out under a key."""
    body = rig.store._client.get_object(Bucket=rig.store._bucket, Key=key)["Body"]
    digest = hashlib.sha256()
    for piece in body.iter_chunks(1024 * 1024):
        digest.update(piece)
    return digest.hexdigest()


def note_ends(row: Row, tenant: Tenant, paths: Sequence[str]) -> list[Stored]:
    """Note whether each source has become one File and one object, and nothing is left besides.

    Args:
        paths: the sources; each was ordered once.

    Returns:
        The files, for whatever else is to be checked.
    """
    states = count_states(tenant)
    stored = list_stored(tenant)
    objects = list_objects(tenant)
    found = Counter(one.path for one in stored)
    count = len(paths)
    row.note(f"{count} tasks complete", dict(states), held=states == {"complete": count})
    lost = sum(1 for path in paths if found[path] == 0)
    row.note("0 lost", lost, held=lost == 0)
    doubled = sum(many - 1 for many in found.values() if many > 1)
    strange = len(objects.keys() - {one.key for one in stored})
    row.note(
        "0 doubled, no object without a File",
        f"{doubled} doubled, {strange} strange objects",
        held=doubled == strange == 0,
    )
    wrong = [
        one.path
        for one in stored
        if one.sha256 != tenant.rig.hash_source(one.path)
        or one.key not in objects
        or objects[one.key][0] != one.size_bytes
    ]
    row.note(
        "every File has its object and the right sha256", f"{len(wrong)} wrong", held=not wrong
    )
    return stored


def note_bytes(row: Row, rig: Rig, stored: Iterable[Stored]) -> None:
    """Note whether the store gives out, byte for byte, what the records say."""
    chosen = list(stored)
    with ThreadPoolExecutor(_READERS) as pool:
        hashes = list(pool.map(lambda one: hash_object(rig, one.key), chosen))
    wrong = sum(one.sha256 != found for one, found in zip(chosen, hashes, strict=True))
    row.note(
        "objects read back have the right sha256",
        f"{wrong} of {len(chosen)} wrong",
        held=wrong == 0,
    )


def note_leftovers(row: Row, rig: Rig) -> None:
    """Note whether one sweep leaves no multipart upload behind."""
    before = len(list_uploads(rig.store))
    rig.make_sweeper().sweep_store()
    left = list_uploads(rig.store)
    row.note("0 uploads left after one sweep", f"{before} before, {len(left)} after", held=not left)
