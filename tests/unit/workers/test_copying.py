"""Which objects are copied in the store and which pass the worker, and how a copy is cut."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.config import MAX_OBJECT_BYTES, MAX_PARTS, MIB
from ingest.environ import load_settings
from ingest.errors import (
    HeadraceError,
    LeaseLost,
    SourceChanged,
    SourceUnavailable,
    StorageUnavailable,
    UploadLost,
)
from ingest.ids import Prefix, make_id
from ingest.model import Checkpoint
from storage.objects.memory import MemoryObjectStore
from storage.objects.store import CopySource
from tests.unit.workers.test_leases import Clock
from tests.unit.workers.test_placement import DATABASE, make_lease
from workers.attempt import Attempt, Tools, begin_attempt
from workers.checkpoints import Resumption
from workers.checksums import Checksums
from workers.connections import SourceBucket, SourceBuckets
from workers.copying import CopyPlan, plan_copy
from workers.egress import Egress, Policy
from workers.leases import HeldLease
from workers.stream import Stream

KEYS = {"access_key_id": "AKIA", "secret_access_key": "x"}
PART_BYTES = 8 * MIB


def begin(url: str, checksum: str | None = None, **fields: object) -> Attempt:
    settings = load_settings(
        {
            "HEADRACE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "HEADRACE_REDIS_URL": "redis://127.0.0.1:1/0",
            "HEADRACE_S3_BUCKET": "media",
            "HEADRACE_S3_SOURCES": json.dumps({"archive": {"bucket": "old", **fields}}),
        }
    )
    sources = SourceBuckets(
        settings,
        pool_size=1,
        open_bucket=lambda _, one: SourceBucket(one, MemoryObjectStore(), Egress(Policy(1, 1))),
    )
    lease = make_lease(1)
    order = replace(lease.task.order, url=url, checksum=checksum)
    lease = replace(lease, task=replace(lease.task, order=order))
    tools = SimpleNamespace(
        settings=settings, database=DATABASE, store=MemoryObjectStore(), sources=sources
    )
    return begin_attempt(cast("Tools", tools), HeldLease(lease, Clock(), good_until=130.0))


def opened(size_bytes: int | None = PART_BYTES + 1, etag: str | None = '"e"') -> Stream:
    return cast("Stream", SimpleNamespace(size_bytes=size_bytes, etag=etag))


def test_a_long_object_of_our_own_store_is_copied_if_its_etag_holds() -> None:
    plan = plan_copy(begin("s3://archive/a%20b.mp4"), opened(), None)

    assert plan is not None
    assert plan.source == CopySource("old", "a b.mp4", '"e"')
    assert plan.size_bytes == PART_BYTES + 1


def test_what_was_sent_is_copied_although_its_sha256_is_known() -> None:
    file_id = make_id(Prefix.FILE)
    attempt = begin(f"upload:{file_id}", checksum="sha256:" + "0" * 64)

    plan = plan_copy(attempt, opened(), None)

    assert plan is not None
    assert plan.source == CopySource("media", f".headrace/uploads/{file_id}", '"e"')
    assert plan_copy(attempt, opened(size_bytes=PART_BYTES), None) is None


@pytest.mark.parametrize(
    ("attempt", "source"),
    [
        (begin("https://media.example/a.mp4"), opened()),
        (begin("s3://archive/a", endpoint="http://far:1", **KEYS), opened()),
        (begin("s3://archive/a", **KEYS), opened()),
        (begin("s3://archive/a", copy="stream"), opened()),
        (begin("s3://archive/a", checksum="sha256:" + "0" * 64), opened()),
        (begin("s3://archive/a"), opened(size_bytes=PART_BYTES)),
        (begin("s3://archive/a"), opened(size_bytes=None)),
        (begin("s3://archive/a"), opened(etag=None)),
    ],
    ids=[
        "no object",
        "another store",
        "another account",
        "told to stream",
        "a checksum to verify",
        "one part",
        "no length",
        "no strong etag",
    ],
)
def test_what_cannot_or_need_not_be_copied_is_downloaded(attempt: Attempt, source: Stream) -> None:
    assert plan_copy(attempt, source, None) is None


@pytest.mark.parametrize(
    ("error", "copied"),
    [
        (StorageUnavailable("x"), False),
        (UploadLost("x"), False),
        (LeaseLost("x"), True),
        (SourceChanged("x"), True),
        (SourceUnavailable("x"), True),
    ],
    ids=lambda value: value.code if isinstance(value, HeadraceError) else "",
)
def test_what_the_store_failed_at_in_the_attempt_before_is_downloaded(
    error: HeadraceError, *, copied: bool
) -> None:
    attempt = begin("s3://archive/a")
    attempt.held.lease = replace(attempt.lease, previous_error=error.as_failure())
    assert (plan_copy(attempt, opened(), None) is not None) is copied


def test_a_download_that_an_earlier_attempt_began_is_gone_on_with() -> None:
    checkpoint = Checkpoint("k", "u", 1, PART_BYTES, PART_BYTES + 1, '"e"', b"")
    found = Resumption(checkpoint, Checksums(None), PART_BYTES + 1, '"e"')
    assert plan_copy(begin("s3://archive/a"), opened(), found) is None


@given(size_bytes=st.integers(1, MAX_OBJECT_BYTES))
def test_no_copy_has_more_than_10_000_parts_or_parts_of_more_than_5_gib(size_bytes: int) -> None:
    plan = CopyPlan(
        cast("SourceBucket", SimpleNamespace()), CopySource("b", "k", '"e"'), size_bytes
    )
    assert 128 * MIB <= plan.part_bytes <= 5 * 1024 * MIB
    assert -(-size_bytes // plan.part_bytes) <= MAX_PARTS
