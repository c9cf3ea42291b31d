"""Checksums in a request: known algorithms, the right number of digits."""

from __future__ import annotations

import pytest

from ingest.checksum import parse_checksum
from ingest.errors import FieldInvalid

SHA256 = "ab" * 32
MD5 = "cd" * 16
CRC32C = "e3069283"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"sha256:{SHA256}", f"sha256:{SHA256}"),
        (f"md5:{MD5}", f"md5:{MD5}"),
        (f"crc32c:{CRC32C}", f"crc32c:{CRC32C}"),
        (f"SHA256:{SHA256.upper()}", f"sha256:{SHA256}"),
        (f" sha256:{SHA256}\n", f"sha256:{SHA256}"),
    ],
)
def test_a_checksum_comes_out_in_lower_case(text: str, kept: str) -> None:
    assert parse_checksum(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        SHA256,
        "sha256:",
        f"sha256:{SHA256[:-1]}",
        f"sha256:{SHA256}0",
        f"sha256:{MD5}",
        f"sha256={SHA256}",
        f"sha256::{SHA256[1:]}",
        f"sha256: {SHA256[1:]}",
        f"sha256:0x{SHA256[2:]}",
        f"sha256:{SHA256[:-1]}g",
        f"sha256:{SHA256[:-1]}\uff10",
        f"sha1:{'ab' * 20}",
        f"sha512:{'ab' * 64}",
        f"-sha256:{SHA256}",
        f"md5:{MD5}:{MD5}",
        # Base64, as Content-MD5 and S3 write it.
        "md5:1B2M2Y8AsgTpgAmY7PhCfg==",
        "crc32c:0x306928",
    ],
    ids=ascii,
)
def test_a_bad_checksum_is_refused_with_what_it_takes(text: str) -> None:
    with pytest.raises(FieldInvalid, match="64, 32 or 8 hexadecimal") as caught:
        parse_checksum(text)
    assert caught.value.param == "checksum"
