"""A store whose server nobody asks."""

from __future__ import annotations

import pytest

from ingest.config import Settings
from ingest.environ import load_settings
from storage.objects import s3
from storage.objects.s3 import S3ObjectStore


@pytest.fixture(scope="session")
def settings() -> Settings:
    """What a store is connected by."""
    return load_settings(
        {
            "HEADRACE_DATABASE_URL": "postgresql://user:secret@127.0.0.1/headrace",
            "HEADRACE_REDIS_URL": "redis://127.0.0.1/0",
            "HEADRACE_S3_BUCKET": "media",
            "HEADRACE_S3_ENDPOINT": "http://127.0.0.1:1",
            "HEADRACE_S3_ACCESS_KEY_ID": "key",
            "HEADRACE_S3_SECRET_ACCESS_KEY": "s3cr3t",
        }
    )


@pytest.fixture(scope="session")
def store(settings: Settings) -> S3ObjectStore:
    """S3 at an address where nothing listens."""
    return s3.connect(settings, pool_size=1)
