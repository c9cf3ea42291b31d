"""Answers are read with what is needed, and what is not understood is not Headrace."""

from __future__ import annotations

import pytest

from cli.answers import File, Task, read_answer
from cli.problems import Unreachable

FILE = {"id": "file_1", "url": "http://h/f", "checksum": "sha256:00", "filesize": 3, "new": [1]}
TASK = {
    "id": "task_1",
    "status": "complete",
    "progress": 100,
    "transfer": None,
    "error": None,
    "output": FILE,
}


def test_fields_of_a_newer_api_pass_through_untouched() -> None:
    assert read_answer(File, FILE).raw == FILE


def test_the_file_of_a_complete_task_is_its_output() -> None:
    task = read_answer(Task, TASK)
    assert task.ended
    assert task.file == read_answer(File, FILE)


@pytest.mark.parametrize("status", ["pending", "processing"])
def test_a_task_that_waits_or_runs_has_not_ended(status: str) -> None:
    task = read_answer(Task, {**TASK, "status": status, "output": None})
    assert not task.ended
    assert task.file is None


@pytest.mark.parametrize("answer", [{}, {"hello": "world"}, {**TASK, "status": "unheard-of"}])
def test_an_answer_of_something_else_is_no_answer(answer: dict[str, object]) -> None:
    with pytest.raises(Unreachable):
        read_answer(Task, answer)
