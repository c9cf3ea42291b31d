"""The checksum a request may name: ``algorithm:hex``."""

from __future__ import annotations

import re

from ingest.errors import FieldInvalid

# Hex digits per algorithm. CRC32C as eight digits, big endian.
_HEX_DIGITS = {"sha256": 64, "md5": 32, "crc32c": 8}
_HEX = re.compile(r"[0-9a-f]+")


def parse_checksum(text: str) -> str:
    """Return the checksum in lower case.

    Raises:
        FieldInvalid: unknown algorithm, or not as many hex digits as it has.
    """
    algorithm, _, digits = text.strip().lower().partition(":")
    wanted = _HEX_DIGITS.get(algorithm)
    if wanted is None or len(digits) != wanted or _HEX.fullmatch(digits) is None:
        raise FieldInvalid(
            "'checksum' takes 'sha256:', 'md5:' or 'crc32c:' and 64, 32 or 8 hexadecimal digits.",
            param="checksum",
        )
    return f"{algorithm}:{digits}"
