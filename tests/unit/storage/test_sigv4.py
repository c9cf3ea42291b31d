"""Our signature is botocore's, whatever is signed."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

import botocore.auth
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.objects.sigv4 import Signer

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)
# What no header may do twice, or botocore sets by itself.
NAMES = st.sampled_from(
    ["content-type", "content-disposition", "if-none-match", "x-amz-meta-a", "x-amz-meta-b-c",
     "x-amz-checksum-sha256", "content-md5", "range"]
)  # fmt: skip


@pytest.fixture(autouse=True)
def still_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """For botocore it is always the same moment."""
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda **_: NOW)


def _sign_by_botocore(
    credentials: ReadOnlyCredentials, region: str, target: str, headers: dict[str, str]
) -> dict[str, str]:
    request = AWSRequest("PUT", f"http://{headers['host']}{target}", headers=headers)
    request.context["client_config"] = Config(s3={"payload_signing_enabled": False})
    S3SigV4Auth(credentials, "s3", region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    secret=PRINTABLE.filter(bool),
    token=st.none() | PRINTABLE.filter(bool),
    region=st.sampled_from(["us-east-1", "eu-central-1", "auto"]),
    key=st.text(st.characters(blacklist_categories=["Cs"]), max_size=20),
    query=st.sampled_from(["", "partNumber=1&uploadId=a%2Fb", "partNumber=10&uploadId=~x_-.y"]),
    headers=st.dictionaries(NAMES, PRINTABLE.map(str.strip)),
)
def test_it_is_the_one_that_botocore_makes(
    secret: str, token: str | None, region: str, key: str, query: str, headers: dict[str, str]
) -> None:
    credentials = ReadOnlyCredentials("key", secret, token)
    headers = {"host": "store.example:9000", **headers}
    path = "/bucket/" + quote(key, safe="/~")
    target = f"{path}?{query}" if query else path
    signed = Signer(region).sign(credentials, "PUT", path, query, headers, NOW)
    assert signed == _sign_by_botocore(credentials, region, target, headers)


def test_a_key_serves_its_day_and_its_secret_alone() -> None:
    signer = Signer("us-east-1")
    host = {"host": "store.example"}

    def sign(secret: str, now: datetime) -> str:
        credentials = ReadOnlyCredentials("key", secret, None)
        return signer.sign(credentials, "PUT", "/b/k", "", host, now)["authorization"]

    first = sign("one", NOW)
    assert sign("one", NOW) == first
    other_day, other_secret = sign("one", NOW.replace(day=5)), sign("two", NOW)
    assert len({first, other_day, other_secret}) == 3
    assert (
        other_secret
        == Signer("us-east-1").sign(
            ReadOnlyCredentials("key", "two", None), "PUT", "/b/k", "", host, NOW
        )["authorization"]
    )
    assert sign("one", NOW) == first
