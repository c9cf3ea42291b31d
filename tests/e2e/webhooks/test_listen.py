"""``headrace webhooks listen``: events on this machine, printed and forwarded as a sender would."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.local import LocalStack
from ingest.signing import make_secret
from tests.support.api import Api
from tests.support.inbox import TAKEN, Inbox
from tests.support.origin import Origin
from tests.support.tasks import create_task, wait_for_end
from tests.support.terminal import Terminal
from tests.support.waiting import wait_until


@contextmanager
def _listen(api: Api, folder: Path, *words: str) -> Iterator[Callable[[], list[str]]]:
    """Run the command; yields what reads the lines of its output so far."""
    said, printed = folder / "said", folder / "printed"
    terminal = Terminal(folder, HEADRACE_URL=api.url, HEADRACE_KEY=str(api.key))
    with said.open("wb") as errors, printed.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "cli", "webhooks", "listen", *words],
            env=terminal.environ,
            stdout=output,
            stderr=errors,
        )
    try:
        wait_until(lambda: "Listening" in said.read_text(), "the listener", 20)
        yield lambda: printed.read_text().splitlines()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130


def test_what_happens_from_now_on_is_printed_and_forwarded_signed(
    owner: Api, origin: Origin, picture_url: str, tmp_path: Path
) -> None:
    wait_for_end(owner, create_task(owner, picture_url, ref="before"))
    inbox = Inbox(origin, origin.route("/inbox/forwarded", TAKEN), make_secret())
    words = ("--forward", inbox.url, "--secret", inbox.secret, "--topic", "task.completed")
    with _listen(owner, tmp_path, *words) as read_lines:
        task = wait_for_end(owner, create_task(owner, picture_url, ref="now"))
        (told,) = inbox.wait_for("task.completed")
        (line,) = wait_until(read_lines, "a line")
        # Said when the receiver's answer is there, and so after the receiver has what it was sent.
        said = f"{told.id} -> 204"
        wait_until(lambda: said in (tmp_path / "said").read_text(), "what was answered")
    assert told.data == task
    assert json.loads(line) == told.payload


def test_who_receives_nothing_is_told_and_listening_goes_on(
    owner: Api, closed_port: int, picture_url: str, tmp_path: Path
) -> None:
    with _listen(owner, tmp_path, "--forward", f"http://127.0.0.1:{closed_port}/") as read_lines:
        create_task(owner, picture_url)
        wait_until(lambda: len(read_lines()) == 4, "all four events")
        wait_until(
            lambda: (tmp_path / "said").read_text().count("Nothing answers") == 4, "all four"
        )


@pytest.mark.parametrize("topic", ["task.exploded", "webhook.test"])
def test_a_topic_that_is_none_is_refused(topic: str, stack: LocalStack, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, HEADRACE_URL=stack.api_url, HEADRACE_KEY=stack.api_key)
    done = terminal.run("webhooks", "listen", "--topic", topic)
    assert done.returncode == 2
    assert topic in done.stderr
