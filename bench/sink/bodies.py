"""Bodies at the sink: taken in and mostly thrown away, or given back as far as they were kept."""

from __future__ import annotations

import socket

from bench.sink import answers
from bench.sink.chunked import ChunkedDecoder
from bench.sink.objects import Body, Stored
from bench.wire import Inlet, RequestHead, parse_range

# Enough for ffprobe to know a file by; what lies behind is given back as zeros.
KEPT_BYTES = 256 * 1024
_READ_BYTES = 1024 * 1024
_ZEROS = memoryview(bytes(_READ_BYTES))


def take_body(inlet: Inlet, head: RequestHead, *, verify: bool) -> Body:
    """Take the body of a request.

    Args:
        verify: whether all of it is kept, to be hashed.

    Raises:
        ConnectionError, ValueError: it broke off, or is not framed as it says.
    """
    left = head.body_bytes
    decoded_bytes = head.headers.get("x-amz-decoded-content-length")
    size_bytes = left if decoded_bytes is None else int(decoded_bytes)
    decoder = None if decoded_bytes is None else ChunkedDecoder()
    begins_file = head.query.get("partNumber", "1") == "1"
    wanted_bytes = size_bytes if verify else KEPT_BYTES if begins_file else 0
    kept: list[bytes] = []
    while left and sum(map(len, kept)) < wanted_bytes:
        raw = inlet.read_some(min(left, _READ_BYTES))
        left -= len(raw)
        kept.append(raw if decoder is None else decoder.feed(raw))
    inlet.drain(left)
    whole = b"".join(kept)
    if verify and len(whole) != size_bytes:
        raise ValueError("the body is not as long as it said")
    return Body(size_bytes, whole[:KEPT_BYTES], whole if verify else None)


def send_object(connection: socket.socket, head: RequestHead, stored: Stored | None) -> None:
    """Answer a GET: what was kept of an object, then zeros up to its size."""
    if stored is None:
        connection.sendall(answers.write_error(404, "NoSuchKey"))
        return
    try:
        wanted = parse_range(head.headers.get("range"), stored.size_bytes)
    except ValueError:
        connection.sendall(answers.write_error(416, "InvalidRange"))
        return
    first, end = wanted or (0, stored.size_bytes)
    headers = answers.describe(stored)
    if wanted is not None:
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{stored.size_bytes}"
    status = 200 if wanted is None else 206
    connection.sendall(answers.write_answer(status, headers=headers, length=end - first))
    connection.sendall(stored.head[first:end])
    at = max(first, min(end, len(stored.head)))
    while at < end:
        at += connection.send(_ZEROS[: end - at])
