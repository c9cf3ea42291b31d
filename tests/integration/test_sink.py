"""boto3 takes the benchmark's sink for S3, and the sink says truly what arrived."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from bench.processes import LineProcess
from bench.store import Store, describe_sink
from ingest.config import MIB

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture(scope="module")
def sink() -> Iterator[Store]:
    with LineProcess("bench.sink", ["--verify"]) as process:
        yield describe_sink(process)


@pytest.fixture(scope="module")
def s3(sink: Store) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=sink.endpoint,
        region_name="us-east-1",
        aws_access_key_id=sink.access_key_id,
        aws_secret_access_key=sink.secret_access_key,
        config=Config(s3={"addressing_style": "path"}, proxies={}),
    )


def test_a_put_and_a_multipart_upload_arrive_as_they_were_sent(sink: Store, s3: S3Client) -> None:
    content = random.Random(1).randbytes(20 * MIB + 1)
    s3.put_object(Bucket="media", Key="folder/ä 1.jpg", Body=content[:100], Metadata={"a": "b"})
    s3.upload_fileobj(
        io.BytesIO(content), "media", "long.mp4", Config=TransferConfig(multipart_chunksize=8 * MIB)
    )
    found = s3.head_object(Bucket="media", Key="folder/ä 1.jpg")
    listed = s3.list_objects_v2(Bucket="media")["Contents"]

    assert sink.hash_objects(["folder/ä 1.jpg", "long.mp4", "missing"]) == {
        "folder/ä 1.jpg": hashlib.sha256(content[:100]).hexdigest(),
        "long.mp4": hashlib.sha256(content).hexdigest(),
        "missing": None,
    }
    assert (found["ContentLength"], found["Metadata"]) == (100, {"a": "b"})
    assert [(one["Key"], one["Size"]) for one in listed] == [
        ("folder/ä 1.jpg", 100),
        ("long.mp4", len(content)),
    ]


def test_an_object_is_given_back_as_far_as_it_was_kept(s3: S3Client) -> None:
    content = random.Random(2).randbytes(MIB)
    s3.put_object(Bucket="media", Key="back.mp4", Body=content)
    begin = s3.get_object(Bucket="media", Key="back.mp4", Range="bytes=10-99")["Body"].read()
    whole = s3.get_object(Bucket="media", Key="back.mp4")["Body"].read()

    assert begin == content[10:100]
    assert (len(whole), whole[:1000], whole[-1000:]) == (MIB, content[:1000], bytes(1000))


def test_an_object_that_is_there_is_not_replaced_by_who_forbids_it(s3: S3Client) -> None:
    s3.put_object(Bucket="media", Key="once.jpg", Body=b"first")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket="media", Key="once.jpg", Body=b"second", IfNoneMatch="*")
    s3.delete_object(Bucket="media", Key="once.jpg")
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket="media", Key="once.jpg")


def test_what_did_not_arrive_is_noticed(sink: Store, s3: S3Client) -> None:
    s3.put_object(Bucket="media", Key="sizes/1, 2.jpg", Body=b"four")
    sink.check_sizes("sizes/", {"sizes/1, 2.jpg": 4})

    for sizes in ({"sizes/1, 2.jpg": 5}, {"sizes/1, 2.jpg": 4, "sizes/3.jpg": 4}, {}):
        with pytest.raises(RuntimeError, match="did not arrive"):
            sink.check_sizes("sizes/", sizes)
