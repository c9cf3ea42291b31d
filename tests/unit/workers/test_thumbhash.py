"""ThumbHashes are those of the reference, and nothing is hashed that it would not take."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.thumbhash import encode_thumbhash


def make_noise(width: int, height: int, seed: int, *, alpha: bool) -> bytes:
    """Return pixels that any language can make: a linear congruence, two bytes down."""
    found = bytearray()
    for at in range(width * height * 4):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        found.append(255 if at % 4 == 3 and not alpha else seed >> 16 & 255)
    return bytes(found)


# By rgbaToThumbHash of the npm package thumbhash 0.1.1 under Node 20, of the same noise. Noise,
# since a wave of nothing lies right between two values of four bits.
@pytest.mark.parametrize(
    ("width", "height", "alpha", "seed", "reference"),
    [
        (32, 18, False, 1, "IAgCDIKpwl1Qw76T8kz41PNxdw=="),
        (18, 32, False, 2, "4PcBDAJbfCdbCLpJfEllWM+94A=="),
        (32, 32, False, 3, "IPgBDwCmaoS4ii2olQtniHeINYCIsGIA"),
        (7, 5, False, 5, "XwcGDYh2dwJmmWiaZ6ZnlVz+0/qO"),
        (100, 75, False, 6, "4PcBBYCHuL+ciJpcZIi13QfYqJBX"),
        (31, 2, False, 7, "ICgGMYZ4y4A1WXeHcGaIuo8="),
        (32, 18, True, 8, "4PeBC4IHK4Zk8VCpT2YKR3yvflV2mCc="),
        (18, 32, True, 9, "4PeBAwIHqnwGx6awrhUHRjR0VmloC4s="),
        (9, 9, True, 10, "IOiBDQQY3YOGymo8j88n2vlll5R2hYz4pg=="),
        (2, 31, True, 11, "4veBEQR3cXB4c5KPrHYI2ogHh3iHeIg="),
    ],
)
def test_a_hash_is_the_one_of_the_reference(
    width: int, height: int, seed: int, reference: str, *, alpha: bool
) -> None:
    found = encode_thumbhash(width, height, make_noise(width, height, seed, alpha=alpha))
    assert base64.b64encode(found).decode() == reference


@given(
    width=st.integers(1, 32),
    height=st.integers(1, 32),
    pixel=st.binary(min_size=4, max_size=4),
    data=st.data(),
)
def test_any_picture_has_a_short_hash(
    width: int, height: int, pixel: bytes, data: st.DataObject
) -> None:
    count = width * height * 4
    rgba = data.draw(st.just(pixel * (count // 4)) | st.binary(min_size=count, max_size=count))
    assert 5 <= len(encode_thumbhash(width, height, rgba)) <= 40


@pytest.mark.parametrize(
    ("width", "height", "count"), [(0, 1, 0), (1, 0, 0), (101, 1, 404), (1, 101, 404), (2, 2, 15)]
)
def test_what_is_no_small_picture_is_refused(width: int, height: int, count: int) -> None:
    with pytest.raises(ValueError, match=r"not within|are not"):
        encode_thumbhash(width, height, bytes(count))
