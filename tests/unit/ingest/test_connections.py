"""Connections: what the setting takes, who may read what, and that no secret is told."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from ingest.connections import (
    Addressing,
    Connection,
    CopyWay,
    find_connection,
    parse_connections,
)
from ingest.urls import ObjectUrl

ONE, TWO = "prj_01m859r1yny08r1ap8hz69hcss", "prj_01m859r1yny08r1ap8hz69hcst"
KEYS = {"access_key_id": "AKIAhunter1", "secret_access_key": "hunter2"}


def parse(**connections: object) -> tuple[Connection, ...]:
    return parse_connections(json.dumps(connections))


def test_a_connection_without_fields_is_a_bucket_of_its_name_in_our_own_store() -> None:
    (one,) = parse(archive={})
    assert (one.name, one.bucket, one.prefix) == ("archive", "archive", "")
    assert one.in_own_store
    assert one.copy_way is CopyWay.SERVER
    assert one.projects is None


def test_every_field_of_a_connection_is_kept() -> None:
    (one,) = parse(
        far={
            "bucket": "Old_Bucket",
            "prefix": "done/",
            "endpoint": "https://s3.example/",
            "region": "eu-central-1",
            **KEYS,
            "addressing": "virtual",
            "projects": [ONE, TWO],
            "copy": "stream",
        }
    )
    assert (one.bucket, one.prefix, one.region) == ("Old_Bucket", "done/", "eu-central-1")
    assert one.endpoint == "https://s3.example"
    assert one.secret_access_key is not None
    assert one.secret_access_key.get_secret_value() == "hunter2"
    assert one.addressing is Addressing.VIRTUAL
    assert one.projects == frozenset({ONE, TWO})
    assert one.copy_way is CopyWay.STREAM
    assert not one.in_own_store


@pytest.mark.parametrize(
    ("fields", "own"),
    [
        ({}, True),
        ({"region": "eu-west-1"}, True),
        ({"endpoint": "http://s3:1"}, False),
        (KEYS, False),
    ],
    ids=["nothing", "region", "endpoint", "keys"],
)
def test_an_endpoint_or_a_key_of_its_own_makes_it_another_store(
    fields: dict[str, object], *, own: bool
) -> None:
    assert parse(archive=fields)[0].in_own_store is own


BAD = {
    "not an object": ({"archive": "hunter3"}, "'archive'.*must be a JSON object"),
    "an unknown field": ({"archive": {"buckets": "hunter3"}}, "'archive'.*'buckets' is no field"),
    "our own name": ({"archive": {"name": "hunter3"}}, "'name' is no field"),
    "our own word": ({"archive": {"copy_way": "hunter3"}}, "'copy_way' is no field"),
    "a short bucket": ({"ab": {}}, "'ab'.*'bucket'"),
    "a bucket that is a path": ({"archive": {"bucket": "hunter3/x"}}, "'bucket'"),
    "a number for a bucket": ({"archive": {"bucket": 3}}, "'bucket'"),
    "a prefix that is none": ({"archive": {"prefix": None}}, "'prefix'"),
    "a prefix of a slash": ({"archive": {"prefix": "/"}}, "'prefix'.*begin with a slash"),
    "a prefix with a slash first": ({"archive": {"prefix": "/hunter3/"}}, "'prefix'"),
    "a prefix with a backslash": ({"archive": {"prefix": "hunter3\\"}}, "'prefix'"),
    "a prefix with a backslash first": ({"archive": {"prefix": "\\hunter3"}}, "'prefix'"),
    "a prefix with an empty part": ({"archive": {"prefix": "hunter3//"}}, "'prefix'"),
    "a prefix with a dot": ({"archive": {"prefix": "./hunter3"}}, "'prefix'"),
    "a prefix that leads up": ({"archive": {"prefix": "hunter3/.."}}, "'prefix'"),
    "an endpoint without scheme": (
        {"archive": {"endpoint": "hunter3:80"}},
        "'endpoint' must start",
    ),
    "an endpoint with a user": ({"archive": {"endpoint": "http://u:hunter3@h"}}, "'endpoint'"),
    "an endpoint with an underscore": (
        {"archive": {"endpoint": "http://hunter3_server:9000"}},
        "'endpoint' has a host or port",
    ),
    "an endpoint with a port too high": ({"archive": {"endpoint": "http://h:99999"}}, "host or p"),
    "an endpoint with port 0": ({"archive": {"endpoint": "http://h:0"}}, "'endpoint' has a host"),
    "an endpoint with a port of letters": (
        {"archive": {"endpoint": "http://h:hunter3"}},
        "host or",
    ),
    "an endpoint without a host": (
        {"archive": {"endpoint": "http://:80"}},
        "'endpoint' has a host",
    ),
    "an endpoint with a dash first": ({"archive": {"endpoint": "http://-h"}}, "'endpoint' has"),
    "an endpoint with an empty label": ({"archive": {"endpoint": "http://a..b"}}, "'endpoint' has"),
    "an endpoint of no address": ({"archive": {"endpoint": "http://[::hunter]"}}, "'endpoint' has"),
    "an endpoint with a zone": (
        {"archive": {"endpoint": "http://[fe80::1%251]"}},
        "'endpoint' has",
    ),
    "an endpoint outside ascii": ({"archive": {"endpoint": "http://\u00fc.example"}}, "'endpoint'"),
    "a region of digits": ({"archive": {"region": "333"}}, "'region' must"),
    "a region with a dot": ({"archive": {"region": "hunter.3"}}, "'region' must"),
    "a region with a dash at its end": ({"archive": {"region": "hunter-"}}, "'region' must"),
    "an empty region": ({"archive": {"region": ""}}, "'region'"),
    "half a pair of keys": ({"archive": {"access_key_id": "hunter3"}}, "set both"),
    "the other half": ({"archive": {"secret_access_key": "hunter3"}}, "set both"),
    "an empty key": ({"archive": {**KEYS, "access_key_id": ""}}, "'access_key_id'"),
    "a number for a key": ({"archive": {**KEYS, "secret_access_key": 3}}, "'secret_access_key'"),
    "an addressing unknown": ({"archive": {"addressing": "hunter3"}}, "'addressing'.*'path'"),
    "projects as text": ({"archive": {"projects": "hunter3"}}, "'projects' must be a list"),
    "projects by name": ({"archive": {"projects": [ONE, "hunter3"]}}, "'projects' must be a list"),
    "projects as numbers": ({"archive": {"projects": [3]}}, "'projects' must be a list"),
    "a copy unknown": ({"archive": {"copy": "hunter3"}}, "'copy'.*'stream'"),
    "a name in capitals": ({"Archive": {}}, "'Archive'"),
    "a name with a slash": ({"a/b": {}}, "'a/b'"),
    "a name with a dot first": ({".abc": {}}, "'.abc'"),
    "a name with a line end": ({"abc\n": {}}, r"'abc\\n'"),
    "an empty name": ({"": {}}, "''"),
    "a long name": ({"a" * 64: {}}, "a name takes 1 to 63"),
}


@pytest.mark.parametrize(("connections", "reason"), BAD.values(), ids=BAD)
def test_a_mistake_is_told_by_connection_and_field_and_never_by_value(
    connections: dict[str, object], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse(**connections)
    assert "hunter" not in str(caught.value)
    assert len(str(caught.value)) < 180


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is no JSON"),
        ("{'archive': {}}", "is no JSON"),
        ("[]", "must be a JSON object"),
        ("null", "must be a JSON object"),
        ('{"archive": {}, "archive": {}}', "twice"),
        ('{"archive": {"bucket": "abc", "bucket": "abd"}}', "twice"),
        ("[" * 100_000, "nested too deeply"),
    ],
    ids=["empty", "python", "list", "null", "two names", "two fields", "deep"],
)
def test_what_is_no_object_of_connections_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_connections(text)


def test_a_connection_is_frozen_and_shows_no_secret() -> None:
    (one,) = parse(archive=KEYS)
    with pytest.raises(ValidationError):
        one.prefix = "other/"
    assert "hunter" not in f"{one!r} {one} {one.model_dump()} {one.model_dump_json()}"


@pytest.mark.parametrize(
    ("connection", "project", "key", "found"),
    [
        ("all", ONE, "a", True),
        ("some", ONE, "a", True),
        ("some", TWO, "a", False),
        ("nobody", ONE, "a", False),
        ("part", ONE, "done/a", True),
        ("part", ONE, "done", False),
        ("part", ONE, "Done/a", False),
        ("part", ONE, "a/done/a", False),
        ("none", ONE, "a", False),
    ],
)
def test_a_project_reads_what_a_connection_of_its_own_opens(
    connection: str, project: str, key: str, *, found: bool
) -> None:
    connections = parse(
        all={},
        some={"projects": [ONE]},
        nobody={"projects": []},
        part={"bucket": "parts", "prefix": "done/"},
    )
    one = find_connection(connections, project, ObjectUrl(connection, key))
    assert (one is not None) is found
    assert one is None or one.name == connection


ODD_KEYS = [
    "/a",
    "//tenant/a",
    "///tenant/a",
    "\\tenant/a",
    "/\\tenant\\a",
    "in//a",
    "in/a\\b",
    "in/a/\\",
]


@pytest.mark.parametrize("key", ODD_KEYS)
def test_a_key_that_our_own_store_may_take_for_another_is_no_key_of_it(key: str) -> None:
    own, far = parse(archive={}, far={"bucket": "parts", "endpoint": "http://far:1"})
    assert not own.allows(ONE, key)
    assert far.allows(ONE, key)


@pytest.mark.parametrize("key", ["a", "a/b", "a/b/", "in/.a", "in/a..b/c"])
def test_any_other_key_is_one(key: str) -> None:
    assert parse(archive={})[0].allows(ONE, key)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://h",
        "https://S3.Example.:8443/base",
        "http://[::1]:9000",
        "http://10.0.0.1:9000",
        "http://minio-1:9000",
        "http://xn--4ca.example",
    ],
)
def test_an_endpoint_that_boto3_takes_is_taken(endpoint: str) -> None:
    assert parse(far={"endpoint": endpoint, "region": "us-gov-west-1"})[0].endpoint == endpoint
