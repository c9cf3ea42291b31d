"""One stack for all tests of decisions: it runs one ingest at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli.local import LocalStack
from storage.records.database import Database
from tests.e2e.conftest import MakeStack
from tests.e2e.decisions.steps import make_path
from tests.support.api import Api
from tests.support.origin import Origin, Stall
from tests.support.projects import make_project
from tests.support.tasks import create_task, wait_for_end


@pytest.fixture(scope="package")
def source() -> Iterator[Origin]:
    """The origin that the stack may fetch from."""
    with Origin() as running:
        yield running


@pytest.fixture(scope="package")
def stack(make_stack: MakeStack, source: Origin) -> Iterator[LocalStack]:
    """A stack that runs one ingest at a time, and is patient with silent sources."""
    with make_stack(
        source,
        HEADRACE_WORKER_SLOTS="1",
        HEADRACE_DISPATCH_WINDOW="1",
        HEADRACE_FIRST_BYTE_TIMEOUT_S="60",
        HEADRACE_RETRY_BASE_S="0.2",
    ) as running:
        yield running


@pytest.fixture
def stranger(stack: LocalStack, own_database: Database) -> Iterator[Api]:
    """Somebody of another project."""
    _, secret = make_project(own_database)
    with Api(stack.api_url, secret) as opened:
        yield opened


@pytest.fixture
def busy(api: Api, source: Origin, picture: bytes) -> Iterator[Stall]:
    """The one slot, taken until the stall is released."""
    stall = Stall()
    task = create_task(api, source.serve(make_path(), picture, stall=stall))
    assert stall.reached.wait(15)
    yield stall
    stall.released.set()
    assert wait_for_end(api, task)["status"] == "complete"


@pytest.fixture(autouse=True)
def every_stall_ends(source: Origin) -> Iterator[None]:
    """A test that fails must not take the slot from the next one."""
    yield
    with source._changed:
        for stall in source._stalls:
            stall.released.set()
