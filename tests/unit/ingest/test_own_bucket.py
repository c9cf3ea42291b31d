"""Connections to the bucket that files land in: told apart from others, and fenced off."""

from __future__ import annotations

import json

import pytest

from tests.unit.ingest.test_config import load, refuse


@pytest.mark.parametrize(
    ("fields", "endpoint"),
    [
        ({}, ""),
        ({}, "http://s3:8333"),
        ({"endpoint": "http://s3:8333/"}, "http://s3:8333"),
        ({"access_key_id": "a", "secret_access_key": "hunter8"}, ""),
        ({"endpoint": "http://S3:8333"}, "http://s3:8333"),
        ({"endpoint": "https://S3.example.:443"}, "https://s3.example"),
        ({"endpoint": "http://LOCALHOST:8333"}, "http://127.0.0.1:8333"),
        ({"endpoint": "http://[0::1]:8333"}, "http://localhost:8333"),
        ({"endpoint": "https://s3.eu-west-1.amazonaws.com"}, ""),
        ({"endpoint": "https://media.example"}, "http://s3:8333"),
    ],
    ids=[
        "aws",
        "endpoint",
        "endpoint named again",
        "other keys at aws",
        "capitals",
        "port that goes without saying",
        "this machine",
        "this machine by ipv6",
        "aws by name",
        "public endpoint",
    ],
)
def test_a_connection_to_our_own_bucket_needs_a_prefix(
    fields: dict[str, str], endpoint: str
) -> None:
    own = {"bucket": "media", **fields}
    public = "https://MEDIA.example:443/"
    message = refuse(
        s3_sources=json.dumps({"own": own}), s3_endpoint=endpoint, s3_public_endpoint=public
    )
    assert message.startswith("HEADRACE_S3_SOURCES has the connection 'own' to HEADRACE_S3_BUCKET")
    assert "hunter" not in message
    taken = load(s3_sources=json.dumps({"own": {**own, "prefix": "in/"}}), s3_endpoint=endpoint)
    assert [one.prefix for one in taken.s3_sources] == ["in/"]


@pytest.mark.parametrize("endpoint", ["http://other:8333", "http://s3:8334", "https://s3"])
def test_a_bucket_of_the_same_name_in_another_store_is_another_bucket(endpoint: str) -> None:
    far = {"bucket": "media", "endpoint": endpoint}
    assert load(s3_sources=json.dumps({"far": far}), s3_endpoint="http://s3:8333").s3_sources


@pytest.mark.parametrize(
    ("key", "found"),
    [("in/a.mp4", True), ("in/b/a.mp4", True), ("in", False), ("inn/a.mp4", False), ("a", False)],
)
def test_a_key_under_the_prefix_of_a_connection_to_our_own_bucket_is_known(
    key: str, *, found: bool
) -> None:
    connections = {
        "own": {"bucket": "media", "prefix": "in/", "projects": []},
        "far": {"bucket": "media", "endpoint": "http://other:8333"},
        "other": {},
    }
    assert load(s3_sources=json.dumps(connections)).is_read_by_connection(key) is found


def test_the_secrets_of_connections_are_in_no_repr_and_no_dump() -> None:
    text = json.dumps({"far": {"access_key_id": "hunter1", "secret_access_key": "hunter2"}})
    settings = load(s3_sources=text)
    for shown in (repr(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "hunter1" not in shown
        assert "hunter2" not in shown
