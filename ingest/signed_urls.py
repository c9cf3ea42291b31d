"""When a signed URL ends, and which host a URL names: what the dispatcher orders tasks by.

Reads, never verifies: a URL that claims too much or too little only runs sooner or later. What
makes no sense is no end; :func:`find_expiry` raises nothing, whatever a URL holds.

Sources: query authentication of AWS Signature Version 4 and 2, Google Cloud Storage's V4 and V2
signed URLs, Azure's shared access signatures (``se``), CloudFront's canned and custom policies.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

from ingest.urls import ObjectUrl, SourceUrl, parse_stored_url

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BASIC_TIME = re.compile(r"[0-9]{8}T[0-9]{6}Z")
# What any of them is called by: most URLs have none of it, and are not taken apart.
_SIGNED = re.compile(r"(?i:expires|%|\bse=|\bpolicy=)")
_SECONDS = re.compile(r"[0-9]{1,12}")
_EXTENDED_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,7})?)?(Z|[+-][0-9]{2}:[0-9]{2}))?"
)
# A pattern, not a JSON parser: those recurse as deep as a stranger nests.
_POLICY_END = re.compile(r'"DateLessThan"\s*:\s*\{\s*"AWS:EpochTime"\s*:\s*([0-9]{1,12})\s*\}')
# CloudFront writes "-", "_" and "~" where base64 has "+", "=" and "/".
_FROM_CLOUDFRONT = str.maketrans("-_~", "+=/")


def find_expiry(url: str) -> datetime | None:
    """Return when a signed URL ends, in UTC, or None where it names no end that makes sense.

    Of several ends the first one counts.
    """
    values: dict[str, str] = {}
    query = url.partition("#")[0].partition("?")[2]
    if _SIGNED.search(query) is None:
        return None
    for name, value in parse_qsl(query, errors="replace"):
        values.setdefault(name.lower(), value)
    ends: list[datetime] = []
    for read in (_read_aws, _read_google, _read_expires, _read_sas, _read_policy):
        # The name is missing, the value malformed, or the time outside of the calendar.
        with suppress(KeyError, ValueError, OverflowError):
            ends.append(read(values))
    return min(ends, default=None)


def find_host(url: str) -> str:
    """Return the host of a source URL: lower case, IDN as A-labels, no port, no final dot.

    Of an object it is ``s3:`` and the connection, which no host is called; of an upload ``s3:``.

    Raises:
        FieldInvalid: the URL is not one Headrace takes.
    """
    return name_host(parse_stored_url(url))


def name_host(found: SourceUrl | ObjectUrl) -> str:
    """Return the same of a URL that was parsed."""
    if isinstance(found, ObjectUrl):
        return f"s3:{found.connection}"
    return found.host.removesuffix(".")


def _read_aws(values: Mapping[str, str]) -> datetime:
    return _add(_read_basic_time(values["x-amz-date"]), values["x-amz-expires"])


def _read_google(values: Mapping[str, str]) -> datetime:
    return _add(_read_basic_time(values["x-goog-date"]), values["x-goog-expires"])


def _read_expires(values: Mapping[str, str]) -> datetime:
    return _add(_EPOCH, values["expires"])


def _read_sas(values: Mapping[str, str]) -> datetime:
    text = values["se"]
    if _EXTENDED_TIME.fullmatch(text) is None:
        raise ValueError("no time as Azure writes it")
    time = datetime.fromisoformat(text)
    # A date alone is the start of that day in UTC.
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _read_policy(values: Mapping[str, str]) -> datetime:
    policy = base64.b64decode(values["policy"].translate(_FROM_CLOUDFRONT)).decode()
    end = _POLICY_END.search(policy)
    if end is None:
        raise ValueError("no policy of CloudFront's")
    return _add(_EPOCH, end[1])


def _read_basic_time(text: str) -> datetime:
    if _BASIC_TIME.fullmatch(text) is None:
        raise ValueError("no time as AWS writes it")
    return datetime.strptime(text, "%Y%m%dT%H%M%S%z")


def _add(start: datetime, seconds: str) -> datetime:
    if _SECONDS.fullmatch(seconds) is None:
        raise ValueError("no number of seconds")
    return start + timedelta(seconds=int(seconds))
