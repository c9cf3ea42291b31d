"""``Prefer`` (RFC 7240): how long a client wants to wait.

What is not understood is ignored, as the RFC asks.
"""

from __future__ import annotations

import re

from flask import request
from werkzeug.http import parse_dict_header

_SECONDS = re.compile(r"[0-9]{1,6}", re.ASCII)
_ASYNC = "respond-async"


def read_preference(most_s: float) -> tuple[float, str | None]:
    """Return for how many seconds this request is to wait, and what of its wish is granted.

    Args:
        most_s: without a wish, and at most.

    Returns:
        The second value is for ``Preference-Applied``; None where nothing was asked for.
    """
    wishes = parse_dict_header(request.headers.get("Prefer", ""))
    granted = [_ASYNC] if _ASYNC in wishes else []
    limit_s = 0.0 if granted else most_s
    wait = wishes.get("wait")
    if wait is not None and _SECONDS.fullmatch(wait):
        # With both, it is answered when so much time is over (RFC 7240, 4.3).
        limit_s = min(float(wait), most_s)
        granted.append(f"wait={limit_s:.0f}")
    return limit_s, ", ".join(granted) or None
