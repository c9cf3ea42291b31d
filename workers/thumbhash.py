"""ThumbHash: what a picture looks like from afar, in some 25 bytes.

The encoder of Evan Wallace's ThumbHash (https://github.com/evanw/thumbhash, ``js/thumbhash.js``):
a few cosines of brightness, of two differences of colour, and of alpha, in four bits each. Written
anew, since it runs in the probe's sandbox, which imports next to nothing; the cosines are taken by
rows, then by columns, which is a tenth of the sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul

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
    alphas = [value / 255 for value in rgba[3::4]]
    shown = sum(alphas)
    has_alpha = min(rgba[3::4]) < 255
    reds, greens, blues = (_lay_over_mean(rgba[at::4], alphas, shown) for at in range(3))
    brightness = [(r + g + b) / 3 for r, g, b in zip(reds, greens, blues, strict=True)]
    yellow_blue = [(r + g) / 2 - b for r, g, b in zip(reds, greens, blues, strict=True)]
    red_green = [r - g for r, g in zip(reds, greens, strict=True)]

    most, longer = 5 if has_alpha else 7, max(width, height)
    across = max(1, _round(most * width / longer))
    down = max(1, _round(most * height / longer))
    l_mean, l_waves, l_scale = _transform(brightness, width, max(3, across), max(3, down))
    p_mean, p_waves, p_scale = _transform(yellow_blue, width, 3, 3)
    q_mean, q_waves, q_scale = _transform(red_green, width, 3, 3)

    lies = width > height
    first = _round(63 * l_mean) | _round(31.5 + 31.5 * p_mean) << 6
    first |= _round(31.5 + 31.5 * q_mean) << 12 | _round(31 * l_scale) << 18 | has_alpha << 23
    second = (down if lies else across) | _round(63 * p_scale) << 3
    second |= _round(63 * q_scale) << 9 | lies << 15
    found = bytearray(first.to_bytes(3, "little") + second.to_bytes(2, "little"))
    waves = [*l_waves, *p_waves, *q_waves]
    if has_alpha:
        a_mean, a_waves, a_scale = _transform(alphas, width, 5, 5)
        found.append(_round(15 * a_mean) | _round(15 * a_scale) << 4)
        waves += a_waves
    fours = [_round(15 * wave) for wave in waves]
    fours += [0] * (len(fours) % 2)
    found += bytes(low | high << 4 for low, high in zip(fours[::2], fours[1::2], strict=True))
    return bytes(found)


def _lay_over_mean(values: bytes, alphas: Sequence[float], shown: float) -> list[float]:
    """Return a colour from 0 to 1, laid over its own mean where it is transparent."""
    if shown == len(values):
        # Nothing shows through, as in most pictures: what is below comes to this.
        return [1 / 255 * value for value in values]
    mean = sum(map(mul, values, alphas)) / 255 / shown if shown else 0.0
    return [
        mean * (1 - alpha) + alpha / 255 * value
        for value, alpha in zip(values, alphas, strict=True)
    ]


def _transform(
    values: Sequence[float], width: int, across: int, down: int
) -> tuple[float, list[float], float]:
    """Return the mean, the other low waves from 0 to 1, and what they were scaled by."""
    height = len(values) // width
    rows = [values[at : at + width] for at in range(0, len(values), width)]
    columns = []
    for wave in range(across):
        cosines = _list_cosines(wave, width)
        columns.append([sum(map(mul, row, cosines)) for row in rows])
    found = []
    for wave in range(down):
        cosines = _list_cosines(wave, height)
        low = columns[: -(-across * (down - wave) // down)]
        found += [sum(map(mul, column, cosines)) / (width * height) for column in low]
    mean, *waves = found
    scale = max(map(abs, waves), default=0.0)
    if scale:
        waves = [0.5 + 0.5 / scale * wave for wave in waves]
    return mean, waves, scale


def _list_cosines(wave: int, count: int) -> list[float]:
    return [math.cos(math.pi / count * wave * (at + 0.5)) for at in range(count)]


def _round(value: float) -> int:
    # As JavaScript does; Python would round halves to even numbers.
    return math.floor(value + 0.5)
