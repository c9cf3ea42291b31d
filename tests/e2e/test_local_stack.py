"""The local stack on real servers: starts, finds its data again, survives, stops."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from cli.client import hash_download
from cli.home import Home
from cli.local import LocalStack
from cli.problems import Interrupted, SetupProblem
from ingest.environ import load_settings
from storage.objects import s3
from storage.objects.store import ObjectHeaders

LIMIT_S = 30.0
HEADERS = ObjectHeaders("video/mp4", "inline", {})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this module's servers keep their data."""
    return tmp_path_factory.mktemp("stack") / ".headrace"


@pytest.fixture(scope="module")
def said() -> list[str]:
    """What the servers' supervisor said."""
    return []


@pytest.fixture(scope="module")
def servers(home: Path, said: list[str]) -> Iterator[LocalStack]:
    """PostgreSQL, Valkey and SeaweedFS alone, in their second life on the same home."""
    with LocalStack(home, with_roles=False) as first:
        _remember(first, "before")
        first_key = first.api_key
    with LocalStack(home, with_roles=False, say=said.append) as second:
        assert second.api_key == first_key
        yield second


def test_a_second_start_finds_the_data_of_the_first(servers: LocalStack) -> None:
    assert _recall(servers) == ["before"]
    assert _has_object(servers, "before")


def test_what_runs_is_said_with_its_version_and_the_reason(
    servers: LocalStack, said: list[str]
) -> None:
    del servers
    for title in ("PostgreSQL", "Valkey", "SeaweedFS", "ffprobe"):
        assert any(line.startswith(title) and "(" in line for line in said), title


def test_everything_listens_on_the_loopback_alone(servers: LocalStack) -> None:
    listening = [
        connection
        for pid in servers.processes.values()
        for process in _family(pid)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 3
    assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}


def test_postgres_is_not_run_by_root(servers: LocalStack) -> None:
    assert psutil.Process(servers.processes["postgres"]).uids().effective != 0


def test_a_second_stack_on_the_same_home_is_refused(servers: LocalStack, home: Path) -> None:
    with pytest.raises(SetupProblem, match="already"):
        LocalStack(home).start()
    assert servers.processes
    assert Home(home).find_running() is not None


def test_servers_that_the_settings_name_are_used_and_none_is_started(
    servers: LocalStack, tmp_path: Path
) -> None:
    with LocalStack(tmp_path, extra_environ=servers.environ, with_roles=False) as other:
        assert other.processes == {}
        assert _recall(other) == ["before"]


@pytest.mark.parametrize("name", ["postgres", "valkey", "seaweedfs"])
def test_a_killed_server_comes_back_with_its_data(
    servers: LocalStack, said: list[str], name: str
) -> None:
    _remember(servers, name)
    pid = servers.processes[name]

    os.kill(pid, signal.SIGKILL)
    servers.wait_ready(name, after_pid=pid)

    assert any(name in line and "SIGKILL" in line and "restarting" in line for line in said)
    assert name in _recall(servers)
    assert _has_object(servers, name)


def test_the_port_of_last_time_is_used_again_unless_it_is_taken(
    tmp_path: Path, servers: LocalStack
) -> None:
    home = Home(tmp_path / ".headrace")
    home.prepare()
    named = _name_all_but_postgres(servers)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        home.write_state(home.read_state().model_copy(update={"ports": {"postgres": port}}))
        with LocalStack(home.path, extra_environ=named, with_roles=False) as other:
            assert list(other.processes) == ["postgres"]
            assert _port(other, "postgres") not in {port, _port(servers, "postgres")}
            _remember(other, "moved")
    home.write_state(home.read_state().model_copy(update={"ports": {"postgres": port}}))
    with LocalStack(home.path, extra_environ=named, with_roles=False) as other:
        assert _port(other, "postgres") == port
        assert _recall(other) == ["moved"]


def test_an_api_port_that_is_named_and_taken_is_a_clear_error(
    servers: LocalStack, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        environ = {**servers.environ, "HEADRACE_API_BIND": bind}
        with pytest.raises(SetupProblem, match="HEADRACE_API_BIND"):
            LocalStack(tmp_path, extra_environ=environ).start()


def test_data_behind_another_password_is_a_clear_error(servers: LocalStack, tmp_path: Path) -> None:
    home = Home(tmp_path / ".headrace")
    home.prepare()
    home.load_secrets()
    named = _name_all_but_postgres(servers)
    with LocalStack(home.path, extra_environ=named, with_roles=False):
        pass
    (home.path / "secrets.json").unlink()
    with pytest.raises(SetupProblem, match=r"secrets\.json"):
        LocalStack(home.path, extra_environ=named, with_roles=False).start()


def test_a_wrong_setting_is_refused_before_anything_starts(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path, extra_environ={"HEADRACE_WORKER_SLOTS": "many"})
    with pytest.raises(SetupProblem, match="HEADRACE_WORKER_SLOTS"):
        stack.start()
    assert stack.processes == {}


def test_a_database_that_does_not_answer_is_named(servers: LocalStack, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"postgresql://u:p@127.0.0.1:{unused.getsockname()[1]}/x"
        environ = {**servers.environ, "HEADRACE_DATABASE_URL": url}
        with pytest.raises(SetupProblem, match="HEADRACE_DATABASE_URL"):
            LocalStack(tmp_path, extra_environ=environ, with_roles=False).start()


def test_a_worker_that_cannot_run_is_given_up_with_its_reason(
    servers: LocalStack, tmp_path: Path
) -> None:
    environ = {**servers.environ, "HEADRACE_FFPROBE_PATH": "/nowhere/ffprobe"}
    environ.pop("HEADRACE_API_BIND")
    stack = LocalStack(tmp_path, extra_environ=environ)
    with pytest.raises(SetupProblem, match="/nowhere/ffprobe"):
        stack.start()
    assert stack.processes == {}


def test_a_stop_while_it_starts_leaves_nothing_running(tmp_path: Path) -> None:
    said = threading.Event()
    stack = LocalStack(tmp_path, with_roles=False, say=lambda _: said.set())

    def stop_once_it_spoke() -> None:
        said.wait(LIMIT_S)
        stack.ask_stop()

    stopper = threading.Thread(target=stop_once_it_spoke)
    stopper.start()
    with pytest.raises(Interrupted):
        stack.start()
    stopper.join()
    assert stack.processes == {}
    assert Home(tmp_path).find_running() is None


def _name_all_but_postgres(stack: LocalStack) -> dict[str, str]:
    return {
        name: value
        for name, value in stack.environ.items()
        if name.startswith(("HEADRACE_REDIS", "HEADRACE_S3"))
    }


def _family(pid: int) -> list[psutil.Process]:
    leader = psutil.Process(pid)
    return [leader, *leader.children(recursive=True)]


def _remember(stack: LocalStack, word: str) -> None:
    with psycopg.connect(stack.environ["HEADRACE_DATABASE_URL"], autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS remembered (word text)")
        connection.execute("INSERT INTO remembered VALUES (%s)", (word,))
    s3.connect(load_settings(stack.environ), pool_size=1).put(
        f"remembered/{word}", word.encode(), HEADERS, overwrite=True
    )


def _recall(stack: LocalStack) -> list[str]:
    with psycopg.connect(stack.environ["HEADRACE_DATABASE_URL"]) as connection:
        if connection.execute("SELECT to_regclass('remembered')").fetchone() == (None,):
            return []
        rows = connection.execute("SELECT word FROM remembered").fetchall()
    return [row[0] for row in rows]


def _has_object(stack: LocalStack, word: str) -> bool:
    store = s3.connect(load_settings(stack.environ), pool_size=1)
    found = hash_download(store.presign(f"remembered/{word}", 60, HEADERS))
    return found == hashlib.sha256(word.encode()).hexdigest()


def _port(stack: LocalStack, name: str) -> int:
    return stack.home.read_state().ports[name]
