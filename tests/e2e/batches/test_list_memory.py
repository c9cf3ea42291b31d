"""What a worker takes to read a list does not grow with the list."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli.local import LocalStack
from ingest.config import MIB
from tests.e2e.conftest import MakeStack
from tests.support.api import Api, JsonDict
from tests.support.batches import order_list, read_batch
from tests.support.meter import Peaks
from tests.support.origin import Origin
from tests.support.waiting import wait_until

ROWS = 100_000
ALLOWED_GROWTH_BYTES = 24 * MIB


@pytest.fixture(scope="module")
def stack(make_stack: MakeStack, source: Origin) -> Iterator[LocalStack]:
    """A stack of this module's own, whose worker does nothing else."""
    with make_stack(source) as running:
        yield running


def _load(api: Api, url: str) -> JsonDict:
    batch = order_list(api, url, concurrency=1)

    def look() -> JsonDict | None:
        found = read_batch(api, batch)
        return None if found["status"] == "loading" else found

    loaded = wait_until(look, "a list that is read", 200, pause_s=0.5)
    api.post(f"/batches/{batch['id']}/cancel", {})
    return loaded


@pytest.mark.timeout(300)
def test_a_list_of_100_000_rows_is_read_within_24_mib(
    stack: LocalStack, api: Api, source: Origin
) -> None:
    rows = (f"https://a.invalid/{'x' * 60}/{number}.mp4,{number}\n" for number in range(ROWS))
    content = "".join(["url,ref\n", *rows]).encode()
    # What the first list of all brings into memory is no matter of its length.
    first = "".join(content.decode().splitlines(keepends=True)[:2000]).encode()
    assert _load(api, source.serve("/memory/first.csv", first))["total"] == 1999

    with Peaks(stack.processes["worker"], children=False) as memory:
        loaded = _load(api, source.serve("/memory/list.csv", content))

    assert (loaded["status"], loaded["total"]) == ("processing", ROWS)
    print(f"{len(content)} bytes, worker {memory.before_bytes} + {memory.grown_bytes}")  # noqa: T201
    assert memory.grown_bytes < ALLOWED_GROWTH_BYTES
