"""The worker one writes first: Celery by the book. Run by ``celery --app bench.textbook worker``.

It fetches into a temporary file, probes that, uploads it with boto3, and puts what it found into
the result backend. It takes no sha256, keeps no promise and judges no address.
"""

from __future__ import annotations

import os
import tempfile
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import ffmpeg
import requests
from botocore.config import Config
from celery import Celery

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

INGEST = "textbook.ingest"
_PIECE_BYTES = 1024 * 1024
_TIMEOUT_S = 30

app = Celery(
    "textbook",
    broker=os.environ.get("TEXTBOOK_BROKER"),
    backend=os.environ.get("TEXTBOOK_BACKEND"),
)
app.conf.update(task_default_queue="textbook", broker_connection_retry_on_startup=True)


@cache
def _open_client() -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=os.environ["TEXTBOOK_S3_ENDPOINT"],
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=50),
    )


@app.task(name=INGEST)
def ingest(url: str, key: str) -> dict[str, Any]:
    """Store what a URL has under a key; return what ffprobe says of it."""
    with tempfile.NamedTemporaryFile() as file:
        with requests.get(url, stream=True, timeout=_TIMEOUT_S) as response:
            response.raise_for_status()
            for piece in response.iter_content(_PIECE_BYTES):
                file.write(piece)
        file.flush()
        probed = ffmpeg.probe(file.name, cmd=os.environ["TEXTBOOK_FFPROBE"])
        _open_client().upload_file(file.name, os.environ["TEXTBOOK_S3_BUCKET"], key)
    return {"key": key, "format": probed["format"], "streams": probed["streams"]}
