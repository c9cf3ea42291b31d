"""Whose turn it is: which ready tasks are woken next.

The ready tasks stand in ``tasks_ready_idx`` in groups of one priority, project, lane and source
host. Reading them all would cost what the backlog costs, so the groups are found by jumps along the
index. A scan takes some from the head, a few for each project, so that nobody waits behind
another's batch, and some from where the scan before ended, so that those beyond have their turn.

Invariants: what is read here grows with the window and with what runs, not with the backlog; a task
of a host, of a project or of a batch that is full is not woken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from sqlalchemy import ARRAY, Connection, String, bindparam, text

from storage.records.wakeups import FLYING, HELD, LANE, READY

# Groups that one scan looks at: projects from the head, lanes for each of them, hosts for each of
# those, and the others.
_PROJECTS, _LANES, _HOSTS, _OTHERS = 64, 8, 4, 128

_NOTE_WOKEN = text(f"""
    WITH chosen AS (
        SELECT id FROM tasks WHERE id = ANY(:ids) AND {READY} ORDER BY id FOR UPDATE SKIP LOCKED
    )
    UPDATE tasks SET woken = now() WHERE id = ANY(ARRAY(SELECT id FROM chosen)) RETURNING id
""").bindparams(bindparam("ids", type_=ARRAY(String)))  # noqa: S608 - constants

_COUNT_FLYING = text(f"""
    SELECT project_id, lane, source_host, count(*) FROM ({FLYING}) AS flying
    GROUP BY project_id, lane, source_host
""")  # noqa: S608 - constants

_READ_LIMITS = text("SELECT id, max_running FROM projects WHERE max_running IS NOT NULL")
_READ_HELD = text(HELD)

# Each step of a recursion is one jump: the first entry of the index behind the group before.
_SCAN = text(f"""
    WITH RECURSIVE projects_ahead AS (
        (SELECT - priority AS rank, project_id, {LANE} AS lane, source_host, 1 AS number
         FROM tasks
         WHERE {READY} ORDER BY - priority, project_id, {LANE}, source_host LIMIT 1)
        UNION ALL
        SELECT following.*,
            number + CAST(following.project_id <> ALL(CAST(:full_projects AS text[])) AS integer)
        FROM projects_ahead, LATERAL (
            SELECT - priority AS rank, project_id, {LANE} AS lane, source_host FROM tasks
            WHERE {READY}
                AND (- priority, project_id) > (projects_ahead.rank, projects_ahead.project_id)
            ORDER BY - priority, project_id, {LANE}, source_host LIMIT 1
        ) AS following
        WHERE number < :projects
    ), lanes_ahead AS (
        SELECT rank, project_id, lane, source_host,
            CASE WHEN lane = ANY(CAST(:full_lanes AS text[])) THEN 0 ELSE 1 END AS number
        FROM projects_ahead WHERE project_id <> ALL(CAST(:full_projects AS text[]))
        UNION ALL
        SELECT lanes_ahead.rank, lanes_ahead.project_id, following.lane, following.source_host,
            number + CASE WHEN following.lane = ANY(CAST(:full_lanes AS text[])) THEN 0 ELSE 1 END
        FROM lanes_ahead, LATERAL (
            SELECT {LANE} AS lane, source_host FROM tasks
            WHERE {READY} AND - priority = lanes_ahead.rank
                AND project_id = lanes_ahead.project_id AND {LANE} > lanes_ahead.lane
            ORDER BY {LANE}, source_host LIMIT 1
        ) AS following
        WHERE number < :lanes
    ), ahead AS (
        SELECT rank, project_id, lane, source_host,
            CASE WHEN source_host = ANY(:full) THEN 0 ELSE 1 END AS number FROM lanes_ahead
        WHERE lane <> ALL(CAST(:full_lanes AS text[]))
        UNION ALL
        SELECT ahead.rank, ahead.project_id, ahead.lane, following.source_host,
            number + CASE WHEN following.source_host = ANY(:full) THEN 0 ELSE 1 END
        FROM ahead, LATERAL (
            SELECT source_host FROM tasks
            WHERE {READY} AND - priority = ahead.rank AND project_id = ahead.project_id
                AND {LANE} = ahead.lane AND source_host > ahead.source_host
            ORDER BY source_host LIMIT 1
        ) AS following
        WHERE number < :hosts
    ), others AS (
        (SELECT - priority AS rank, project_id, {LANE} AS lane, source_host, 1 AS number
         FROM tasks
         WHERE {READY} AND (- priority, project_id, {LANE}, source_host) > (CAST(:rank AS
            smallint), CAST(:project_id AS text), CAST(:lane AS text), CAST(:source_host AS text))
         ORDER BY - priority, project_id, {LANE}, source_host LIMIT 1)
        UNION ALL
        SELECT following.*, number + 1 FROM others, LATERAL (
            SELECT - priority AS rank, project_id, {LANE} AS lane, source_host FROM tasks
            WHERE {READY} AND (- priority, project_id, {LANE}, source_host)
                > (others.rank, others.project_id, others.lane, others.source_host)
            ORDER BY - priority, project_id, {LANE}, source_host LIMIT 1
        ) AS following
        WHERE number < :others
    )
    SELECT rank, project_id, lane, source_host, 0 AS number FROM ahead
    UNION ALL SELECT rank, project_id, lane, source_host, number FROM others
""")  # noqa: S608 - the conditions are the constants above

# `place` is how many of its lane's tasks go before one and `turn` how many of its project's, those
# in flight included.
_CHOOSE = text(f"""
    WITH placed AS (
        SELECT one.id, one.url_expires, found.*, lane_flying + row_number() OVER (
            PARTITION BY project_id, lane ORDER BY rank, one.url_expires, one.id) AS place
        FROM unnest(
            CAST(:ranks AS smallint[]), CAST(:project_ids AS text[]), CAST(:lanes AS text[]),
            CAST(:hosts AS text[]), CAST(:places AS integer[]), CAST(:flying AS integer[]),
            CAST(:most AS integer[]), CAST(:lane_flying AS integer[]),
            CAST(:lane_most AS integer[])
        ) AS found (rank, project_id, lane, source_host, places, flying, most, lane_flying,
            lane_most), LATERAL (
            SELECT id, url_expires FROM tasks
            WHERE {READY} AND - priority = found.rank AND project_id = found.project_id
                AND {LANE} = found.lane AND source_host = found.source_host
            ORDER BY url_expires, id LIMIT found.places
        ) AS one
    ), candidates AS (
        SELECT id, url_expires, rank, place, source_host, places, most,
            flying + row_number() OVER (
                PARTITION BY project_id ORDER BY rank, place, url_expires, id) AS turn
        FROM placed WHERE lane_most IS NULL OR place <= lane_most
    ), seated AS (
        SELECT id, rank, turn, url_expires, places, row_number() OVER (
            PARTITION BY source_host ORDER BY rank, turn, url_expires, id) AS seat
        FROM candidates WHERE most IS NULL OR turn <= most
    )
    SELECT id FROM seated WHERE seat <= places ORDER BY rank, turn, url_expires, id LIMIT :room
""")  # noqa: S608 - as above


@dataclass(frozen=True, order=True, slots=True)
class Group:
    """The ready tasks of one priority (``rank`` is its negative), project, lane and host."""

    rank: int
    project_id: str
    lane: str
    source_host: str


# Before every group there is: priorities are smallints, and go to their negatives.
START = Group(-32768, "", "", "")


def pick(
    connection: Connection, room: int, host_limit: int, after: Group = START
) -> tuple[Sequence[str], Group]:
    """Choose ready tasks to wake, and note that they were.

    By priority, then in turn between projects, then in turn between the batches of each and what is
    of none, then what has a URL that ends soon, then by age; of a project and of a batch never more
    than may run.

    Args:
        room: how many at most.
        host_limit: how many of one source host may be in flight, woken or running; 0 for any
            number.
        after: where the scan before ended.

    Returns:
        Their ids in order, and where the next scan goes on.
    """
    flying = _count_flying(connection)
    on_host, of_project, of_lane = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
    for (project_id, lane, host), count in flying.items():
        on_host[host] += count
        of_project[project_id] += count
        of_lane[project_id, lane] += count

    def count_places(host: str) -> int:
        return min(room, host_limit - on_host[host]) if host_limit else room

    most = _read_limits(connection)
    full = [host for host in on_host if count_places(host) <= 0]
    full_projects = {one for one, limit in most.items() if of_project[one] >= limit}
    lane_most = _read_held(connection)
    of_batch = {lane: count for (_, lane), count in of_lane.items()}
    full_lanes = {one for one, limit in lane_most.items() if of_batch.get(one, 0) >= limit}
    groups, end = _scan(connection, full, full_projects, full_lanes, after)
    free = [
        group
        for group in groups
        if count_places(group.source_host) > 0
        and group.project_id not in full_projects
        and group.lane not in full_lanes
    ]
    ids = connection.execute(
        _CHOOSE,
        {
            "ranks": [group.rank for group in free],
            "project_ids": [group.project_id for group in free],
            "lanes": [group.lane for group in free],
            "hosts": [group.source_host for group in free],
            "places": [count_places(group.source_host) for group in free],
            "flying": [of_project[group.project_id] for group in free],
            "most": [most.get(group.project_id) for group in free],
            "lane_flying": [of_lane[group.project_id, group.lane] for group in free],
            "lane_most": [lane_most.get(group.lane) for group in free],
            "room": room,
        },
    ).scalars()
    return _note_woken(connection, list(ids)), end


def _count_flying(connection: Connection) -> Mapping[tuple[str, str, str], int]:
    """Return how many tasks are woken or running, by project, lane and host."""
    rows = connection.execute(_COUNT_FLYING)
    return {(project_id, lane, host): count for project_id, lane, host, count in rows}


def _read_limits(connection: Connection) -> Mapping[str, int]:
    """Return how many tasks a project may have in flight, for those that have a limit."""
    return {row.id: row.max_running for row in connection.execute(_READ_LIMITS)}


def _read_held(connection: Connection) -> Mapping[str, int]:
    """Return how many tasks a batch may have in flight, for those where that is limited."""
    return {row.id: row.most for row in connection.execute(_READ_HELD)}


def _scan(
    connection: Connection,
    full: Sequence[str],
    full_projects: Set[str],
    full_lanes: Set[str],
    after: Group,
) -> tuple[Sequence[Group], Group]:
    rows = connection.execute(
        _SCAN,
        {
            "full": list(full),
            "full_projects": list(full_projects),
            "full_lanes": list(full_lanes),
            "rank": after.rank,
            "project_id": after.project_id,
            "lane": after.lane,
            "source_host": after.source_host,
            "projects": _PROJECTS,
            "lanes": _LANES,
            "hosts": _HOSTS,
            "others": _OTHERS,
        },
    )
    found: dict[Group, None] = {}
    end = START
    for rank, project_id, lane, host, number in rows:
        group = Group(rank, project_id, lane, host)
        found[group] = None
        if number == _OTHERS:
            end = group
    return list(found), end


def _note_woken(connection: Connection, ids: Sequence[str]) -> Sequence[str]:
    """Return those that are ready still, in the same order."""
    rows = connection.execute(_NOTE_WOKEN, {"ids": list(ids)})
    woken = set(rows.scalars())
    return [task_id for task_id in ids if task_id in woken]
