"""Lists, and batches as their owner follows them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli.local import LocalStack
from ingest.access import Scope
from storage.records.database import Database
from tests.support.api import Api
from tests.support.projects import make_project


@pytest.fixture
def owner(stack: LocalStack, database: Database) -> Iterator[Api]:
    """An empty project, with a key of the scope admin."""
    _, secret = make_project(database, scopes=[Scope.ADMIN])
    with Api(stack.api_url, secret) as opened:
        yield opened
