"""The API as its users reach it, a good source, and projects that start empty.

A module that breaks its stack, or wants other settings, has a ``stack`` of its own in place of the
session's: ``api`` then reaches that one, and what begins with ``own_`` looks into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cli.local import LocalStack
from ingest.config import Settings
from ingest.environ import load_settings
from storage.objects import s3
from storage.objects.s3 import S3ObjectStore
from storage.records.database import Database
from tests.support.api import Api
from tests.support.media import make_media
from tests.support.origin import Origin
from tests.support.projects import make_project

MakeStack = Callable[..., LocalStack]


@pytest.fixture
def api(stack: LocalStack) -> Iterator[Api]:
    """The API with the stack's own key; every status and header to see."""
    with Api(stack.api_url, stack.api_key) as opened:
        yield opened


@pytest.fixture(scope="module")
def source() -> Iterator[Origin]:
    """An origin for a module with a stack of its own."""
    with Origin() as running:
        yield running


@pytest.fixture(scope="session")
def make_stack(tmp_path_factory: pytest.TempPathFactory) -> MakeStack:
    """Makes a stack to be entered, which may fetch from one origin and has further settings."""

    def make(source: Origin, **environ: str) -> LocalStack:
        return LocalStack(
            tmp_path_factory.mktemp("own"),
            extra_environ=environ,
            allow_addresses=[f"127.0.0.1:{source.port}"],
        )

    return make


@pytest.fixture
def own_settings(stack: LocalStack) -> Settings:
    """The settings of the module's own stack."""
    return load_settings(stack.environ)


@pytest.fixture
def own_store(own_settings: Settings) -> S3ObjectStore:
    """The object store of the module's own stack, to look into."""
    return s3.connect(own_settings, pool_size=2)


@pytest.fixture
def own_database(own_settings: Settings) -> Iterator[Database]:
    """The database of the module's own stack, to look into."""
    opened = Database(own_settings.sqlalchemy_url)
    yield opened
    opened.close()


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
            _, secret = make_project(database)
            return held.enter_context(Api(stack.api_url, secret))

        yield make
