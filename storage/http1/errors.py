"""What goes wrong between two ends of a connection; callers say what it means to them."""

from __future__ import annotations


class HttpError(Exception):
    """No answer, or none that can be understood."""


class Malformed(HttpError):
    """What came is no HTTP, or in doubt."""


class EndedEarly(HttpError):
    """The connection ended before what was announced was there."""


class NoAnswer(EndedEarly):
    """The connection ended before the first byte of an answer."""
