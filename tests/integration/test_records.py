"""Files, keys and migrations, on real PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import (
    Connection,
    create_engine,
    delete,
    text,
)
from sqlalchemy.exc import DBAPIError, NoResultFound

from ingest.access import USUAL_SCOPES, Access
from ingest.errors import DatabaseUnavailable, FileExists
from ingest.formats import Kind
from ingest.model import Limits, Project, TriedTask
from storage.migrations import make_config, migrate
from storage.records import claims, completions, files, keys, projects
from storage.records.completions import Completion
from storage.records.database import Database
from storage.records.listing import Window
from storage.records.tables import metadata, names
from tests.integration.examples import MEDIA, Claim, MakeTask, make_file


def test_a_file_is_read_as_it_was_written(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    lease = claim(make_task("a.mp4"))
    file = make_file(lease)
    with records.transaction() as connection:
        assert completions.complete(connection, lease, file, 10) is Completion.DONE
    with records.transaction() as connection:
        found = files.get(connection, file.project_id, file.id)
        assert found is not None
        assert replace(found, created=file.created, updated=file.updated) == file
        assert found.media == MEDIA
        assert files.get(connection, "prj_other", file.id) is None
        assert files.get_many(connection, [file.id, "file_none"]) == {file.id: found}
        key = "prefix/folder/a.mp4"
        assert files.find_delivered(connection, file_id=None, object_key=key) == found
        assert files.find_delivered(connection, file_id=file.id, object_key="x") == found
        assert files.find_delivered(connection, file_id="file_none", object_key=key) is None


def test_removing_a_file_frees_its_name(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    lease = claim(make_task("a.mp4"))
    file = make_file(lease)
    with records.transaction() as connection:
        assert completions.complete(connection, lease, file, 10) is Completion.DONE
        assert files.remove(connection, "prj_other", file.id) is None
        removed = files.remove(connection, file.project_id, file.id)
        assert removed == files.Removed("prefix/folder/a.mp4", None, file.filesize_bytes)
        assert files.remove(connection, file.project_id, file.id) is None
    make_task("a.mp4")


def test_one_object_has_one_file(records: Database, make_task: MakeTask, claim: Claim) -> None:
    first, second = claim(make_task()), claim(make_task())
    file = make_file(first)
    with records.transaction() as connection:
        assert completions.complete(connection, first, file, 10) is Completion.DONE
    same = replace(make_file(second), object_key=file.object_key)
    with pytest.raises(FileExists), records.transaction() as connection:
        completions.complete(connection, second, same, 10)
    with records.transaction() as connection:
        assert files.get(connection, same.project_id, same.id) is None
        # Not past the names, either.
        connection.execute(delete(names))
    with pytest.raises(FileExists), records.transaction() as connection:
        completions.complete(connection, second, same, 10)


def test_a_file_that_asks_for_one_statement_alone_is_written_by_it(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    lease = claim(make_task())
    file = make_file(lease)
    with records.look() as connection:
        assert completions.complete_at_once(connection, lease, file, 10) is Completion.DONE
        again = completions.complete_at_once(connection, lease, file, 10)
        assert again is Completion.LEASE_LOST
        second = claim(make_task())
        with pytest.raises(FileExists):
            completions.complete_at_once(
                connection, second, replace(make_file(second), object_key=file.object_key), 10
            )
        # Nothing stays broken.
        assert files.get(connection, file.project_id, file.id) is not None


def test_what_takes_more_than_one_statement_is_not_written_by_it(
    records: Database, make_task: MakeTask, claim: Claim, project: Project
) -> None:
    taking = claim(make_task("a.mp4"))
    order = replace(taking.task.order, overwrites=True)
    taking = replace(taking, task=replace(taking.task, order=order))
    unlimited = claim(make_task())
    with records.transaction() as connection:
        projects.set_limits(connection, project.id, Limits(max_stored_bytes=10**6))
    limited = claim(make_task())
    assert (unlimited.room_bytes, limited.room_bytes) == (None, 10**6)
    for lease in (taking, unlimited, limited):
        file = make_file(lease)
        with records.look() as connection:
            assert completions.complete_at_once(connection, lease, file, 10) is None
            assert files.get(connection, file.project_id, file.id) is None
        with records.transaction() as connection:
            assert completions.complete(connection, lease, file, 10) is Completion.DONE


def test_files_are_listed_by_kind_and_ref(
    records: Database, make_task: MakeTask, claim: Claim, project: Project
) -> None:
    leases = [claim(make_task()) for _ in range(3)]
    made = [make_file(lease) for lease in leases]
    made[0] = replace(made[0], ref="mine")
    made[1] = replace(made[1], media=replace(MEDIA, kind=Kind.AUDIO))
    with records.transaction() as connection:
        for lease, file in zip(leases, made, strict=True):
            assert completions.complete(connection, lease, file, 10) is Completion.DONE

        def list_ids(kind: Kind | None, ref: str | None, window: Window) -> list[str]:
            page = files.list_page(connection, project.id, kind, ref, window)
            return [file.id for file in page.items]

        ids = [file.id for file in made]
        assert list_ids(None, None, Window()) == ids[::-1]
        assert list_ids(Kind.AUDIO, None, Window()) == [ids[1]]
        assert list_ids(None, "mine", Window()) == [ids[0]]
        assert list_ids(None, None, Window(limit=1, after=ids[2])) == [ids[1]]
        assert list_ids(None, None, Window(limit=1, before=ids[0])) == [ids[1]]


def test_a_key_is_found_by_its_secret_until_it_is_revoked(connection: Connection) -> None:
    project = projects.ensure_project(connection, "tests", "prefix")
    key, secret = keys.create_key(connection, project.id, "laptop")

    assert keys.find_access(connection, secret) == Access(project, key.id, frozenset(USUAL_SCOPES))
    assert secret.startswith(key.shown_prefix)
    assert keys.list_keys(connection, project.id) == [keys.get_key(connection, project.id, key.id)]
    assert not keys.revoke_key(connection, "prj_other", key.id)
    assert keys.revoke_key(connection, project.id, key.id)
    assert not keys.revoke_key(connection, project.id, key.id)
    assert keys.find_access(connection, secret) is None
    (listed,) = keys.list_keys(connection, project.id)
    assert listed.revoked is not None


def test_a_key_finds_a_task_of_its_own_project_and_no_other(
    connection: Connection, make_task: MakeTask
) -> None:
    task = make_task("a.mp4")
    other = projects.create_project(connection, "another", "another", Limits())
    key, secret = keys.create_key(connection, task.project_id, "its own")
    _, stranger = keys.create_key(connection, other.id, "another's")

    access, found = keys.find_access_and_task(connection, secret, task.id)
    assert access == keys.find_access(connection, secret)
    assert found == TriedTask(task, [])
    assert keys.find_access_and_task(connection, secret, "task_nobodys") == (access, None)
    access, found = keys.find_access_and_task(connection, stranger, task.id)
    assert access is not None
    assert (access.project, found) == (other, None)
    assert keys.revoke_key(connection, task.project_id, key.id)
    assert keys.find_access_and_task(connection, secret, task.id) == (None, None)


@pytest.mark.parametrize("wrong", ["", "hr_", "\x00", "\ud800", "x" * 10_000])
def test_what_is_no_secret_finds_no_project(wrong: str, connection: Connection) -> None:
    keys.create_key(connection, projects.ensure_project(connection).id, "laptop")
    assert keys.find_access(connection, wrong) is None


def test_no_secret_is_stored(connection: Connection) -> None:
    project = projects.ensure_project(connection)
    _, secret = keys.create_key(connection, project.id, "laptop")
    row = connection.execute(text("SELECT keys::text FROM keys")).scalar_one()
    assert secret not in row
    assert secret.encode().hex() not in row


def test_a_project_is_made_once_however_many_ask(records: Database) -> None:
    def ensure(_: int) -> Project:
        with records.transaction() as connection:
            return projects.ensure_project(connection, "shared", "shared")

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ensure, range(8)))) == 1
    with pytest.raises(NoResultFound), records.transaction() as connection:
        projects.ensure_project(connection, "other", "shared")


@pytest.mark.parametrize(
    ("object_key", "foreign"),
    [
        ("other/a.mp4", True),
        ("other/deep/a.mp4", True),
        ("other", True),
        ("others/a.mp4", False),
        ("a/other/b.mp4", False),
        ("Other/a.mp4", False),
        ("oth%r/a.mp4", False),
        ("mine/a.mp4", False),
        ("with_under/a.mp4", True),
        ("withXunder/a.mp4", False),
    ],
)
def test_another_projects_place_begins_with_its_prefix(
    object_key: str,
    foreign: bool,  # noqa: FBT001
    connection: Connection,
) -> None:
    first = projects.ensure_project(connection, "first", "")
    mine = projects.ensure_project(connection, "mine", "mine")
    for name in ("other", "with_under"):
        projects.ensure_project(connection, name, name)
    for project in (first, mine):
        expected = foreign or (project is first and object_key.startswith("mine/"))
        assert projects.is_place_of_another(connection, project.id, object_key) is expected


def test_the_migrations_make_what_the_tables_say(records_url: str) -> None:
    engine = create_engine(records_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_migrating_again_or_all_at_once_does_no_harm(
    make_empty_database: Callable[[], str],
) -> None:
    url = make_empty_database()
    database = Database(url)
    with pytest.raises(DatabaseUnavailable, match="headrace migrate"):
        database.check()
    call = "import sys; from storage.migrations import migrate; migrate(sys.argv[1])"
    started = [subprocess.Popen([sys.executable, "-c", call, url]) for _ in range(3)]
    assert [one.wait(60) for one in started] == [0, 0, 0]
    migrate(url)
    database.check()
    database.close()


def test_a_schema_of_another_version_is_said_so_in_one_line(
    make_empty_database: Callable[[], str],
) -> None:
    url = make_empty_database()
    database = Database(url, pool_size=1)
    for spoil in (None, "ALTER TABLE projects DROP COLUMN max_running"):
        if spoil is not None:
            migrate(url)
            with database.transaction() as connection:
                connection.execute(text(spoil))
        with (
            pytest.raises(DatabaseUnavailable, match="run `headrace migrate`"),
            database.transaction() as connection,
        ):
            projects.list_projects(connection)
    database.close()


def test_a_database_without_what_a_claim_needs_is_said_so_by_the_claim_and_by_the_check(
    make_empty_database: Callable[[], str],
) -> None:
    url = make_empty_database()
    migrate(url)
    command.downgrade(make_config(url), "0017")
    database = Database(url, pool_size=1)
    with (
        pytest.raises(DatabaseUnavailable, match="run `headrace migrate`"),
        database.look() as connection,
    ):
        claims.claim(connection, "task_a", "worker-1", 60)
    with pytest.raises(DatabaseUnavailable, match="run `headrace migrate`"):
        database.check()
    database.close()


def test_a_migration_can_be_taken_back(make_empty_database: Callable[[], str]) -> None:
    url = make_empty_database()
    migrate(url)
    command.downgrade(make_config(url), "base")
    engine = create_engine(url)
    with engine.connect() as connection:
        left = connection.execute(
            text("""
                SELECT tablename FROM pg_tables WHERE schemaname = 'public'
                UNION ALL SELECT proname FROM pg_proc
                WHERE pronamespace = CAST('public' AS regnamespace)
            """)
        )
        assert left.scalars().all() == ["alembic_version"]
    engine.dispose()
    migrate(url)


def test_a_migration_is_not_taken_back_where_nobody_would_know_any_more_where_a_file_lies(
    make_empty_database: Callable[[], str],
) -> None:
    url = make_empty_database()
    command.upgrade(make_config(url), "0013")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO projects (id, name, key_prefix) VALUES ('prj_1', 'a', '')")
        )
        connection.execute(
            text("""
                INSERT INTO tasks (id, project_id, kind, status, url, source_host, file_id,
                    media_id, max_attempts, request_id)
                VALUES ('task_1', 'prj_1', 'ingest', 'pending', 'http://a/', 'a', 'file_1',
                    'med_1', 5, 'req_1')
            """)
        )
        connection.execute(
            text(
                "INSERT INTO names (object_key, project_id, task_id) "
                "VALUES ('a', 'prj_1', 'task_1')"
            )
        )
    migrate(url)
    with engine.begin() as connection:
        assert connection.execute(text("SELECT overwrites, dedupe FROM tasks")).one() == (
            False,
            "none",
        )
        assert connection.execute(text("SELECT leaves FROM names")).scalar_one() is False
        connection.execute(text("UPDATE names SET leaves = true"))
    with pytest.raises(DBAPIError, match="Let those tasks end first"):
        command.downgrade(make_config(url), "0013")
    with engine.begin() as connection:
        connection.execute(text("UPDATE names SET leaves = false"))
    command.downgrade(make_config(url), "0013")
    engine.dispose()
    migrate(url)
