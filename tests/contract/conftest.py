"""Real S3, as the stack runs it."""

from __future__ import annotations

import pytest

from ingest.config import Settings
from storage.objects import s3
from storage.objects.s3 import S3ObjectStore


@pytest.fixture(scope="session")
def s3_store(settings: Settings) -> S3ObjectStore:
    """The stack's SeaweedFS."""
    return s3.connect(settings, pool_size=8)
