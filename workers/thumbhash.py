"""ThumbHash: what a picture looks like from afar, in some 25 bytes.

The encoder of Evan Wallace's ThumbHash (https://github.com/evanw/thumbhash, ``js/thumbhash.js``):
a few cosines of brightness, of two differences of colour, and of alpha, in four bits each. Written
anew, since it runs in the probe's sandbox, which imports next to nothing; the cosines are taken by
columns, then by rows, which is a tenth of the sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import repeat
from operator import add, mul, sub

_MOST_PIXELS_A_SIDE = 100


def encode_thumbhash(width: int, height: int, rgba: bytes) -> bytes:
    """Return the ThumbHash of a picture.

    Args:
        width: pixels, 1 to 100, as is ``height``.
        rgba: four bytes a pixel, not premultiplied, row by row.

    Raises:
        ValueError: a side is longer, or the pixels are not as many.
    """
    if not (0 < width <= _MOST_PIXELS_A_SIDE and 0 < height <= _MOST_PIXELS_A_SIDE):
        raise ValueError(f"{width} x {height} is not within 100 x 100")
    if len(rgba) != width * height * 4:
        raise ValueError(f"{len(rgba)} bytes are not {width} x {height} pixels")
    alphas = rgba[3::4]
    has_alpha = min(alphas) < 255
    colours: list[Sequence[float]] = [rgba[at::4] for at in range(3)]
    if has_alpha:
        colours = [_lay_over_mean(rgba[at::4], alphas) for at in range(3)]
    reds, greens, blues = colours
    # Three times, twice and once what they are called, of 255: whole numbers where all is opaque.
    red_and_green = list(map(add, reds, greens))
    brightness = list(map(add, red_and_green, blues))
    yellow_blue = list(map(sub, red_and_green, map(mul, blues, repeat(2))))
    red_green = list(map(sub, reds, greens))

    most, longer = 5 if has_alpha else 7, max(width, height)
    across = max(1, _round(most * width / longer))
    down = max(1, _round(most * height / longer))
    l_mean, l_waves, l_scale = _transform(brightness, 3 * 255, width, max(3, across), max(3, down))
    p_mean, p_waves, p_scale = _transform(yellow_blue, 2 * 255, width, 3, 3)
    q_mean, q_waves, q_scale = _transform(red_green, 255, width, 3, 3)

    lies = width > height
    first = _round(63 * l_mean) | _round(31.5 + 31.5 * p_mean) << 6
    first |= _round(31.5 + 31.5 * q_mean) << 12 | _round(31 * l_scale) << 18 | has_alpha << 23
    second = (down if lies else across) | _round(63 * p_scale) << 3
    second |= _round(63 * q_scale) << 9 | lies << 15
    found = bytearray(first.to_bytes(3, "little") + second.to_bytes(2, "little"))
    waves = [*l_waves, *p_waves, *q_waves]
    if has_alpha:
        a_mean, a_waves, a_scale = _transform(alphas, 255, width, 5, 5)
        found.append(_round(15 * a_mean) | _round(15 * a_scale) << 4)
        waves += a_waves
    fours = [_round(15 * wave) for wave in waves]
    fours += [0] * (len(fours) % 2)
    found += bytes(low | high << 4 for low, high in zip(fours[::2], fours[1::2], strict=True))
    return bytes(found)


def _lay_over_mean(values: bytes, alphas: bytes) -> Sequence[float]:
    """Return a colour, laid over its own mean where it is transparent."""
    shown = sum(alphas)
    mean = sum(map(mul, values, alphas)) / shown if shown else 0.0
    return [
        mean + (value - mean) * alpha / 255 for value, alpha in zip(values, alphas, strict=True)
    ]


def _transform(
    values: Sequence[float], most: int, width: int, across: int, down: int
) -> tuple[float, list[float], float]:
    """Return the mean, the other low waves from 0 to 1, and what they were scaled by.

    Args:
        most: what counts as 1 of the mean and of the scale.
    """
    height = len(values) // width
    # First down, which most pictures have fewer waves of.
    columns = [values[at::width] for at in range(width)]
    rows = [list(map(sum, columns))]
    for wave in range(1, down):
        cosines = _list_cosines(wave, height)
        rows.append([sum(map(mul, column, cosines)) for column in columns])
    found: list[float] = []
    for wave, row in enumerate(rows):
        low = range(-(-across * (down - wave) // down))
        found += [sum(map(mul, row, _list_cosines(one, width))) for one in low]
    mean, *waves = found
    scale = max(map(abs, waves), default=0.0)
    if scale:
        waves = [0.5 + 0.5 / scale * wave for wave in waves]
    whole = most * width * height
    return mean / whole, waves, scale / whole


# Few sizes come again and again, and a cosine takes as long as five products.
@lru_cache(maxsize=256)
def _list_cosines(wave: int, count: int) -> Sequence[float]:
    return tuple(math.cos(math.pi / count * wave * (at + 0.5)) for at in range(count))


def _round(value: float) -> int:
    # As JavaScript does; Python would round halves to even numbers.
    return math.floor(value + 0.5)
