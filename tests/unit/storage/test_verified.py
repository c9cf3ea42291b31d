"""Which SHA-256 a store tells of a whole object, and which of something else."""

from __future__ import annotations

import base64
import hashlib

import pytest

from storage.objects.verified import read_whole_sha256

DIGEST = hashlib.sha256(b"content").digest()
TOLD = base64.b64encode(DIGEST).decode()
ONE, PARTS = '"9a0364b9e99bb480dd25e1f0284c8555"', '"9a0364b9e99bb480dd25e1f0284c8555-2"'


@pytest.mark.parametrize(
    ("checksum", "kind", "etag", "known"),
    [
        (TOLD, "FULL_OBJECT", ONE, True),
        (TOLD, "FULL_OBJECT", PARTS, True),
        (TOLD, None, ONE, True),
        (TOLD, None, PARTS, False),
        (TOLD, "COMPOSITE", ONE, False),
        (TOLD + "-2", "COMPOSITE", PARTS, False),
        (TOLD + "-2", None, ONE, False),
        (TOLD + "-2", "FULL_OBJECT", PARTS, False),
        (None, "FULL_OBJECT", ONE, False),
        (None, None, ONE, False),
        ("", None, ONE, False),
        ("AAAA", None, ONE, False),
        ("*" * 44, None, ONE, False),
    ],
)
def test_only_a_hash_of_the_whole_object_counts(
    checksum: str | None, kind: str | None, etag: str, *, known: bool
) -> None:
    assert read_whole_sha256(checksum, kind, etag) == (DIGEST.hex() if known else None)
