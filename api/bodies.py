"""Request bodies: JSON as RFC 8259 has it, and nothing that two readers may take for two things."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from flask.json.provider import DefaultJSONProvider

from ingest.errors import BodyInvalid

# More than metadata of its greatest length can have; each field that is refused costs memory.
MAX_FIELDS = 4096


class StrictJson(DefaultJSONProvider):
    """Reads UTF-8 without doubled names, NaN, infinities or numbers past a float's range."""

    sort_keys = False

    def loads(self, s: str | bytes, **kwargs: object) -> object:
        """Parse a body.

        Raises:
            BodyInvalid: it is no such JSON; the message says why.
        """
        del kwargs
        try:
            text = s.decode("utf-8-sig") if isinstance(s, bytes) else s
            return json.loads(
                text,
                object_pairs_hook=_build_object,
                parse_constant=_refuse_constant,
                parse_float=_parse_float,
            )
        except UnicodeDecodeError:
            raise BodyInvalid("The body is not UTF-8.") from None
        except json.JSONDecodeError as error:
            raise BodyInvalid(
                f"The body is not valid JSON: {error.msg} (line {error.lineno}, "
                f"column {error.colno})."
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
