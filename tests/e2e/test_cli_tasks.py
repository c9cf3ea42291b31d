"""What a person decides about a task on the command line: cancelled, retried, sent elsewhere."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path

import pytest

from cli.client import ApiClient, Task
from cli.local import LocalStack
from cli.problems import ExitCode
from ingest.ids import Prefix, make_id
from tests.support.origin import Origin, Reply
from tests.support.terminal import Terminal
from tests.support.waiting import wait_until

COMMANDS = ["cancel", "retry", "redirect"]


@pytest.fixture
def terminal(stack: LocalStack, tmp_path: Path) -> Terminal:
    """A terminal that has the stack's address and key."""
    return Terminal(tmp_path, HEADRACE_URL=stack.api_url, HEADRACE_KEY=stack.api_key)


@pytest.fixture
def failed(client: ApiClient, origin: Origin, picture: bytes) -> Task:
    """A task whose source is there from the second attempt on."""
    replies = (Reply(status=404), Reply(body=picture))
    task = client.create_task({"url": origin.route(f"/{secrets.token_hex(6)}", *replies)})
    return client.wait_for_task(task.id, lambda _: None)


@pytest.fixture
def waiting(client: ApiClient, origin: Origin) -> Task:
    """A task that waits ten minutes for its next attempt."""
    url = origin.serve(f"/{secrets.token_hex(6)}", status=503, headers={"Retry-After": "600"})
    task_id = client.create_task({"url": url, "max_attempts": 2}).id
    wait_until(lambda: client.get_task(task_id).raw["next_attempt_at"], "a first attempt", 20)
    return client.get_task(task_id)


def test_a_task_that_waits_is_cancelled(terminal: Terminal, waiting: Task) -> None:
    done = terminal.run("tasks", "cancel", waiting.id)
    again = terminal.run_json("tasks", "cancel", waiting.id)

    assert (done.returncode, done.stdout) == (ExitCode.OK, "")
    assert done.stderr == f"Cancelled {waiting.id}.\n"
    assert again["status"] == "cancelled"
    assert again == terminal.run_json("tasks", "get", waiting.id)


def test_a_failed_task_is_retried(terminal: Terminal, client: ApiClient, failed: Task) -> None:
    done = terminal.run("tasks", "retry", failed.id)

    assert (done.returncode, done.stdout) == (ExitCode.OK, "")
    assert done.stderr == f"{failed.id} is pending again.\n"
    assert client.wait_for_task(failed.id, lambda _: None).status == "complete"


def test_a_task_that_waits_is_done_from_its_new_url(
    terminal: Terminal, client: ApiClient, waiting: Task, picture_url: str
) -> None:
    done = terminal.run("tasks", "redirect", waiting.id, picture_url)
    complete = client.wait_for_task(waiting.id, lambda _: None)

    assert (done.returncode, done.stdout) == (ExitCode.OK, "")
    assert done.stderr == f"The next attempt of {waiting.id} fetches from the new URL.\n"
    assert complete.output is not None
    assert complete.output["source"] == picture_url


def test_who_gives_a_failed_task_a_new_url_is_told_to_retry_it(
    terminal: Terminal, client: ApiClient, failed: Task, picture_url: str
) -> None:
    done = terminal.run("tasks", "redirect", failed.id, picture_url)
    redirected = terminal.run_json("tasks", "redirect", failed.id, picture_url)
    retried = terminal.run_json("tasks", "retry", failed.id)
    complete = client.wait_for_task(failed.id, lambda _: None)

    assert (done.returncode, done.stdout) == (ExitCode.OK, "")
    assert done.stderr.endswith(f" `headrace tasks retry {failed.id}` starts it.\n")
    assert (redirected["id"], redirected["status"]) == (failed.id, "failed")
    assert (retried["id"], retried["status"]) == (failed.id, "pending")
    assert complete.output is not None
    assert complete.output["source"] == picture_url


@pytest.mark.parametrize("command", COMMANDS)
def test_a_task_that_is_not_there_is_refused(
    command: str, terminal: Terminal, picture_url: str
) -> None:
    for task_id in (make_id(Prefix.TASK), "task_x"):
        done = _decide(terminal, command, task_id, picture_url)
        assert (done.returncode, done.stdout) == (ExitCode.REFUSED, "")
        assert done.stderr == "headrace: There is no such task in this project.\n"


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["for people", "as JSON"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_complete_task_is_refused_with_the_reason(
    command: str, options: list[str], terminal: Terminal, client: ApiClient, picture_url: str
) -> None:
    task = client.create_task({"url": picture_url})
    complete = client.wait_for_task(task.id, lambda _: None)
    done = _decide(terminal, command, task.id, picture_url, *options)

    assert (done.returncode, done.stdout) == (ExitCode.REFUSED, "")
    assert done.stderr.startswith("headrace: The task is complete; ")
    assert client.get_task(task.id).raw == complete.raw


def test_a_new_url_that_the_api_refuses_exits_3_with_the_field(
    terminal: Terminal, failed: Task
) -> None:
    done = terminal.run("tasks", "redirect", failed.id, "ftp://example.com/a.mp4")
    assert (done.returncode, done.stdout) == (ExitCode.REFUSED, "")
    assert "'url'" in done.stderr


def _decide(
    terminal: Terminal, command: str, task_id: str, url: str, *options: str
) -> subprocess.CompletedProcess[str]:
    urls = [url] if command == "redirect" else []
    return terminal.run("tasks", command, task_id, *urls, *options)
