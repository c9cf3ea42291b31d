"""Who signs: credentials as they are at each try, renewed where they end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import ClientError, MetadataRetrievalError
from mypy_boto3_s3 import S3Client

from ingest.errors import StorageUnavailable
from tests.integration.wire.conftest import PATIENCE, Build, Store, put, refuse


def test_without_credentials_nothing_is_sent(build: Build, store: Store) -> None:
    with pytest.raises(StorageUnavailable):
        put(build(None))
    assert store.taken == []


def test_each_try_is_signed_by_the_credentials_of_its_moment(build: Build, store: Store) -> None:
    credentials = Credentials("key-one", "secret", "token-one")
    wire = build(credentials)

    def refresh(_: float) -> None:
        credentials.access_key, credentials.token = "key-two", "token-two"

    wire._pause = refresh
    store.answers = (refuse(503, "SlowDown"), (200, b""))
    put(wire)
    used = [taken.headers["authorization"].split("Credential=")[1][:7] for taken in store.taken]
    assert used == ["key-one", "key-two"]
    tokens = [taken.headers["x-amz-security-token"] for taken in store.taken]
    assert tokens == ["token-one", "token-two"]


def _make_refreshable(
    refresh: Callable[[], dict[str, str]], number: int = 0
) -> RefreshableCredentials:
    """Return credentials that have ended, so that each look at them asks for others."""
    return RefreshableCredentials.create_from_metadata(
        _make_answer(number, ends_in=timedelta(0)), refresh_using=refresh, method="test"
    )


def _make_answer(number: int, ends_in: timedelta) -> dict[str, str]:
    return {
        "access_key": f"key-{number}",
        "secret_key": f"secret-{number}",
        "token": f"token-{number}",
        "expiry_time": (datetime.now(UTC) + ends_in).isoformat(),
    }


def test_the_parts_of_a_signature_are_of_one_set_of_credentials(build: Build, store: Store) -> None:
    asked: list[int] = []

    def refresh() -> dict[str, str]:
        asked.append(len(asked) + 1)
        # So near their end that each look at them asks again.
        return _make_answer(asked[-1], ends_in=timedelta(seconds=60))

    put(build(_make_refreshable(refresh)))
    (taken,) = store.taken
    (number,) = asked
    assert f"Credential=key-{number}/" in taken.headers["authorization"]
    assert taken.headers["x-amz-security-token"] == f"token-{number}"


@pytest.mark.parametrize(
    "trouble",
    [
        ClientError({"Error": {"Code": "ExpiredToken"}}, "AssumeRoleWithWebIdentity"),
        # A code that would mean something else of an object.
        ClientError({"Error": {"Code": "PreconditionFailed"}}, "AssumeRole"),
        MetadataRetrievalError(error_msg="no answer"),
        OSError("no such file"),
        ValueError("no JSON"),
    ],
    ids=repr,
)
def test_credentials_that_cannot_be_renewed_are_an_outage(
    trouble: Exception, build: Build, store: Store
) -> None:
    asked: list[None] = []

    def refresh() -> dict[str, str]:
        asked.append(None)
        raise trouble

    with pytest.raises(StorageUnavailable, match="credentials"):
        put(build(_make_refreshable(refresh)))
    assert store.taken == []
    assert len(asked) == PATIENCE.attempts


def test_credentials_that_are_renewed_after_all_are_used(build: Build, store: Store) -> None:
    answers = [
        {},
        _make_answer(1, ends_in=timedelta(0)),
        _make_answer(2, ends_in=timedelta(seconds=60)),
    ]
    put(build(_make_refreshable(lambda: answers.pop(0))))
    assert "Credential=key-2/" in store.taken[0].headers["authorization"]


def test_credentials_that_end_while_the_bucket_is_looked_for_are_an_outage(
    build: Build, client: S3Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refresh() -> dict[str, str]:
        raise ClientError({"Error": {"Code": "ExpiredToken"}}, "AssumeRole")

    monkeypatch.setattr(client._request_signer, "_credentials", _make_refreshable(refresh))  # type: ignore[attr-defined]
    with pytest.raises(StorageUnavailable, match="credentials"):
        put(build(Credentials("key", "secret")))
    assert store.taken == []
