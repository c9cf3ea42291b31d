"""A stack that has done some work and now has nobody who works.

What is thrown at its API is taken, refused or kept; nothing that a made-up order names is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from cli.local import LocalStack
from tests.support.api import Api
from tests.support.tasks import create_task, wait_for_end

_HERE = Path(__file__).parent
_COUNT = 4


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with these: one of them is the longest of all, and keeps one process busy alone."""
    items.sort(key=lambda item: item.path.parent != _HERE)


@dataclass(frozen=True, slots=True)
class IdleStack:
    """Where it answers, and what can be asked for there."""

    stack: LocalStack
    api: Api
    task_ids: list[str]
    file_ids: list[str]


@pytest.fixture(scope="session")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdleStack]:
    """Four ingests were done; then the worker was stopped."""
    # Who waits for an answer waits for nobody here.
    environ = {"HEADRACE_SYNC_TIMEOUT_S": "0.1"}
    home = tmp_path_factory.mktemp("idle")
    with LocalStack(home, extra_environ=environ) as stack, Api(stack.api_url, stack.api_key) as api:
        orders = [create_task(api, stack.sample_url) for _ in range(_COUNT)]
        done = [wait_for_end(api, order) for order in orders]
        stack.stop_child("worker")
        task_ids = [str(task["id"]) for task in done]
        yield IdleStack(stack, api, task_ids, [_find_file(task) for task in done])


def _find_file(task: dict[str, object]) -> str:
    return str(cast("dict[str, object]", task["output"])["id"])
