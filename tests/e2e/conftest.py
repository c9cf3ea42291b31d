"""The API as its users reach it, a good source, and projects that start empty."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cli.local import LocalStack
from storage.records import keys
from storage.records.database import Database
from tests.support.api import Api
from tests.support.media import make_media
from tests.support.origin import Origin


@pytest.fixture
def api(stack: LocalStack) -> Iterator[Api]:
    """The API with the stack's own key; every status and header to see."""
    with Api(stack.api_url, stack.api_key) as opened:
        yield opened


@pytest.fixture(scope="session")
def picture(media_folder: Path) -> bytes:
    """A small JPEG."""
    return make_media("jpeg", media_folder).read_bytes()


@pytest.fixture(scope="session")
def video(media_folder: Path) -> bytes:
    """A small mp4 with its index at the front."""
    return make_media("mp4", media_folder).read_bytes()


@pytest.fixture(scope="session")
def picture_url(origin: Origin, picture: bytes) -> str:
    """A source that is always good."""
    return origin.serve("/good/picture.jpg", picture, content_type="image/jpeg")


@pytest.fixture(scope="session")
def open_project(stack: LocalStack, database: Database) -> Iterator[Callable[[], Api]]:
    """Makes a new, empty project with a key of its own at each call."""
    with ExitStack() as held:

        def make() -> Api:
            name = f"project-{secrets.token_hex(4)}"
            with database.transaction() as connection:
                project = keys.ensure_project(connection, name, key_prefix=name)
                _, secret = keys.create_key(connection, project.id, "tests")
            return held.enter_context(Api(stack.api_url, secret))

        yield make
