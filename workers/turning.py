"""How players turn a picture that is coded another way up.

A turn is: mirror left to right, then turn clockwise by ``rotation`` degrees. Each of the eight ways
that EXIF's orientation can tell is one of these, and so is each display matrix of right angles.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ingest.model import JsonObject
from workers.probed import as_list, as_mapping, as_number, as_text

_ROW = re.compile(r"^\s*[0-9a-f]{8}:\s*(-?\d+)\s+(-?\d+)\s+-?\d+\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Turn:
    """``rotation`` is 0, 90, 180 or 270."""

    rotation: int = 0
    mirrored: bool = False


# Exif 2.32, 4.6.4, tag 274.
_BY_ORIENTATION = {
    1: Turn(),
    2: Turn(0, mirrored=True),
    3: Turn(180),
    4: Turn(180, mirrored=True),
    5: Turn(270, mirrored=True),
    6: Turn(90),
    7: Turn(90, mirrored=True),
    8: Turn(270),
}


def turn_by_orientation(orientation: int | None) -> Turn | None:
    """Return what EXIF's orientation means; None for a number that means nothing."""
    return None if orientation is None else _BY_ORIENTATION.get(orientation)


def turn_by_matrix(a: float, b: float, c: float, d: float) -> Turn:
    """Return what a display matrix means (ISO/IEC 14496-12, 6.2.2), to the nearest right angle.

    A pixel at (x, y), from the left and from the top, is shown at (a x + c y, b x + d y).
    """
    mirrored = a * d - b * c < 0
    if mirrored:
        # Taken back: the mirror comes first.
        a, b = -a, -b
    return Turn(round(math.degrees(math.atan2(b, a)) / 90) * 90 % 360, mirrored=mirrored)


def join_turns(first: Turn, second: Turn) -> Turn:
    """Return what two turns come to, one after the other."""
    # A turn behind a mirror goes the other way round in front of it.
    before = -first.rotation if second.mirrored else first.rotation
    return Turn((before + second.rotation) % 360, mirrored=first.mirrored != second.mirrored)


def read_turn(stream: JsonObject) -> Turn | None:
    """Return what ffprobe says of a stream's turn; None where it says nothing."""
    for side in as_list(stream.get("side_data_list")):
        known = as_mapping(side)
        rows = _ROW.findall(as_text(known.get("displaymatrix")) or "")
        if len(rows) == 3:
            (a, b), (c, d), _ = ((float(one), float(two)) for one, two in rows)
            return turn_by_matrix(a, b, c, d)
        turned = as_number(known.get("rotation"))
        if turned is not None:
            # The display matrix counts counter-clockwise; people count clockwise.
            return Turn(round(-turned / 90) * 90 % 360)
    turned = as_number(as_mapping(stream.get("tags")).get("rotate"))
    return None if turned is None else Turn(round(turned / 90) * 90 % 360)
