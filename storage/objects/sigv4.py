"""AWS Signature Version 4 for a request whose body is not signed ("Authenticating Requests:
Using the Authorization Header", Amazon S3 API Reference).

botocore's signer says the same and takes longer than the body of a small file does; the tests hold
this one to it. Invariant: all headers that are given are signed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime

from botocore.credentials import ReadOnlyCredentials

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNSIGNED = "UNSIGNED-PAYLOAD"


class Signer:
    """Signs for S3 in one region. Safe to use from several threads."""

    def __init__(self, region: str) -> None:
        self._region = region
        # A key holds for a day; four hashes for each request would be most of what signing costs.
        self._last_key: tuple[str, str, bytes] = ("", "", b"")

    def sign(
        self,
        credentials: ReadOnlyCredentials,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        now: datetime,
    ) -> dict[str, str]:
        """Return the headers a request goes out with: those given, and those that sign it.

        Args:
            path: encoded, as it is sent.
            query: encoded, in the order of its names, without the question mark; may be empty.
            headers: among them ``host``; all in lower case.
            now: in UTC.
        """
        moment = now.strftime("%Y%m%dT%H%M%SZ")
        day = moment[:8]
        signed = {**headers, "x-amz-content-sha256": _UNSIGNED, "x-amz-date": moment}
        if credentials.token:
            signed["x-amz-security-token"] = credentials.token
        names = sorted(signed)
        lines = [f"{name}:{' '.join(signed[name].split())}" for name in names]
        listed = ";".join(names)
        canonical = "\n".join([method, path, query, *lines, "", listed, _UNSIGNED])
        scope = f"{day}/{self._region}/s3/aws4_request"
        text = "\n".join(
            [_ALGORITHM, moment, scope, hashlib.sha256(canonical.encode()).hexdigest()]
        )
        key = self._derive_key(credentials.secret_key or "", day)
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        signed["authorization"] = (
            f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={listed}, Signature={signature}"
        )
        return signed

    def _derive_key(self, secret: str, day: str) -> bytes:
        known_secret, known_day, key = self._last_key
        if (known_secret, known_day) != (secret, day):
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._last_key = (secret, day, key)
        return key
