"""Which tasks are woken next, on real PostgreSQL: order, turns, limits, and what a look costs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from sqlalchemy import Connection, select, text, update

from ingest.model import Limits, Order, Project
from storage.records import projects, tasks, turns, wakeups
from storage.records.database import Database
from storage.records.tables import tasks as table
from tests.integration.examples import Claim, MakeTask
from tests.support.waiting import await_next_millisecond

Wish = Callable[..., str]


@pytest.fixture
def others(records: Database) -> list[Project]:
    """Three projects besides the tests' own."""
    with records.transaction() as connection:
        return [projects.ensure_project(connection, name, name) for name in ("one", "two", "three")]


@pytest.fixture
def wish(records: Database, project: Project) -> Wish:
    """Makes a ready task; returns its id, higher than those before."""

    def make(
        host: str = "source.invalid",
        *,
        of: Project = project,
        priority: int = 0,
        expires: datetime | None = None,
    ) -> str:
        order = Order(f"http://{host}/a", None, None, None, None, None, None, priority=priority)
        await_next_millisecond()
        with records.transaction() as connection:
            return tasks.create(
                connection,
                of,
                order,
                object_key=None,
                max_attempts=5,
                request_id="req_tests",
                woken=False,
                url_expires=expires,
            ).id

    return make


def _pick(records: Database, room: int, host_limit: int = 0) -> list[str]:
    with records.transaction() as connection:
        return list(turns.pick(connection, room, host_limit)[0])


def _must_wait(records: Database, project: Project) -> bool:
    with records.transaction() as connection:
        return wakeups.must_wait(connection, project.id)


def _limit(records: Database, project: Project, max_running: int) -> None:
    with records.transaction() as connection:
        projects.set_limits(connection, project.id, Limits(max_running=max_running))


def _fill(connection: Connection, project: Project, count: int, hosts: int = 1) -> None:
    """Add ready tasks in one statement."""
    connection.execute(
        text("""
            INSERT INTO tasks (id, project_id, kind, url, file_id, media_id, source_host,
                max_attempts, request_id)
            SELECT 'task_0' || n, :project, 'ingest', 'http://a/', 'file_' || n, 'med_' || n,
                'host-' || n % :hosts, 5, 'req_tests'
            FROM generate_series(1, :count) AS n
        """),
        {"project": project.id, "count": count, "hosts": hosts},
    )


def test_wake_ups_are_chosen_oldest_first_up_to_the_room_and_not_twice(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    ids = [make_task().id for _ in range(5)]
    make_task(woken=True)
    claim(make_task())

    assert ids == sorted(ids)
    assert _pick(records, 2) == ids[:2]
    assert _pick(records, 9) == ids[2:]
    assert _pick(records, 9) == []
    with records.transaction() as connection:
        wakeups.note_unwoken(connection, ids[3:])
    assert _pick(records, 9) == ids[3:]


def test_the_higher_priority_goes_first_whatever_its_age_or_project(
    records: Database, wish: Wish, others: list[Project]
) -> None:
    plain, urgent, idle = wish(), wish(of=others[0], priority=10), wish(priority=-10)
    high = wish(priority=3)
    assert _pick(records, 3) == [urgent, high, plain]
    assert _pick(records, 3) == [idle]


def test_projects_take_turns_and_what_runs_already_counts(
    records: Database, wish: Wish, others: list[Project], claim: Claim
) -> None:
    batch = [wish() for _ in range(6)]
    late = [wish(of=others[0]) for _ in range(2)]
    single = wish(of=others[1])
    assert _pick(records, 3) == [batch[0], late[0], single]
    # Each project has one under way: they are level again.
    assert _pick(records, 2) == [batch[1], late[1]]
    newcomer = wish(of=others[2])
    assert _pick(records, 2) == [newcomer, batch[2]]


def test_within_a_project_what_expires_soon_goes_first(
    records: Database, wish: Wish, others: list[Project]
) -> None:
    now = datetime.now(UTC)
    endless = wish()
    later, soon = wish(expires=now + timedelta(hours=2)), wish(expires=now + timedelta(hours=1))
    elsewhere = wish("other.invalid", expires=now + timedelta(hours=1, minutes=30))
    stranger = wish(of=others[0])
    assert _pick(records, 5) == [soon, stranger, elsewhere, later, endless]


def test_a_host_is_woken_up_to_its_limit_and_the_others_go_on(
    records: Database, wish: Wish, others: list[Project], make_task: MakeTask, claim: Claim
) -> None:
    claim(make_task(url="http://busy.invalid/"))
    make_task(url="http://busy.invalid/", woken=True)
    mine = [wish("busy.invalid") for _ in range(3)]
    wish("busy.invalid", of=others[0])
    free = wish("free.invalid")
    # One place is left on the busy host, and the project with nothing in flight comes before.
    picked = _pick(records, 9, host_limit=3)
    assert len(picked) == 2
    assert free in picked
    assert not set(picked) & set(mine)
    assert _pick(records, 9, host_limit=3) == []
    assert _pick(records, 9, host_limit=4) == mine[:1]
    assert _pick(records, 9) == mine[1:]


def test_a_high_priority_on_a_full_host_holds_up_nobody(records: Database, wish: Wish) -> None:
    for _ in range(4):
        wish("busy.invalid", priority=10)
    low = wish("free.invalid", priority=-10)
    assert len(_pick(records, 2, host_limit=2)) == 2
    assert _pick(records, 9, host_limit=2) == [low]


def test_waiting_tasks_are_ready_when_their_time_has_come(records: Database, wish: Wish) -> None:
    due, not_due = wish(), wish()
    with records.transaction() as connection:
        for task_id, after_s in ((due, -1), (not_due, 60)):
            connection.execute(
                update(table)
                .where(table.c.id == task_id)
                .values(next_attempt_at=tasks.in_seconds(after_s))
            )
    assert _pick(records, 9) == []
    with records.transaction() as connection:
        assert wakeups.ready_due(connection) == 1
        assert wakeups.ready_due(connection) == 0
    assert _pick(records, 9) == [due]


def test_lost_wake_ups_are_forgotten_oldest_first_and_no_more_than_asked(
    records: Database, wish: Wish
) -> None:
    ids = [wish() for _ in range(4)]
    assert _pick(records, 2) == ids[:2]
    assert _pick(records, 2) == ids[2:]
    with records.transaction() as connection:
        assert wakeups.forget_lost(connection, 60, 9) == 0
        assert wakeups.count_woken(connection) == 4
        assert wakeups.forget_lost(connection, -1, 3) == 3
        assert wakeups.count_woken(connection) == 1
    assert len(_pick(records, 9)) == 3


def test_a_backlog_is_what_is_ready_and_not_woken(
    records: Database, project: Project, make_task: MakeTask, claim: Claim, wish: Wish
) -> None:
    make_task(woken=True)
    claim(make_task())
    assert not _must_wait(records, project)
    wish()
    assert _must_wait(records, project)


def test_the_backlog_of_full_projects_is_in_nobodys_way(
    records: Database, project: Project, others: list[Project], wish: Wish
) -> None:
    first, second = others[:2]
    for full in (first, second):
        _limit(records, full, 1)
        for priority in (-1, 0, 1):
            # One of them is woken, and fills its project.
            wish(of=full, priority=priority)
    assert len(_pick(records, 9)) == 2
    assert not _must_wait(records, project)
    # Their own wait, and so does everybody behind what may run.
    assert _must_wait(records, first)
    wish(of=others[2], priority=-2)
    assert _must_wait(records, project)
    assert len(_pick(records, 9)) == 1
    assert not _must_wait(records, project)
    _limit(records, second, 2)
    assert _must_wait(records, project)


def test_a_project_that_may_run_nothing_waits_before_it_has_a_task(
    records: Database, project: Project, others: list[Project]
) -> None:
    _limit(records, others[0], 0)
    assert _must_wait(records, others[0])
    assert not _must_wait(records, project)


def test_a_row_that_somebody_holds_is_passed_over_and_not_waited_for(
    records: Database, wish: Wish
) -> None:
    held, free = wish(), wish()
    with records.transaction() as other:
        other.execute(select(table.c.id).where(table.c.id == held).with_for_update())
        assert _pick(records, 9) == [free]
    assert _pick(records, 9) == [held]


def test_dispatchers_wait_for_each_other(records: Database, wish: Wish) -> None:
    ids = [wish() for _ in range(6)]
    theirs: list[str] = []

    def dispatch() -> None:
        with records.transaction() as second:
            wakeups.begin(second)
            theirs.extend(turns.pick(second, 4 - wakeups.count_woken(second), 0)[0])

    with records.transaction() as first:
        wakeups.begin(first)
        other = threading.Thread(target=dispatch)
        other.start()
        mine = list(turns.pick(first, 3, 0)[0])
    other.join(10)
    # The second saw what the first had woken, and filled up what was left.
    assert (mine, theirs) == (ids[:3], ids[3:4])


def test_projects_and_hosts_beyond_one_look_have_their_turn(
    records: Database, wish: Wish, others: list[Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("_PROJECTS", 1), ("_HOSTS", 1), ("_OTHERS", 2)):
        monkeypatch.setattr(turns, name, value)
    old = [wish(f"host-{number}", of=one) for one in others for number in range(3)]
    found: list[str] = []
    after = turns.START
    for _ in range(12):
        # Whoever stands at the head always has more.
        wish("host-0", of=min(others, key=lambda one: one.id))
        with records.transaction() as connection:
            ids, after = turns.pick(connection, 2, 0, after)
        found.extend(ids)
    assert set(old) <= set(found)


@pytest.mark.parametrize(
    ("hosts", "host_limit"), [(1, 0), (1, 32), (5000, 32)], ids=["one", "limited", "many hosts"]
)
def test_a_look_costs_the_same_behind_1000_and_20000_pending(
    hosts: int, host_limit: int, records: Database, project: Project
) -> None:
    read = []
    for count in (1_000, 20_000):
        with records.transaction() as connection:
            connection.execute(table.delete())
            _fill(connection, project, count, hosts)
        with records.transaction() as connection:
            connection.execute(text("ANALYZE tasks"))
        read.append(_count_read(records, 16, host_limit))
    few, many = read
    # A table of a few pages is read whole rather than looked up by id; a long one never is.
    assert many.by_scan == 0
    assert many.by_index <= few.by_index + few.by_scan + 50
    assert many.by_index < 1_000


def test_a_full_host_with_20000_pending_costs_nothing(
    records: Database, project: Project, others: list[Project], wish: Wish, make_task: MakeTask
) -> None:
    for _ in range(2):
        make_task(url="http://host-0/", woken=True)
    with records.transaction() as connection:
        _fill(connection, project, 20_000)
        connection.execute(text("ANALYZE tasks"))
    wish("host-1", of=others[0])
    assert sum(_count_read(records, 16, 2)) < 60
    with records.transaction() as connection:
        assert connection.execute(
            select(table.c.woken.is_not(None)).where(table.c.source_host == "host-1")
        ).scalar_one()


def test_a_full_project_with_20000_pending_costs_nothing(
    records: Database, project: Project, others: list[Project], wish: Wish, make_task: MakeTask
) -> None:
    _limit(records, project, 2)
    for _ in range(2):
        make_task(woken=True)
    with records.transaction() as connection:
        _fill(connection, project, 20_000)
        connection.execute(text("ANALYZE tasks"))
    assert not _must_wait(records, others[0])
    theirs = wish("host-1", of=others[0])
    assert sum(_count_read(records, 16, 0)) < 60
    with records.transaction() as connection:
        assert connection.execute(
            select(table.c.woken.is_not(None)).where(table.c.id == theirs)
        ).scalar_one()


class _Read(NamedTuple):
    """How many rows of ``tasks`` PostgreSQL has read for this session."""

    by_scan: int
    by_index: int


def _count_read(records: Database, room: int, host_limit: int) -> _Read:
    """Return what all the queries of one dispatch read."""
    with records.transaction() as connection:
        before = _read_counters(connection)
        wakeups.begin(connection)
        wakeups.ready_due(connection)
        wakeups.forget_lost(connection, 60, room)
        wakeups.count_woken(connection)
        wakeups.must_wait(connection, "prj_unlimited")
        turns.pick(connection, room, host_limit)
        after = _read_counters(connection)
    return _Read(after.by_scan - before.by_scan, after.by_index - before.by_index)


def _read_counters(connection: Connection) -> _Read:
    row = connection.execute(
        text(
            "SELECT seq_tup_read, idx_tup_fetch FROM pg_stat_xact_user_tables"
            " WHERE relname = 'tasks'"
        )
    ).one_or_none()
    return _Read(0, 0) if row is None else _Read(row[0], row[1])
