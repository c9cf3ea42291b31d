"""Request bodies: UTF-8, and strict JSON in it (:mod:`ingest.strict_json`)."""

from __future__ import annotations

from flask.json.provider import DefaultJSONProvider

from ingest.errors import BodyInvalid
from ingest.strict_json import parse_json


class StrictJson(DefaultJSONProvider):
    """Reads what :func:`ingest.strict_json.parse_json` takes."""

    sort_keys = False

    def loads(self, s: str | bytes, **kwargs: object) -> object:
        """Parse a body; an empty one is an object without fields, as some clients send that.

        Raises:
            BodyInvalid: it is no such JSON; the message says why.
        """
        del kwargs
        try:
            text = s.decode("utf-8-sig") if isinstance(s, bytes) else s
        except UnicodeDecodeError:
            raise BodyInvalid("The body is not UTF-8.") from None
        return parse_json(text) if text else {}
