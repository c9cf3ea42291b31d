"""Options, where the figures go, and the stack that the rows share.

Without ``--chaos-full`` each row runs in its short form, which is what ``make test`` does.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from sqlalchemy import delete, select, update

from ingest.errors import HeadraceError
from storage.records.tables import names, tasks
from tests.chaos.rig import Rig, Tenant, open_rig
from tests.support.figures import Figures, open_table
from tests.support.media import make_media
from tests.support.waiting import wait_until

_DEFAULT_SEED = 20250820
# Above what a row waits for by itself, so that it says what it waited for.
_SHORT_TIMEOUT_S, _FULL_TIMEOUT_S = 120, 1200
_MENDED_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done; the seed decides who dies when."""

    full: bool
    seed: int

    def pick(self, short: int, full: int) -> int:
        """Return a number for this form of the row."""
        return full if self.full else short


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options; they are known where tests/chaos is named on the command line."""
    group = parser.getgroup("chaos")
    group.addoption("--chaos-full", action="store_true", help="run every row in full")
    group.addoption("--chaos-seed", type=int, default=_DEFAULT_SEED, help="who dies when")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let a row that hangs fail by itself: the default method would end the whole session."""
    limit_s = _FULL_TIMEOUT_S if _read_scale(config).full else _SHORT_TIMEOUT_S
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(limit_s, method="signal"))


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> Scale:
    """How much is done."""
    return _read_scale(request.config)


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest) -> Figures:
    """Takes the lines of the table."""
    scale = _read_scale(request.config)
    form = "in full" if scale.full else "in short"
    return open_table(request.config.stash, f"chaos, {form}, seed {scale.seed}")


@pytest.fixture(scope="session")
def shared_rig(tmp_path_factory: pytest.TempPathFactory, media_folder: Path) -> Iterator[Rig]:
    """Two workers of four slots, with everything around them."""
    picture = make_media("jpeg", media_folder).read_bytes()
    video = make_media("mp4", media_folder).read_bytes()
    with open_rig(tmp_path_factory.mktemp("chaos"), picture, video) as opened:
        yield opened


@pytest.fixture
def rig(shared_rig: Rig) -> Iterator[Rig]:
    """The stack, whole at the beginning, and mended in the end whatever a row has left."""
    yield shared_rig
    mend(shared_rig)


@pytest.fixture
def tenant(rig: Rig) -> Tenant:
    """A project of this row's own."""
    return rig.open_tenant()


def mend(rig: Rig) -> None:
    """Bring every child back, and make an end of what is open."""
    for pid in rig.stack.processes.values():
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGCONT)
    # Servers were started first, and roles want them.
    for name in list(rig.stack._supervisor.children):
        if name not in rig.stack.processes:
            rig.stack.start_child(name)

    def close_all() -> bool:
        with suppress(HeadraceError), rig.database.transaction() as connection:
            live = select(tasks.c.id).where(tasks.c.status.in_(["pending", "processing"]))
            connection.execute(delete(names).where(names.c.task_id.in_(live)))
            connection.execute(
                delete(tasks).where(tasks.c.status == "pending", tasks.c.attempt == 0)
            )
            connection.execute(
                update(tasks)
                .where(tasks.c.status.in_(["pending", "processing"]))
                .values(status="cancelled", woken=None, next_attempt_at=None)
            )
            return True
        return False

    wait_until(close_all, "the database to answer again", _MENDED_WITHIN_S)
    wait_until(
        lambda: requests.get(f"{rig.stack.api_url}/readyz", timeout=20).status_code == 200,
        "the stack to be ready again",
        _MENDED_WITHIN_S,
        pause_s=0.2,
    )


def _read_scale(config: pytest.Config) -> Scale:
    # Unknown where only this folder's parents were named.
    full = config.getoption("--chaos-full", default=False)
    seed = config.getoption("--chaos-seed", default=_DEFAULT_SEED)
    return Scale(bool(full), int(str(seed)))
