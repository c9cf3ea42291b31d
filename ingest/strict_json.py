"""JSON as RFC 8259 has it, and nothing that two readers may take for two things: no doubled names,
NaN, infinities or numbers past a float's range.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ingest.errors import BodyInvalid

# More than metadata of its greatest length can have; each field that is refused costs memory.
MAX_FIELDS = 4096


def parse_json(text: str) -> object:
    """Return what a text means.

    Raises:
        BodyInvalid: it is no such JSON; the message says why.
    """
    with say_what_is_wrong():
        return _DECODER.decode(text)


def parse_first(text: str, start: int) -> tuple[object, int]:
    """Return the value that begins at a place in a text, and where it ends.

    Raises:
        json.JSONDecodeError: it is not valid, or not whole.
        BodyInvalid: as for :func:`parse_json`.
    """
    return _DECODER.raw_decode(text, start)


@contextmanager
def say_what_is_wrong() -> Iterator[None]:
    """Translate what the decoder raises into :class:`ingest.errors.BodyInvalid`."""
    try:
        yield
    except json.JSONDecodeError as error:
        raise BodyInvalid(
            f"The body is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        ) from None
    except RecursionError:
        raise BodyInvalid("The body is nested too deeply.") from None
    except ValueError:
        # Python bounds how many digits it turns into an int.
        raise BodyInvalid("The body holds a number of too many digits.") from None


def _build_object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    if len(pairs) > MAX_FIELDS:
        raise BodyInvalid(f"The body holds an object of more than {MAX_FIELDS} fields.")
    built = dict(pairs)
    if len(built) != len(pairs):
        raise BodyInvalid("The body names a field twice in one object.")
    return built


def _refuse_constant(name: str) -> float:
    raise BodyInvalid(f"The body holds {name}, which is no number in JSON.")


def _parse_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise BodyInvalid("The body holds a number that is out of range.")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_build_object, parse_constant=_refuse_constant, parse_float=_parse_float
)
