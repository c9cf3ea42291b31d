"""gunicorn's own words as events like all others.

Invariant: none of them holds a query, where signatures live, nor a header, where keys do: what
gunicorn could not read it would quote.
"""

from __future__ import annotations

import logging
import sys

from gunicorn.glogging import Logger

_UNREADABLE = "Invalid request from "


class EventLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Hands what gunicorn says to the root logger."""

    def setup(self, cfg: object) -> None:
        """Configure nothing: ``configure_logging`` did."""
        del cfg
        self.error_log.propagate = True
        self.error_log.setLevel(logging.INFO)

    def warning(self, msg: str, *args: object, **kwargs: object) -> None:
        """Say that something is odd; of a request that cannot be read, in which way alone."""
        kind = sys.exc_info()[0]
        if msg.startswith(_UNREADABLE) and kind is not None:
            msg = f"{msg.partition(': ')[0]}: {kind.__name__}"
        super().warning(msg, *args, **kwargs)

    def exception(self, msg: str, *args: object, **kwargs: object) -> None:
        """Say what broke; of a request its path alone."""
        shown = [arg.partition("?")[0] if isinstance(arg, str) else arg for arg in args]
        super().exception(msg, *shown, **kwargs)
