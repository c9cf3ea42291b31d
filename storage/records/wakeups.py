"""Which pending tasks are woken next.

A pending task is *ready* (may run, nobody was told), *woken* (a message is under way) or *waiting*
(for its next attempt). Invariants: what is read here grows with the window and with what runs, not
with the backlog; one dispatcher works at a time, for the length of its transaction; a task of a
host or of a project that is full is not woken.

The ready tasks stand in ``tasks_ready_idx`` in groups of one priority, project and source host.
Reading them all would cost what the backlog costs, so the groups are found by jumps along the
index. A scan takes some from the head, a few for each project, so that nobody waits behind
another's batch, and some from where the scan before ended, so that those beyond have their turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ARRAY, Connection, Interval, String, bindparam, text, update

from storage.records.tables import PENDING, tasks

# A namespace of advisory locks, as those in ``tasks``.
_DISPATCH_LOCK = 3
# Groups that one scan looks at: projects from the head, hosts for each of them, and the others.
_PROJECTS, _HOSTS, _OTHERS = 64, 4, 128

_READY = "status = 'pending' AND next_attempt_at IS NULL AND woken IS NULL"

# Compiling a plan takes longer than running one of these.
_BEGIN = text(f"""
    SELECT set_config('jit', 'off', true), pg_advisory_xact_lock({_DISPATCH_LOCK}, 0)
""")

# Those that are locked, in a CTE, which is run once: a subquery may be run again and pass its
# limit. As an array, since for rows of unknown number the whole table might be read.
_READY_DUE = text("""
    WITH due AS (
        SELECT id FROM tasks WHERE status = 'pending' AND next_attempt_at <= now()
        ORDER BY next_attempt_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE tasks SET next_attempt_at = NULL WHERE id = ANY(ARRAY(SELECT id FROM due))
""")
_FORGET_LOST = text("""
    WITH lost AS (
        SELECT id FROM tasks WHERE status = 'pending' AND woken < now() - :resend_after
        ORDER BY woken LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE tasks SET woken = NULL WHERE id = ANY(ARRAY(SELECT id FROM lost))
""").bindparams(bindparam("resend_after", type_=Interval))
_NOTE_WOKEN = text(f"""
    WITH chosen AS (
        SELECT id FROM tasks WHERE id = ANY(:ids) AND {_READY} ORDER BY id FOR UPDATE SKIP LOCKED
    )
    UPDATE tasks SET woken = now() WHERE id = ANY(ARRAY(SELECT id FROM chosen)) RETURNING id
""").bindparams(bindparam("ids", type_=ARRAY(String)))  # noqa: S608 - constants

_WOKEN = "status = 'pending' AND woken IS NOT NULL"
_COUNT_WOKEN = text(f"SELECT count(*) FROM tasks WHERE {_WOKEN}")  # noqa: S608 - constants
_FLYING = f"""
    SELECT project_id, source_host FROM tasks WHERE status = 'processing'
    UNION ALL SELECT project_id, source_host FROM tasks WHERE {_WOKEN}
"""  # noqa: S608 - constants
_COUNT_FLYING = text(f"""
    SELECT project_id, source_host, count(*) FROM ({_FLYING}) AS flying
    GROUP BY project_id, source_host
""")  # noqa: S608 - constants

_READ_LIMITS = text("SELECT id, max_running FROM projects WHERE max_running IS NOT NULL")

# The ready tasks of a project that is full are in nobody's way: they are jumped over, one priority
# at a time. Which projects are full is found out only where there are ready tasks, and for the
# project that asks only if it has a limit.
_MUST_WAIT = text(f"""
    WITH RECURSIVE flying AS MATERIALIZED ({_FLYING}), full_projects AS MATERIALIZED (
        SELECT id FROM projects LEFT JOIN flying ON project_id = id
        WHERE max_running IS NOT NULL GROUP BY id HAVING count(project_id) >= max_running
    ), ahead AS (
        (SELECT - priority AS rank, project_id,
            project_id IN (SELECT id FROM full_projects) AS is_full FROM tasks
         WHERE {_READY} ORDER BY - priority, project_id, source_host LIMIT 1)
        UNION ALL
        SELECT rank, project_id, project_id IN (SELECT id FROM full_projects) FROM (
            SELECT following.* FROM ahead, LATERAL (
                SELECT - priority AS rank, project_id FROM tasks
                WHERE {_READY} AND (- priority, project_id) > (ahead.rank, ahead.project_id)
                ORDER BY - priority, project_id, source_host LIMIT 1
            ) AS following
            WHERE ahead.is_full
        ) AS behind
    )
    SELECT EXISTS (SELECT FROM ahead WHERE NOT is_full) OR (
        SELECT CASE WHEN max_running IS NULL THEN false
            ELSE id IN (SELECT id FROM full_projects) END
        FROM projects WHERE id = :project_id)
""")  # noqa: S608 - constants

# Each step of a recursion is one jump: the first entry of the index behind the group before.
_SCAN = text(f"""
    WITH RECURSIVE projects_ahead AS (
        (SELECT - priority AS rank, project_id, source_host, 1 AS number FROM tasks
         WHERE {_READY} ORDER BY - priority, project_id, source_host LIMIT 1)
        UNION ALL
        SELECT following.*,
            number + CAST(following.project_id <> ALL(CAST(:full_projects AS text[])) AS integer)
        FROM projects_ahead, LATERAL (
            SELECT - priority AS rank, project_id, source_host FROM tasks
            WHERE {_READY}
                AND (- priority, project_id) > (projects_ahead.rank, projects_ahead.project_id)
            ORDER BY - priority, project_id, source_host LIMIT 1
        ) AS following
        WHERE number < :projects
    ), ahead AS (
        SELECT rank, project_id, source_host,
            CASE WHEN source_host = ANY(:full) THEN 0 ELSE 1 END AS number FROM projects_ahead
        WHERE project_id <> ALL(CAST(:full_projects AS text[]))
        UNION ALL
        SELECT ahead.rank, ahead.project_id, following.source_host,
            number + CASE WHEN following.source_host = ANY(:full) THEN 0 ELSE 1 END
        FROM ahead, LATERAL (
            SELECT source_host FROM tasks
            WHERE {_READY} AND - priority = ahead.rank AND project_id = ahead.project_id
                AND source_host > ahead.source_host
            ORDER BY source_host LIMIT 1
        ) AS following
        WHERE number < :hosts
    ), others AS (
        (SELECT - priority AS rank, project_id, source_host, 1 AS number FROM tasks
         WHERE {_READY} AND (- priority, project_id, source_host)
            > (CAST(:rank AS smallint), CAST(:project_id AS text), CAST(:source_host AS text))
         ORDER BY - priority, project_id, source_host LIMIT 1)
        UNION ALL
        SELECT following.*, number + 1 FROM others, LATERAL (
            SELECT - priority AS rank, project_id, source_host FROM tasks
            WHERE {_READY} AND (- priority, project_id, source_host)
                > (others.rank, others.project_id, others.source_host)
            ORDER BY - priority, project_id, source_host LIMIT 1
        ) AS following
        WHERE number < :others
    )
    SELECT rank, project_id, source_host, 0 AS number FROM ahead
    UNION ALL SELECT rank, project_id, source_host, number FROM others
""")  # noqa: S608 - the conditions are the constants above

# `turn` is how many of its project's tasks go before one, those in flight included.
_CHOOSE = text(f"""
    WITH candidates AS (
        SELECT one.id, one.url_expires, rank, source_host, places, most,
            flying + row_number() OVER (
                PARTITION BY project_id ORDER BY rank, one.url_expires, one.id) AS turn
        FROM unnest(
            CAST(:ranks AS smallint[]), CAST(:project_ids AS text[]), CAST(:hosts AS text[]),
            CAST(:places AS integer[]), CAST(:flying AS integer[]), CAST(:most AS integer[])
        ) AS found (rank, project_id, source_host, places, flying, most), LATERAL (
            SELECT id, url_expires FROM tasks
            WHERE {_READY} AND - priority = found.rank AND project_id = found.project_id
                AND source_host = found.source_host
            ORDER BY url_expires, id LIMIT found.places
        ) AS one
    ), seated AS (
        SELECT id, rank, turn, url_expires, places, row_number() OVER (
            PARTITION BY source_host ORDER BY rank, turn, url_expires, id) AS seat
        FROM candidates WHERE most IS NULL OR turn <= most
    )
    SELECT id FROM seated WHERE seat <= places ORDER BY rank, turn, url_expires, id LIMIT :room
""")  # noqa: S608 - as above


@dataclass(frozen=True, order=True, slots=True)
class Group:
    """The ready tasks of one priority (``rank`` is its negative), project and host."""

    rank: int
    project_id: str
    source_host: str


# Before every group there is: priorities are smallints, and go to their negatives.
START = Group(-32768, "", "")


def begin(connection: Connection) -> None:
    """Be the only dispatcher until the transaction ends; others wait."""
    connection.execute(_BEGIN)


def ready_due(connection: Connection, limit: int = 1000) -> int:
    """Make waiting tasks ready whose time has come; return how many."""
    return connection.execute(_READY_DUE, {"limit": limit}).rowcount


def forget_lost(connection: Connection, resend_after_s: float, limit: int) -> int:
    """Make tasks ready whose wake-up nobody answered in time; return how many."""
    after = {"resend_after": timedelta(seconds=resend_after_s), "limit": limit}
    return connection.execute(_FORGET_LOST, after).rowcount


def count_woken(connection: Connection) -> int:
    """Return how many tasks were woken and not yet claimed."""
    count: int = connection.execute(_COUNT_WOKEN).scalar_one()
    return count


def must_wait(connection: Connection, project_id: str) -> bool:
    """Return whether another task of a project has to wait its turn.

    It does while its project has as many in flight as may run, and behind the ready tasks of
    projects that may run more.
    """
    waits: bool = connection.execute(_MUST_WAIT, {"project_id": project_id}).scalar_one()
    return waits


def pick(
    connection: Connection, room: int, host_limit: int, after: Group = START
) -> tuple[Sequence[str], Group]:
    """Choose ready tasks to wake, and note that they were.

    By priority, then in turn between projects, then what has a URL that ends soon, then by age; of
    a project never more than may run.

    Args:
        room: how many at most.
        host_limit: how many of one source host may be in flight, woken or running; 0 for any
            number.
        after: where the scan before ended.

    Returns:
        Their ids in order, and where the next scan goes on.
    """
    flying = _count_flying(connection)
    on_host = Counter[str]()
    of_project = Counter[str]()
    for (project_id, host), count in flying.items():
        on_host[host] += count
        of_project[project_id] += count

    def count_places(host: str) -> int:
        return min(room, host_limit - on_host[host]) if host_limit else room

    most = _read_limits(connection)
    full = [host for host in on_host if count_places(host) <= 0]
    full_projects = {one for one, limit in most.items() if of_project[one] >= limit}
    groups, end = _scan(connection, full, full_projects, after)
    free = [
        group
        for group in groups
        if count_places(group.source_host) > 0 and group.project_id not in full_projects
    ]
    ids = connection.execute(
        _CHOOSE,
        {
            "ranks": [group.rank for group in free],
            "project_ids": [group.project_id for group in free],
            "hosts": [group.source_host for group in free],
            "places": [count_places(group.source_host) for group in free],
            "flying": [of_project[group.project_id] for group in free],
            "most": [most.get(group.project_id) for group in free],
            "room": room,
        },
    ).scalars()
    return _note_woken(connection, list(ids)), end


def note_unwoken(connection: Connection, task_ids: Sequence[str]) -> None:
    """Note that wake-ups were not sent after all, so that the dispatcher sends them soon."""
    connection.execute(
        update(tasks).where(tasks.c.id.in_(task_ids), tasks.c.status == PENDING).values(woken=None)
    )


def _count_flying(connection: Connection) -> Mapping[tuple[str, str], int]:
    """Return how many tasks are woken or running, by project and host."""
    rows = connection.execute(_COUNT_FLYING)
    return {(project_id, host): count for project_id, host, count in rows}


def _read_limits(connection: Connection) -> Mapping[str, int]:
    """Return how many tasks a project may have in flight, for those that have a limit."""
    return {row.id: row.max_running for row in connection.execute(_READ_LIMITS)}


def _scan(
    connection: Connection, full: Sequence[str], full_projects: Set[str], after: Group
) -> tuple[Sequence[Group], Group]:
    rows = connection.execute(
        _SCAN,
        {
            "full": list(full),
            "full_projects": list(full_projects),
            "rank": after.rank,
            "project_id": after.project_id,
            "source_host": after.source_host,
            "projects": _PROJECTS,
            "hosts": _HOSTS,
            "others": _OTHERS,
        },
    )
    found: dict[Group, None] = {}
    end = START
    for rank, project_id, host, number in rows:
        group = Group(rank, project_id, host)
        found[group] = None
        if number == _OTHERS:
            end = group
    return list(found), end


def _note_woken(connection: Connection, ids: Sequence[str]) -> Sequence[str]:
    """Return those that are ready still, in the same order."""
    rows = connection.execute(_NOTE_WOKEN, {"ids": list(ids)})
    woken = set(rows.scalars())
    return [task_id for task_id in ids if task_id in woken]
