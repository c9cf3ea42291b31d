"""The SHA-256 that a store has verified of an object, as it tells it in answer to a HEAD."""

from __future__ import annotations

import base64

_SHA256_BYTES = 32


def read_whole_sha256(checksum: str | None, kind: str | None, etag: str) -> str | None:
    """Return the SHA-256 of a whole object in hex, or None where the store told no such thing.

    An object that was sent in parts has a hash of their hashes instead, with the kind
    ``COMPOSITE`` ("Checking object integrity for data uploads" in the S3 user guide).

    Args:
        checksum: ``x-amz-checksum-sha256``.
        kind: ``x-amz-checksum-type``; SeaweedFS leaves it out for objects in one piece.
        etag: a dash in it says that the object was sent in parts.
    """
    if (
        checksum is None
        or (kind or ("COMPOSITE" if "-" in etag else "FULL_OBJECT")) != "FULL_OBJECT"
    ):
        return None
    try:
        digest = base64.b64decode(checksum, validate=True)
    except ValueError:
        return None
    return digest.hex() if len(digest) == _SHA256_BYTES else None
