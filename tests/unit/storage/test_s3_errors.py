"""What boto3 raises, in our own words."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from ingest.config import Settings
from ingest.errors import FileExists, HeadraceError, StorageUnavailable, UploadLost
from storage.objects import s3
from storage.objects.refusals import Verb
from storage.objects.s3 import S3ObjectStore


def _answer(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "No."}}, "PutObject")


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (_answer("PreconditionFailed"), FileExists),
        (_answer("412"), FileExists),
        (_answer("ConditionalRequestConflict"), FileExists),
        (_answer("NoSuchBucket"), StorageUnavailable),
        (_answer("AccessDenied"), StorageUnavailable),
        (_answer("SlowDown"), StorageUnavailable),
        (_answer("InternalError"), StorageUnavailable),
        (_answer("NoSuchUpload"), UploadLost),
        (_answer("InvalidPart"), UploadLost),
        (ClientError({}, "PutObject"), StorageUnavailable),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), StorageUnavailable),
        (ReadTimeoutError(endpoint_url="http://127.0.0.1:1"), StorageUnavailable),
        (ResponseParserError("no XML"), StorageUnavailable),
        (KeyError("ETag"), StorageUnavailable),
    ],
    ids=repr,
)
def test_every_failure_of_the_store_is_one_of_ours(
    raised: Exception, expected: type[HeadraceError], store: S3ObjectStore
) -> None:
    with pytest.raises(expected) as caught, store._translate(Verb.STORE_PART):
        raise raised
    assert caught.value.message.endswith(".")
    assert caught.value.__cause__ is raised


def test_a_mistake_of_our_own_is_not_the_stores(store: S3ObjectStore) -> None:
    with pytest.raises(ZeroDivisionError), store._translate(Verb.STORE_PART):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("addressing", "start"),
    [
        ("path", "http://127.0.0.1:1/media/a%20b?"),
        ("auto", "http://127.0.0.1:1/media/a%20b?"),
    ],
)
def test_the_bucket_stands_where_the_setting_says(
    addressing: str, start: str, settings: Settings
) -> None:
    chosen = settings.model_copy(update={"s3_addressing": addressing})
    assert s3.connect(chosen, pool_size=1).presign("a b", 60).startswith(start)


def test_at_aws_the_bucket_is_part_of_the_host(settings: Settings) -> None:
    aws = settings.model_copy(update={"s3_endpoint": None, "s3_region": "eu-central-1"})
    address = s3.connect(aws, pool_size=1).presign("a", 60)
    assert address.startswith("https://media.s3.eu-central-1.amazonaws.com/a?")
    assert "s3cr3t" not in address
