"""The buckets a worker reads from: judged at each use, opened once, signed for one request."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.credentials import Credentials
from pydantic import SecretStr

from ingest.config import Settings
from ingest.connections import Addressing, Connection
from ingest.environ import load_settings
from ingest.errors import SourceForbidden, SourceUnavailable, StorageUnavailable
from ingest.urls import ObjectUrl
from storage.objects.memory import MemoryObjectStore
from storage.objects.refusals import CredentialsMissing
from storage.objects.store import ObjectHeaders
from workers.connections import SourceBucket, SourceBuckets, describe_store
from workers.egress import Egress, Policy

ONE, TWO = "prj_01m859r1yny08r1ap8hz69hcss", "prj_01m859r1yny08r1ap8hz69hcst"
KEYS = {"access_key_id": "AKIAOTHER", "secret_access_key": "other"}


def load(**connections: object) -> Settings:
    return load_settings(
        {
            "HEADRACE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "HEADRACE_REDIS_URL": "redis://127.0.0.1:1/0",
            "HEADRACE_S3_BUCKET": "media",
            "HEADRACE_S3_ENDPOINT": "http://s3.internal:8333",
            "HEADRACE_S3_PUBLIC_ENDPOINT": "https://media.example",
            "HEADRACE_S3_REGION": "eu-north-1",
            "HEADRACE_S3_ACCESS_KEY_ID": "AKIAOWN",
            "HEADRACE_S3_SECRET_ACCESS_KEY": "own",
            "HEADRACE_S3_ADDRESSING": "path",
            "HEADRACE_S3_SOURCES": json.dumps(connections),
        }
    )


def describe(**fields: object) -> Settings:
    settings = load(archive=fields)
    return describe_store(settings, settings.s3_sources[0])


def test_a_connection_without_endpoint_and_keys_is_reached_as_our_own_store_is() -> None:
    found = describe()
    assert (found.s3_bucket, found.s3_endpoint) == ("archive", "http://s3.internal:8333")
    assert (found.s3_region, found.s3_addressing) == ("eu-north-1", Addressing.PATH)
    assert found.s3_access_key_id == SecretStr("AKIAOWN")
    assert describe(region="eu-west-1").s3_region == "eu-west-1"
    assert describe(addressing="virtual").s3_addressing is Addressing.VIRTUAL


def test_a_connection_elsewhere_is_told_nothing_of_our_own_store() -> None:
    found = describe(endpoint="https://far.example", **KEYS)
    assert (found.s3_bucket, found.s3_endpoint) == ("archive", "https://far.example")
    assert found.s3_public_endpoint is None
    assert (found.s3_region, found.s3_addressing) == ("us-east-1", Addressing.AUTO)
    assert found.s3_access_key_id == SecretStr("AKIAOTHER")
    assert found.s3_secret_access_key == SecretStr("other")


def test_keys_alone_are_for_aws() -> None:
    assert describe(**KEYS).s3_endpoint is None


def test_an_endpoint_alone_is_never_shown_our_own_keys() -> None:
    found = describe(endpoint="https://far.example")
    assert (found.s3_access_key_id, found.s3_secret_access_key) == (None, None)


@pytest.mark.parametrize(
    ("fields", "root", "host", "port"),
    [
        ({}, "http://s3.internal:8333/archive/a", "s3.internal", 8333),
        (
            {"addressing": "virtual"},
            "http://archive.s3.internal:8333/a",
            "archive.s3.internal",
            8333,
        ),
        (
            {**KEYS, "region": "eu-west-1"},
            "https://archive.s3.eu-west-1.amazonaws.com/a",
            "archive.s3.eu-west-1.amazonaws.com",
            443,
        ),
        ({**KEYS, "endpoint": "http://[::1]:9000"}, "http://[::1]:9000/archive/a", "::1", 9000),
    ],
    ids=["path", "virtual", "aws", "ipv6"],
)
def test_the_door_of_a_connection_leads_to_where_its_addresses_do(
    fields: dict[str, object], root: str, host: str, port: int
) -> None:
    buckets = SourceBuckets(load(archive=fields), pool_size=1)
    url = ObjectUrl("archive", "a b/\u00fc+%.mp4")

    bucket = buckets.find(ONE, url)

    signed = bucket.sign(url.key)
    assert signed.redacted == f"{root}%20b/%C3%BC%2B%25.mp4"
    assert "X-Amz-Signature=" in signed.target
    only = bucket.egress.policy.only
    assert only is not None
    assert (only.host, only.port, only.name) == (host, port, "s3://archive")
    buckets.close()


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_no_endpoint_of_the_environment_moves_a_connection(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "http://elsewhere.example:9000")
    buckets = SourceBuckets(load(archive={**KEYS, "region": "eu-west-1"}), pool_size=1)
    signed = buckets.find(ONE, ObjectUrl("archive", "a")).sign("a")
    assert signed.redacted == "https://archive.s3.eu-west-1.amazonaws.com/a"
    buckets.close()


class Opened:
    """Opens buckets in memory, and counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, settings: Settings, connection: Connection) -> SourceBucket:
        del settings
        self.count += 1
        return SourceBucket(connection, MemoryObjectStore(), Egress(Policy(1, 1)))


def test_a_connection_is_opened_when_it_is_first_needed_and_once() -> None:
    opened = Opened()
    buckets = SourceBuckets(load(archive={}, other={}), pool_size=1, open_bucket=opened)
    assert opened.count == 0

    first = buckets.find(ONE, ObjectUrl("archive", "a"))

    assert buckets.find(TWO, ObjectUrl("archive", "b")) is first
    assert opened.count == 1


def test_a_connection_that_takes_long_to_open_keeps_no_other_waiting_and_is_opened_once() -> None:
    begun, may_end, opened = threading.Event(), threading.Event(), Opened()

    def open_slowly(settings: Settings, connection: Connection) -> SourceBucket:
        if connection.name == "slow":
            begun.set()
            assert may_end.wait(30)
        return opened(settings, connection)

    buckets = SourceBuckets(load(slow={}, archive={}), pool_size=1, open_bucket=open_slowly)
    with ThreadPoolExecutor(3) as threads:
        slow = [threads.submit(buckets.find, ONE, ObjectUrl("slow", "a")) for _ in range(2)]
        try:
            assert begun.wait(30)
            other = threads.submit(buckets.find, ONE, ObjectUrl("archive", "a"))
            assert other.result(30).connection.name == "archive"
        finally:
            may_end.set()
        assert slow[0].result(30) is slow[1].result(30)
    assert opened.count == 2


def test_a_connection_that_could_not_be_opened_is_tried_again() -> None:
    outcomes: list[Exception] = [SourceUnavailable("x")]
    opened = Opened()

    def open_later(settings: Settings, connection: Connection) -> SourceBucket:
        if outcomes:
            raise outcomes.pop()
        return opened(settings, connection)

    buckets = SourceBuckets(load(archive={}), pool_size=1, open_bucket=open_later)
    with pytest.raises(SourceUnavailable):
        buckets.find(ONE, ObjectUrl("archive", "a"))
    assert buckets.find(ONE, ObjectUrl("archive", "a")).connection.name == "archive"


@pytest.mark.parametrize(
    ("project", "connection", "key"),
    [
        (ONE, "gone", "done/a"),
        (TWO, "archive", "done/a"),
        (ONE, "archive", "a"),
        (ONE, "archive", "done//a"),
        (ONE, "archive", "done/\\a"),
    ],
    ids=["no connection", "another project", "outside the prefix", "two slashes", "a backslash"],
)
def test_what_a_project_may_not_read_is_refused_alike_and_before_anything_is_opened(
    project: str, connection: str, key: str
) -> None:
    opened = Opened()
    settings = load(archive={"prefix": "done/", "projects": [ONE]})
    buckets = SourceBuckets(settings, pool_size=1, open_bucket=opened)

    with pytest.raises(SourceForbidden) as caught:
        buckets.find(project, ObjectUrl(connection, key))

    assert caught.value.message == "No connection of this project reads the source any more."
    assert not caught.value.retryable
    assert opened.count == 0


class Refusing(MemoryObjectStore):
    """Signs nothing.

    Args:
        error: why.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def presign(
        self,
        key: str,
        ttl_s: int,
        headers: ObjectHeaders | None = None,
        *,
        public: bool = True,
        head: bool = False,
    ) -> str:
        """Fail."""
        del key, ttl_s, headers, public, head
        raise self._error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (CredentialsMissing("x"), "'s3://archive' has no credentials to sign with."),
        (StorageUnavailable("x"), "'s3://archive' cannot be used as it is set up."),
    ],
)
def test_a_connection_that_cannot_sign_is_a_source_that_is_away_not_our_store(
    error: Exception, message: str
) -> None:
    connection = load(archive={}).s3_sources[0]
    bucket = SourceBucket(connection, Refusing(error), Egress(Policy(1, 1)))
    with pytest.raises(SourceUnavailable) as caught:
        bucket.sign("a")
    assert caught.value.message == message


def test_a_signed_address_that_is_longer_than_any_is_a_source_that_is_away() -> None:
    settings = load(archive={**KEYS, "access_key_id": "A" * 9000})
    buckets = SourceBuckets(settings, pool_size=1)
    with pytest.raises(SourceUnavailable, match=r"'s3://archive' signs longer addresses than"):
        buckets.find(ONE, ObjectUrl("archive", "a"))


@pytest.mark.parametrize("error", [OSError, ValueError, RuntimeError])
def test_whatever_a_provider_of_credentials_raises_there_are_none(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise error("hunter2")

    monkeypatch.setattr(Credentials, "get_frozen_credentials", fail)
    buckets = SourceBuckets(load(archive={}), pool_size=1)
    with pytest.raises(SourceUnavailable, match="'s3://archive' has no credentials"):
        buckets.find(ONE, ObjectUrl("archive", "a"))


@pytest.mark.parametrize(
    "broken",
    [
        {"endpoint": "http://minio_server:9000"},
        {"endpoint": "http://minio.internal:99999"},
        {"endpoint": "http://minio.internal:x"},
        {"region": "minio.internal"},
    ],
    ids=lambda fields: "-".join(fields.values()),
)
def test_a_connection_that_is_set_up_wrong_is_told_by_its_name_alone(
    broken: dict[str, str],
) -> None:
    settings = load(archive={**KEYS, "endpoint": "http://minio.internal:9000"})
    # Past the checks of the setting, in case boto3 takes less than they do.
    wrong = settings.s3_sources[0].model_copy(update=broken)
    settings = settings.model_copy(update={"s3_sources": (wrong,)})
    buckets = SourceBuckets(settings, pool_size=1)
    with pytest.raises(SourceUnavailable) as caught:
        buckets.find(ONE, ObjectUrl("archive", "a"))
    assert caught.value.message == "'s3://archive' cannot be used as it is set up."


def test_what_was_sent_is_read_from_our_own_bucket_whatever_connections_there_are() -> None:
    opened: list[Connection] = []

    def open_bucket(_: Settings, connection: Connection) -> SourceBucket:
        opened.append(connection)
        return SourceBucket(connection, MemoryObjectStore(), Egress(Policy(1, 1)))

    settings = load(uploads={"bucket": "theirs", "endpoint": "https://far.example", **KEYS})
    buckets = SourceBuckets(settings, pool_size=1, open_bucket=open_bucket)
    sent = ObjectUrl.of_upload("file_01m859r1yny08r1ap8hz69hcss")
    first = buckets.find(ONE, sent)
    theirs = buckets.find(ONE, ObjectUrl("uploads", "a"))
    assert (first.connection.bucket, theirs.connection.bucket) == ("media", "theirs")
    assert first.connection.in_own_store
    assert first.connection.allows(ONE, sent.key)
    assert buckets.find(TWO, sent) is first
    assert len(opened) == 2


@pytest.mark.parametrize(
    ("connection", "key"),
    [
        ({"bucket": "media", "prefix": ".headrace/"}, ".headrace/uploads/a"),
        ({"bucket": "media", "prefix": ".h"}, ".headrace/uploads/a"),
        ({"bucket": "MEDIA", "endpoint": "https://far.example", **KEYS}, ".headrace/uploads/a"),
    ],
)
def test_what_somebody_has_sent_is_read_through_no_connection(
    connection: dict[str, str], key: str
) -> None:
    buckets = SourceBuckets(load(archive=connection), pool_size=1)
    with pytest.raises(SourceForbidden, match="somebody has sent"):
        buckets.find(ONE, ObjectUrl("archive", key))
    elsewhere = load(archive={**connection, "bucket": "other"})
    found = SourceBuckets(elsewhere, pool_size=1).find(ONE, ObjectUrl("archive", key))
    assert found.connection.bucket == "other"
