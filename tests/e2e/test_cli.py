"""`headrace` as people and scripts run it: real processes, exit codes, JSON that parses."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil
import pytest

from cli.answers import JsonDict
from cli.problems import ExitCode
from tests.support.terminal import HEADRACE, LIMIT_S, Terminal


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    """A terminal for this module."""
    return Terminal(tmp_path_factory.mktemp("terminal"))


@pytest.fixture(scope="module")
def welcome(terminal: Terminal) -> Iterator[str]:
    """What `headrace up --detach` printed; the stack runs while the module does."""
    done = terminal.run("up", "--detach")
    assert done.returncode == ExitCode.OK, done.stderr
    yield done.stdout
    processes = [*terminal.list_processes().values()]
    done = terminal.run("down")
    assert done.returncode == ExitCode.OK, done.stderr
    assert psutil.wait_procs(processes, timeout=LIMIT_S)[1] == []


@pytest.fixture(scope="module")
def stored(terminal: Terminal, welcome: str) -> JsonDict:
    """The File of the sample."""
    del welcome
    return terminal.run_json("ingest", "--folder", "films/new", "--filename", "bars.mp4")


def test_the_sample_becomes_a_file_with_what_was_asked_for(stored: JsonDict) -> None:
    assert (stored["kind"], stored["type"]) == ("video", "video/mp4")
    assert (stored["width"], stored["height"], stored["codec"]) == (1280, 720, "h264")
    assert stored["duration"] == pytest.approx(5, abs=0.1)
    assert (stored["folder"], stored["filename"]) == ("films/new", "bars.mp4")


def test_an_ingest_says_on_stderr_that_the_bytes_were_checked(
    terminal: Terminal, welcome: str
) -> None:
    del welcome
    done = terminal.run("ingest", "--ref", "checked")
    file = json.loads(done.stdout)
    assert f"have {file['checksum']}" in done.stderr
    assert "complete" in done.stderr


def test_the_curl_line_works_when_pasted(terminal: Terminal, welcome: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    line = next(line.strip() for line in welcome.splitlines() if line.strip().startswith("curl"))
    answer = json.loads(terminal.run_shell(line).stdout)
    assert answer.get("error") is None
    assert answer["data"]["object"] == "file"
    assert answer["data"]["status"] == "complete"


def test_env_is_for_eval(terminal: Terminal, stored: JsonDict) -> None:
    script = (
        f'eval "$(headrace env)" && cd / && HEADRACE_HOME=/nowhere {HEADRACE} files list --json'
    )
    done = terminal.run_shell(script)
    assert done.returncode == ExitCode.OK, done.stderr
    assert stored["id"] in [file["id"] for file in json.loads(done.stdout)]
    assert re.search(r"^HEADRACE_URL=http://127", terminal.run("env").stdout, re.MULTILINE)


def test_status_tells_what_runs_and_whether_it_is_ready(terminal: Terminal, welcome: str) -> None:
    del welcome
    state = terminal.run_json("status")
    assert state["ready"] is True
    processes = state["processes"]
    assert isinstance(processes, dict)
    assert {"postgres", "valkey", "seaweedfs", "api", "worker", "sender", "beat"} <= set(processes)
    shown = terminal.run("status").stdout
    assert all(name in shown for name in processes)


def test_a_second_up_on_the_same_home_is_refused(terminal: Terminal, welcome: str) -> None:
    del welcome
    for done in (terminal.run("up"), terminal.run("up", "--detach")):
        assert done.returncode == ExitCode.SETUP
        assert "headrace down" in done.stderr


def test_tasks_and_files_are_listed_got_and_deleted(terminal: Terminal, welcome: str) -> None:
    del welcome
    file = terminal.run_json("ingest", "--ref", "listed")
    listed = json.loads(terminal.run("tasks", "list", "--ref", "listed", "--json").stdout)
    assert [task["status"] for task in listed] == ["complete"]
    task = terminal.run_json("tasks", "get", listed[0]["id"])
    assert task["output"] == terminal.run_json("files", "get", str(file["id"])) == file

    assert terminal.run("files", "delete", str(file["id"])).returncode == ExitCode.OK
    gone = terminal.run("files", "get", str(file["id"]))
    assert gone.returncode == ExitCode.REFUSED
    assert gone.stdout == ""


def test_lists_for_people_count_what_there_is(terminal: Terminal, stored: JsonDict) -> None:
    done = terminal.run("files", "list", "--limit", "1")
    assert "bars.mp4" in terminal.run("files", "list").stdout
    assert re.search(r"Page 1 of \d+, \d+ in all", done.stderr)
    assert str(stored["id"]) in terminal.run("files", "list").stdout


def test_a_revoked_key_is_refused(terminal: Terminal, welcome: str) -> None:
    del welcome
    key = terminal.run_json("keys", "create", "for a test")
    given = {"HEADRACE_KEY": str(key["secret"])}
    assert terminal.run("tasks", "list", **given).returncode == ExitCode.OK

    assert terminal.run("keys", "revoke", str(key["id"])).returncode == ExitCode.OK
    assert terminal.run("tasks", "list", **given).returncode == ExitCode.REFUSED
    assert terminal.run("keys", "revoke", str(key["id"])).returncode == ExitCode.REFUSED
    listed = json.loads(terminal.run("keys", "list", "--json").stdout)
    assert [one["name"] for one in listed if one["revoked"]] == ["for a test"]


def test_a_project_has_keys_limits_and_a_place_of_its_own(
    terminal: Terminal, welcome: str, stored: JsonDict
) -> None:
    del welcome, stored
    made = terminal.run_json(
        "projects", "create", "archive", "--max-running", "8", "--max-stored", "500 GiB"
    )
    assert (made["prefix"], made["max_running"]) == ("archive", 8)
    assert made["max_stored_bytes"] == 500 * 1024**3
    key = terminal.run_json("keys", "create", "importer", "--project", "archive")
    ingest = ("ingest", "--filename", "a.mp4", "--json")
    file = json.loads(terminal.run(*ingest, HEADRACE_KEY=str(key["secret"])).stdout)
    assert str(file["url"]).endswith("/delivery/archive/a.mp4")
    (shown,) = [
        one
        for one in json.loads(terminal.run("projects", "list", "--json").stdout)
        if one["name"] == "archive"
    ]
    assert [shown[name] for name in ("running", "pending", "files", "stored_bytes")] == [
        0,
        0,
        1,
        file["filesize"],
    ]
    people = terminal.run("projects", "list").stdout
    assert re.search(r"archive +archive +0 of 8 +0 +1 +[0-9.]+ KiB of 500 GiB", people)
    named = str(made["id"])
    limited = terminal.run_json("projects", "limit", named, "--max-running", "none")
    assert (limited["max_running"], limited["max_stored_bytes"]) == (None, 500 * 1024**3)
    said = terminal.run("projects", "limit", "archive", "--max-stored", "none").stderr
    assert said == ("archive may run any number of tasks at once and store any number of bytes.\n")
    listed = terminal.run("keys", "list", "--project", "archive", "--json").stdout
    assert [one["name"] for one in json.loads(listed)] == ["importer"]
    revoked = ("keys", "revoke", str(key["id"]))
    assert terminal.run(*revoked).returncode == ExitCode.REFUSED
    assert terminal.run(*revoked, "--project", "archive").returncode == ExitCode.OK
    for refused in (
        ("projects", "create", "archive"),
        ("projects", "create", "other", "--prefix", "archive"),
        ("projects", "limit", "nobody", "--max-running", "1"),
        ("keys", "create", "a", "--project", "nobody"),
    ):
        done = terminal.run(*refused)
        assert (done.returncode, done.stdout) == (ExitCode.REFUSED, "")
        assert done.stderr.startswith("headrace: ")
    for wrong in (
        ("projects", "create", "a/b"),
        ("projects", "create", "b", "--prefix", ".."),
        ("projects", "create", ""),
        ("projects", "create", str(made["id"])),
        ("projects", "limit", "archive"),
        ("projects", "limit", "archive", "--max-running", "-1"),
        ("projects", "limit", "archive", "--max-running", "8GiB"),
        ("projects", "limit", "archive", "--max-stored", "much"),
        ("projects", "limit", "archive", "--max-stored", "9999999999999TiB"),
    ):
        assert terminal.run(*wrong).returncode == ExitCode.USAGE, wrong


def test_an_ingest_that_fails_exits_1_with_the_reason(terminal: Terminal, welcome: str) -> None:
    del welcome
    sample = terminal.home.read_state().sample_url
    done = terminal.run("ingest", f"{sample}-that-is-not-there")
    assert done.returncode == ExitCode.FAILED
    assert "source_not_found" in done.stderr
    assert done.stdout == ""


def test_a_url_that_the_api_refuses_exits_3_with_the_field(
    terminal: Terminal, welcome: str
) -> None:
    del welcome
    done = terminal.run("ingest", "ftp://example.com/a.mp4")
    assert done.returncode == ExitCode.REFUSED
    assert "'url'" in done.stderr


def test_a_service_that_is_not_there_exits_4(terminal: Terminal) -> None:
    done = terminal.run("tasks", "list", HEADRACE_URL="http://127.0.0.1:1", HEADRACE_KEY="hr_x")
    assert done.returncode == ExitCode.UNREACHABLE
    assert "http://127.0.0.1:1" in done.stderr


def test_something_else_at_the_address_exits_4(terminal: Terminal, welcome: str) -> None:
    del welcome
    sample = str(terminal.home.read_state().sample_url)
    done = terminal.run("tasks", "list", HEADRACE_URL=sample, HEADRACE_KEY="hr_x")
    assert done.returncode == ExitCode.UNREACHABLE
    assert "not Headrace" in done.stderr


def test_migrating_again_changes_nothing(terminal: Terminal, welcome: str) -> None:
    del welcome
    assert terminal.run("migrate").returncode == ExitCode.OK


def test_ingest_starts_a_stack_where_none_runs_and_stops_it_again(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    file = terminal.run_json("ingest")
    assert file["status"] == "complete"
    assert terminal.run("status").returncode == ExitCode.UNREACHABLE
    assert terminal.home.read_state().processes == {}


def test_what_a_killed_supervisor_left_is_stopped_and_its_data_is_found_again(
    tmp_path: Path,
) -> None:
    terminal = Terminal(tmp_path)
    assert terminal.run("up", "--detach").returncode == ExitCode.OK
    file = terminal.run_json("ingest")
    left = terminal.list_processes()
    supervisor = terminal.home.read_state().supervisor
    assert supervisor is not None

    os.kill(supervisor.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(supervisor.pid)], timeout=LIMIT_S)
    assert terminal.run("status").returncode == ExitCode.UNREACHABLE
    assert all(process.is_running() for process in left.values())

    assert terminal.run("up", "--detach").returncode == ExitCode.OK
    assert not [name for name, process in left.items() if process.is_running()]
    # But for its address: the port may have been taken meanwhile.
    again = terminal.run_json("files", "get", str(file["id"]))
    assert {**again, "url": file["url"]} == file
    assert terminal.run("down").returncode == ExitCode.OK


def test_ctrl_c_stops_every_child_of_up(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    with subprocess.Popen(
        [HEADRACE, "up", "--workers", "2"],
        cwd=tmp_path,
        env=terminal.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as up:
        assert up.stdout is not None
        _read_until(up.stdout, "curl ")
        children = terminal.list_processes()
        assert {"worker", "worker-2"} <= set(children)

        up.send_signal(signal.SIGINT)
        assert up.wait(LIMIT_S) == ExitCode.OK
    assert not [name for name, process in children.items() if process.is_running()]


def test_what_keeps_a_detached_stack_from_starting_is_said_where_it_was_asked_for(
    tmp_path: Path,
) -> None:
    done = Terminal(tmp_path).run("up", "--detach", HEADRACE_WORKER_SLOTS="many")
    assert done.returncode == ExitCode.SETUP
    assert "HEADRACE_WORKER_SLOTS" in done.stderr


def _read_until(stream: IO[str], words: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    for line in stream:
        if words in line:
            return
        assert time.monotonic() < deadline
    pytest.fail(f"it ended before it said {words!r}")
