"""What every row stands on: a stack to be broken, sources without number, and a look inside.

The settings are short, so that what takes half a minute in production takes seconds here; which
ones follows from :data:`SETTINGS`. A row works in a project of its own, so that it counts only what
is its own.
"""

from __future__ import annotations

import hashlib
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from cli.local import LocalStack
from ingest.access import Scope
from ingest.config import MIB, Settings
from ingest.environ import load_settings
from ingest.model import Order, Project
from storage.objects import s3
from storage.objects.s3 import S3ObjectStore
from storage.records import tasks
from storage.records.database import Database
from storage.signals import Signals
from tests.chaos.receiver import Fate, Mailbox, Receiver
from tests.support.api import Api, JsonDict, read_object
from tests.support.origin import Drip, Generated, Origin, Reply
from tests.support.padding import pad_mp4
from tests.support.projects import make_project
from workers.sweep import Sweeper

SLOTS = 4
PART_BYTES = 5 * MIB
VIDEO_BYTES = 20 * MIB
GRACE_S = 3.0
SETTINGS: Mapping[str, str] = {
    "HEADRACE_WORKER_SLOTS": str(SLOTS),
    "HEADRACE_PART_BYTES": str(PART_BYTES),
    "HEADRACE_LEASE_S": "3",
    "HEADRACE_HEARTBEAT_S": "0.5",
    "HEADRACE_RESEND_AFTER_S": "2",
    "HEADRACE_RETRY_BASE_S": "0.2",
    "HEADRACE_RETRY_CAP_S": "2",
    "HEADRACE_SHUTDOWN_GRACE_S": f"{GRACE_S:g}",
    "HEADRACE_HOST_LIMIT": "0",
    # What is fetched again is counted along one connection.
    "HEADRACE_SOURCE_CONNECTIONS": "1",
    # Sources that wait for a test's word are patiently waited for.
    "HEADRACE_FIRST_BYTE_TIMEOUT_S": "120",
    "HEADRACE_LOWEST_BPS": "0",
    # Twenty attempts within half a minute, so that what fails every other time arrives.
    "HEADRACE_WEBHOOK_ALLOW_HTTP": "true",
    "HEADRACE_WEBHOOK_DELAYS_S": "0,0.1,0.2,0.5" + ",1" * 6 + ",2" * 10,
    "HEADRACE_WEBHOOK_CONNECT_TIMEOUT_S": "1",
    "HEADRACE_WEBHOOK_TIMEOUT_S": "1",
}
# A kill may hit any task many times, and none is to blame.
UNTIRING = {"max_attempts": 100}
_POSTERS = 4
# A slow file keeps a slot for some 0.4 s.
_SLOW_PIECES, _SLOW_INTERVAL_S = 4, 0.1
# A 20 MiB file takes some 3 s, so that whatever is done is done in the middle of many; where five
# hundred are fetched, half as long.
_VIDEO_DRIP = Drip(256 * 1024, 0.04)
_BRISK_DRIP = Drip(256 * 1024, 0.02)


@dataclass(frozen=True, slots=True)
class Rig:
    """A running stack, and what a test sees of it."""

    stack: LocalStack
    source: Origin
    receiver: Receiver
    settings: Settings
    database: Database
    store: S3ObjectStore
    redis: Redis
    signals: Signals
    picture: bytes
    video: bytes

    def open_tenant(self) -> Tenant:
        """Make a new, empty project with a key of its own."""
        project, secret = make_project(self.database, scopes=[Scope.ADMIN])
        return Tenant(self, project, Api(self.stack.api_url, secret))

    def name_workers(self) -> list[str]:
        """Return what the stack calls its workers."""
        return [name for name in self.stack._supervisor.children if name.startswith("worker")]

    def make_sweeper(self) -> Sweeper:
        """Return a sweeper like the beat's."""
        return Sweeper(self.database, self.signals, self.store, self.settings)

    def make_tiny(self, name: str) -> bytes:
        """Return the content of ``/tiny/<name>`` and ``/slow/<name>``: a JPEG and a trailer."""
        return self.picture + name.encode()

    def hash_source(self, path: str) -> str:
        """Return the sha256 of what the source serves at a path, as records have it."""
        family, _, name = path.removeprefix("/").partition("/")
        if family in {"video", "brisk"}:
            return self.make_video(name).hash_sha256()
        return hashlib.sha256(self.make_tiny(name)).hexdigest()

    def make_video(self, name: str) -> Generated:
        """Return the content of ``/video/<name>`` and ``/brisk/<name>``: 20 MiB, its own."""
        return pad_mp4(self.video, VIDEO_BYTES, seed=zlib.crc32(name.encode()))


@dataclass(frozen=True, slots=True)
class Tenant:
    """A project of one row's own."""

    rig: Rig
    project: Project
    api: Api

    def post(self, order: JsonDict) -> str:
        """Order a task through the API; return its id."""
        return str(read_object(self.api.post("/tasks", {"kind": "ingest", **order}), 201)["id"])

    def listen(
        self, name: str, topics: Sequence[str], decide: Callable[[], Fate] = lambda: Fate.TAKEN
    ) -> tuple[Mailbox, str]:
        """Make an endpoint at the receiver; return its mailbox and its id."""
        box = self.rig.receiver.open(name, decide)
        made = read_object(
            self.api.post("/webhooks/endpoints", {"url": box.url, "topics": list(topics)}), 201
        )
        box.secret = str(made["secret"])
        return box, str(made["id"])

    def post_all(self, orders: Iterable[JsonDict]) -> list[str]:
        """Order many tasks through the API, some at a time; return their ids."""
        with ThreadPoolExecutor(_POSTERS) as pool:
            return list(pool.map(self.post, orders))

    def add_all(self, urls: Iterable[str], *, max_attempts: int = 100) -> list[str]:
        """Write many promises down at once, as the API would one by one; return their ids."""
        with self.rig.database.transaction() as connection:
            return [
                tasks.create(
                    connection,
                    self.project,
                    Order(url, None, None, None, None, None, None),
                    object_key=None,
                    max_attempts=max_attempts,
                    request_id="req_chaos",
                    woken=False,
                ).id
                for url in urls
            ]


@contextmanager
def open_rig(
    home: Path,
    picture: bytes,
    video: bytes,
    *,
    workers: int = 2,
    changed: Mapping[str, str] | None = None,
    seen: Mapping[str, str] | None = None,
) -> Iterator[Rig]:
    """Start a stack to be broken; its objects are removed in the end, for they are many.

    Args:
        changed: settings on top of :data:`SETTINGS`, as HEADRACE_ variables.
        seen: the addresses the test looks at, where the roles reach their servers another way.
    """
    with Origin() as source, Receiver() as receiver:
        allowed = [f"127.0.0.1:{one.port}" for one in (source, receiver)]
        try:
            with LocalStack(
                home,
                extra_environ={**SETTINGS, **(changed or {})},
                allow_addresses=allowed,
                workers=workers,
            ) as stack:
                rig = _look_into(stack, seen or {}, source, receiver, picture, video)
                source.serve_family("/tiny/", lambda name: Reply(body=rig.make_tiny(name)))
                source.serve_family("/slow/", lambda name: _serve_slowly(rig.make_tiny(name)))
                source.serve_family("/video/", lambda name: _serve_video(rig, name, _VIDEO_DRIP))
                source.serve_family("/brisk/", lambda name: _serve_video(rig, name, _BRISK_DRIP))
                yield rig
                rig.redis.close()
                rig.signals.close()
                rig.database.close()
        finally:
            shutil.rmtree(home / "seaweedfs", ignore_errors=True)


def _look_into(
    stack: LocalStack,
    seen: Mapping[str, str],
    source: Origin,
    receiver: Receiver,
    picture: bytes,
    video: bytes,
) -> Rig:
    settings = load_settings({**stack.environ, **seen})
    redis_url = settings.redis_url.get_secret_value()
    return Rig(
        stack=stack,
        source=source,
        receiver=receiver,
        settings=settings,
        database=Database(settings.sqlalchemy_url, pool_size=8),
        store=s3.connect(settings, pool_size=8),
        redis=Redis.from_url(redis_url, socket_timeout=2, socket_connect_timeout=2),
        signals=Signals(redis_url),
        picture=picture,
        video=video,
    )


def _serve_slowly(content: bytes) -> Reply:
    return Reply(body=content, drip=Drip(-(-len(content) // _SLOW_PIECES), _SLOW_INTERVAL_S))


def _serve_video(rig: Rig, name: str, drip: Drip) -> Reply:
    return Reply(body=rig.make_video(name), ranges=True, etag=f'"video-{name}"', drip=drip)
