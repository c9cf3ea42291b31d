"""Reading what ffprobe says: JSON of which nothing may be taken for granted."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence


def as_list(value: object) -> Sequence[object]:
    """Return a list; an empty one for anything else."""
    return value if isinstance(value, list) else []


def as_mapping(value: object) -> Mapping[str, object]:
    """Return an object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def as_text(value: object) -> str | None:
    """Return text; None for anything else and for none."""
    return value if isinstance(value, str) and value else None


def as_number(value: object) -> float | None:
    """Return a finite number, also from text; None for anything else."""
    try:
        number = float(value) if isinstance(value, (str, int, float)) else math.nan
    except (ValueError, OverflowError):
        return None
    # A file's tags can say "nan".
    return number if math.isfinite(number) else None


def as_integer(value: object) -> int | None:
    """Return a whole number, cut off; None for what is no number."""
    number = as_number(value)
    return None if number is None else int(number)


def as_count(value: object) -> int | None:
    """Return a whole number above 0; None for anything else, as ffprobe says 0 for unknown."""
    number = as_integer(value)
    return number if number is not None and number > 0 else None


def clean_text(value: object, most_chars: int) -> str | None:
    """Return text on one line, without control characters, cut to a length; None for no text.

    Control characters (Unicode's Cc), surrogates and separators of lines become spaces.
    """
    text = as_text(value)
    if text is None:
        return None
    # Enough to cut from, however long it is.
    shown = "".join(
        " " if unicodedata.category(one) in {"Cc", "Cs", "Zl", "Zp"} else one
        for one in text[: 4 * most_chars]
    )
    return shown.strip()[:most_chars].strip() or None
