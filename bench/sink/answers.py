"""What the sink says: the answers of S3, as bytes."""

from __future__ import annotations

import http
from collections.abc import Mapping
from email.utils import formatdate
from xml.sax.saxutils import escape

from bench.sink.objects import Stored

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_NO_HEADERS: Mapping[str, str] = {}


def write_answer(
    status: int,
    body: bytes = b"",
    headers: Mapping[str, str] = _NO_HEADERS,
    *,
    length: int | None = None,
) -> bytes:
    """Return an answer; ``length`` is told where it is not that of the body that is given."""
    lines = [f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}"]
    if status != http.HTTPStatus.NO_CONTENT:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def write_error(status: int, code: str) -> bytes:
    """Return a refusal."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
    return write_answer(status, body.encode(), {"Content-Type": "application/xml"})


def write_xml(name: str, inner: str) -> bytes:
    """Return a document of one element; ``inner`` is XML already."""
    body = f"<?xml version='1.0' encoding='UTF-8'?><{name} {_NAMESPACE}>{inner}</{name}>"
    return write_answer(200, body.encode(), {"Content-Type": "application/xml"})


def write_elements(**values: object) -> str:
    """Return elements by name."""
    return "".join(f"<{name}>{escape(str(one))}</{name}>" for name, one in values.items())


def describe(stored: Stored) -> dict[str, str]:
    """Return the headers of an object."""
    return {
        "ETag": f'"{stored.etag}"',
        "Last-Modified": formatdate(usegmt=True),
        "Accept-Ranges": "bytes",
        **stored.headers,
    }


def write_listing(bucket: str, prefix: str, found: Mapping[str, Stored]) -> bytes:
    """Return all objects in one page."""
    modified = "2020-01-01T00:00:00.000Z"
    contents = "".join(
        "<Contents>"
        + write_elements(Key=key, LastModified=modified, ETag=f'"{one.etag}"', Size=one.size_bytes)
        + "</Contents>"
        for key, one in found.items()
    )
    about = write_elements(
        Name=bucket, Prefix=prefix, KeyCount=len(found), MaxKeys=len(found), IsTruncated="false"
    )
    return write_xml("ListBucketResult", about + contents)
