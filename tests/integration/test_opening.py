"""How many connections an attempt may have, with the other attempts on real PostgreSQL."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import cast

from ingest.environ import load_settings
from ingest.urls import parse_source_url
from storage.records import leases
from storage.records.database import Database
from tests.integration.examples import Claim, MakeTask
from workers.attempt import Attempt
from workers.opening import Opener
from workers.watchdog import Cancellation

SETTINGS = load_settings(
    {
        "HEADRACE_DATABASE_URL": "postgresql://headrace@127.0.0.1:1/headrace",
        "HEADRACE_REDIS_URL": "redis://127.0.0.1:1/0",
        "HEADRACE_S3_BUCKET": "media",
        "HEADRACE_HOST_LIMIT": "12",
        "HEADRACE_SOURCE_CONNECTIONS": "10",
    }
)


def test_without_a_word_from_the_database_the_last_number_holds_and_at_first_one(
    records: Database, make_task: MakeTask, claim: Claim
) -> None:
    nowhere = Database(SETTINGS.sqlalchemy_url)
    lease = claim(make_task(), lease_s=-1)
    tools = SimpleNamespace(
        settings=SETTINGS,
        clock=time.monotonic,
        database=nowhere,
        readers=None,
        sealer=None,
        egress=None,
        sources=None,
    )
    url = parse_source_url(lease.task.order.url)
    attempt = SimpleNamespace(tools=tools, lease=lease, url=url)
    opener = Opener(cast("Attempt", attempt), Cancellation())
    splitting = opener.split()
    assert splitting is not None
    assert splitting.find_most() == 1

    tools.database = records
    assert splitting.find_most() == 10
    for _ in range(2):
        claim(make_task())
    assert splitting.find_most() == 4
    tools.database = nowhere
    assert splitting.find_most() == 4
    with records.transaction() as connection:
        leases.release_expired(connection)
    assert splitting.find_most() == 4
    tools.database = records
    assert splitting.find_most() == 6
