"""A stack whose operator has connected buckets.

Its files land in a bucket of the session's SeaweedFS, which it reaches through a proxy, so that the
network to its store can be made slow.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.local import LocalStack
from ingest.config import MIB, Settings
from ingest.environ import load_settings
from storage.objects import s3
from storage.objects.s3 import S3ObjectStore
from storage.records.database import Database
from tests.e2e.conftest import MakeStack
from tests.e2e.objects.examples import PART_BYTES, give_keys, make_video
from tests.support.api import Api
from tests.support.faults import FaultProxy
from tests.support.origin import Origin


@pytest.fixture(scope="package")
def source() -> Iterator[Origin]:
    """The origin that the stack may fetch from."""
    with Origin() as running:
        yield running


@pytest.fixture(scope="package")
def hidden() -> Iterator[Origin]:
    """A server that no user's URL may reach, and one connection does."""
    with Origin() as running:
        yield running


@pytest.fixture(scope="package")
def outer(stack: LocalStack) -> Settings:
    """The settings of the session's stack, whose SeaweedFS is used."""
    return load_settings(stack.environ)


@pytest.fixture(scope="package")
def buckets(outer: Settings) -> dict[str, S3ObjectStore]:
    """The bucket that files land in and the one they come from, reached past the proxy."""
    names = {name: f"{name}-{secrets.token_hex(4)}" for name in ("landing", "archive")}
    found = {
        name: s3.connect(outer.model_copy(update={"s3_bucket": bucket}), pool_size=4)
        for name, bucket in names.items()
    }
    for name, store in found.items():
        store._client.create_bucket(Bucket=names[name])
    return found


@pytest.fixture(scope="package")
def proxy(outer: Settings) -> Iterator[FaultProxy]:
    """The way from the stack to its store."""
    with FaultProxy(int(str(outer.s3_endpoint).rpartition(":")[2])) as running:
        yield running


@pytest.fixture(scope="package")
def inner(
    make_stack: MakeStack,
    source: Origin,
    hidden: Origin,
    outer: Settings,
    buckets: dict[str, S3ObjectStore],
    proxy: FaultProxy,
) -> Iterator[LocalStack]:
    """A stack whose operator has connected buckets."""
    archive, keys = buckets["archive"]._bucket, give_keys(outer)
    connections = {
        archive: {},
        "archive": {"bucket": archive},
        "streamed": {"bucket": archive, "copy": "stream"},
        "part": {"bucket": archive, "prefix": "done/"},
        "others": {"bucket": archive, "projects": ["prj_01m859r1yny08r1ap8hz69hcss"]},
        "far": {"bucket": archive, "endpoint": outer.s3_endpoint, **keys},
        "nowhere": {"bucket": "no-such-bucket"},
        "own": {"bucket": buckets["landing"]._bucket, "prefix": "inbox/"},
        # The same server past the proxy, which is another one to whoever compares addresses.
        "own-again": {
            "bucket": buckets["landing"]._bucket,
            "endpoint": outer.s3_endpoint,
            **keys,
        },
        "locked-out": {
            "bucket": archive,
            "endpoint": outer.s3_endpoint,
            **keys,
            "secret_access_key": "another",
        },
        "odd": {"bucket": "odd", "endpoint": f"http://127.0.0.1:{hidden.port}", **keys},
    }
    with make_stack(
        source,
        HEADRACE_S3_ENDPOINT=f"http://127.0.0.1:{proxy.port}",
        HEADRACE_S3_BUCKET=buckets["landing"]._bucket,
        HEADRACE_S3_ACCESS_KEY_ID=str(keys["access_key_id"]),
        HEADRACE_S3_SECRET_ACCESS_KEY=str(keys["secret_access_key"]),
        HEADRACE_S3_SOURCES=json.dumps(connections),
        HEADRACE_PART_BYTES=str(PART_BYTES),
        HEADRACE_MAX_ATTEMPTS="1",
        HEADRACE_LEASE_S="3",
        HEADRACE_HEARTBEAT_S="0.5",
        HEADRACE_RESEND_AFTER_S="2",
        HEADRACE_RETRY_BASE_S="0.1",
    ) as running:
        yield running


@pytest.fixture
def api(inner: LocalStack) -> Iterator[Api]:
    """The API of the stack."""
    with Api(inner.api_url, inner.api_key) as opened:
        yield opened


@pytest.fixture
def records(inner: LocalStack) -> Iterator[Database]:
    """The database of the stack."""
    opened = Database(load_settings(inner.environ).sqlalchemy_url)
    yield opened
    opened.close()


@pytest.fixture
def landing(buckets: dict[str, S3ObjectStore]) -> S3ObjectStore:
    return buckets["landing"]


@pytest.fixture
def archive(buckets: dict[str, S3ObjectStore]) -> S3ObjectStore:
    return buckets["archive"]


@pytest.fixture
def name() -> str:
    """A name that nobody else uses."""
    return f"{secrets.token_hex(8)}.mp4"


@pytest.fixture(scope="session")
def long_video(media_folder: Path) -> bytes:
    """More than a part."""
    pieces = make_video(media_folder, PART_BYTES + MIB).read_pieces(0, PART_BYTES + MIB)
    return b"".join(pieces)
