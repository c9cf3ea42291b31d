"""Every answer to the request for a rest: taken as the rest, taken as the whole, or refused.

The table crosses where the rest begins in what the source has by now (inside it, at its end, past
it) with what becomes of the range (obeyed, ignored, wrong) and with the status. Whatever the
answer, the bytes that are kept are those of one file from its start to its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from ingest.errors import IngestError, SourceChanged, SourceInvalid, SourceTruncated
from ingest.urls import parse_source_url
from tests.support.origin import Origin, Reply
from workers.answers import Resume
from workers.egress import Egress, Policy
from workers.fetch import Limits, open_source

LIMITS = Limits(
    max_bytes=10_000, total_timeout_s=30, lowest_bps=1, lowest_window_s=30, max_redirects=5
)
FILE = b"0123456789"
HERE = 4
RESUME = Resume(HERE, '"one"', len(FILE))


@dataclass(frozen=True)
class Row:
    """An answer, and what is to come of it.

    ``taken`` is what the body is read as: the rest, the whole, or not at all with an error. ``now``
    is what the source has by now.
    """

    status: int
    head: str
    body: bytes
    taken: str | type[IngestError]
    now: bytes = FILE


ONE, TWO = 'ETag: "one"', 'ETag: "two"'
SHORT, SHORTER = FILE[:HERE], FILE[: HERE - 1]
MULTIPART = b"--x\r\nContent-Range: bytes 4-9/10\r\n\r\n456789\r\n--x--\r\n"

INSIDE = {
    "obeyed": Row(206, f"{ONE}\nContent-Range: bytes 4-9/10\nContent-Length: 6", b"456789", "rest"),
    "obeyed without a length": Row(206, f"{ONE}\nContent-Range: bytes 4-9/10", b"456789", "rest"),
    "ignored": Row(200, f"{ONE}\nContent-Length: 10", FILE, "whole"),
    "ignored and told so": Row(
        200, f"{ONE}\nContent-Range: bytes 0-9/10\nContent-Length: 10", FILE, "whole"
    ),
    "ignored, as a range": Row(
        206, f"{ONE}\nContent-Range: bytes 0-9/10\nContent-Length: 10", FILE, SourceChanged
    ),
    "obeyed, as the whole": Row(
        200, f"{ONE}\nContent-Range: bytes 4-9/10\nContent-Length: 6", b"456789", SourceChanged
    ),
    "wrong start": Row(
        206, f"{ONE}\nContent-Range: bytes 3-9/10\nContent-Length: 7", b"3456789", SourceChanged
    ),
    "wrong end": Row(
        206, f"{ONE}\nContent-Range: bytes 4-8/10\nContent-Length: 5", b"45678", SourceChanged
    ),
    "wrong total": Row(
        206, f"{ONE}\nContent-Range: bytes 4-9/11\nContent-Length: 6", b"456789", SourceChanged
    ),
    "no total": Row(
        206, f"{ONE}\nContent-Range: bytes 4-9/*\nContent-Length: 6", b"456789", SourceChanged
    ),
    "end before its start": Row(
        206, f"{ONE}\nContent-Range: bytes 4-3/10\nContent-Length: 0", b"", SourceChanged
    ),
    "not told": Row(206, f"{ONE}\nContent-Length: 6", b"456789", SourceChanged),
    "told twice": Row(
        206,
        f"{ONE}\nContent-Range: bytes 4-9/10\nContent-Range: bytes 0-5/10\nContent-Length: 6",
        b"012345",
        SourceChanged,
    ),
    "in several parts": Row(
        206,
        f"{ONE}\nContent-Type: multipart/byteranges; boundary=x\nContent-Length: {len(MULTIPART)}",
        MULTIPART,
        SourceChanged,
    ),
    "length of the whole": Row(
        206, f"{ONE}\nContent-Range: bytes 4-9/10\nContent-Length: 10", b"456789", SourceChanged
    ),
    "one byte short": Row(
        206, f"{ONE}\nContent-Range: bytes 4-9/10\nContent-Length: 6", b"45678", SourceTruncated
    ),
    "one byte more": Row(206, f"{ONE}\nContent-Range: bytes 4-9/10", b"4567890", SourceInvalid),
    "refused": Row(416, "Content-Range: bytes */10\nContent-Length: 0", b"", SourceChanged),
    "precondition failed": Row(412, "Content-Length: 0", b"", SourceChanged),
    "of no file": Row(
        206, "Content-Range: bytes 4-9/10\nContent-Length: 6", b"456789", SourceChanged
    ),
    "of a weak file": Row(
        206,
        'ETag: W/"one"\nContent-Range: bytes 4-9/10\nContent-Length: 6',
        b"456789",
        SourceChanged,
    ),
    "of another file": Row(
        206, f"{TWO}\nContent-Range: bytes 4-9/10\nContent-Length: 6", b"efghij", SourceChanged
    ),
    "another file": Row(200, f"{TWO}\nContent-Length: 10", b"abcdefghij", "whole", b"abcdefghij"),
    "no validator": Row(200, "Content-Length: 10", FILE, "whole"),
    "weak by now": Row(200, 'ETag: W/"one"\nContent-Length: 10', FILE, "whole"),
}
AT_THE_END = {
    "refused": Row(416, "Content-Range: bytes */4\nContent-Length: 0", b"", SourceChanged, SHORT),
    "refused with a body": Row(
        416, f"{ONE}\nContent-Range: bytes */4\nContent-Length: 4", SHORT, SourceChanged, SHORT
    ),
    "obeyed": Row(
        206, f"{ONE}\nContent-Range: bytes 4-3/4\nContent-Length: 0", b"", SourceChanged, SHORT
    ),
    "ignored": Row(200, f"{TWO}\nContent-Length: 4", SHORT, "whole", SHORT),
    "ignored under the same ETag": Row(200, f"{ONE}\nContent-Length: 4", SHORT, "whole", SHORT),
    "wrong": Row(
        206, f"{ONE}\nContent-Range: bytes 0-3/4\nContent-Length: 4", SHORT, SourceChanged, SHORT
    ),
}
PAST_THE_END = {
    "refused": Row(416, "Content-Range: bytes */3\nContent-Length: 0", b"", SourceChanged, SHORTER),
    "refused without a word": Row(416, "Content-Length: 0", b"", SourceChanged, SHORTER),
    "refused with a rest": Row(
        416, f"{ONE}\nContent-Range: bytes 4-9/10\nContent-Length: 6", b"456789", SourceChanged
    ),
    "obeyed": Row(
        206, f"{ONE}\nContent-Range: bytes 4-2/3\nContent-Length: 0", b"", SourceChanged, SHORTER
    ),
    "ignored": Row(200, f"{TWO}\nContent-Length: 3", SHORTER, "whole", SHORTER),
    "wrong": Row(
        206, f"{TWO}\nContent-Range: bytes 2-2/3\nContent-Length: 1", b"2", SourceChanged, SHORTER
    ),
}
ROWS = {
    f"{name} {place}": row
    for place, rows in (
        ("inside", INSIDE),
        ("at the end", AT_THE_END),
        ("past the end", PAST_THE_END),
    )
    for name, row in rows.items()
}


@pytest.fixture(scope="module")
def egress(origin: Origin) -> Iterator[Egress]:
    opened = Egress(Policy(5, 5, frozenset({f"127.0.0.1:{origin.port}"})))
    yield opened
    opened.close()


def write(row: Row) -> bytes:
    head = row.head.replace("\n", "\r\n").encode()
    return b"HTTP/1.1 %d Status\r\n%b\r\n\r\n%b" % (row.status, head, row.body)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_what_is_kept_is_one_file_whatever_the_answer_to_a_range_is(
    row: Row, egress: Egress, origin: Origin
) -> None:
    url = parse_source_url(
        origin.route("/rest", Reply(raw=write(row)), Reply(body=row.now, ranges=True))
    )
    kept = bytearray(FILE[:HERE])
    buffer = bytearray(100)
    outcome: str | type[IngestError]
    try:
        source = open_source(egress, url, LIMITS, resume=RESUME)
        try:
            filled = source.fill(buffer)
        finally:
            source.close()
    except IngestError as error:
        outcome = type(error)
    else:
        outcome = "rest" if source.resumed_from else "whole"
        assert source.resumed_from in {0, HERE}
        del kept[source.resumed_from :]
        kept += buffer[:filled]
        assert source.received_bytes == len(kept)
        assert bytes(kept) == row.now
    assert outcome == row.taken

    (asked,) = origin.list_served("/rest")[-1:]
    assert (asked.range, asked.if_range) == (f"bytes={HERE}-", '"one"')
    if outcome is SourceChanged:
        # As the pipeline does: from the start, and nothing of the answer before is in the way.
        again = open_source(egress, url, LIMITS)
        assert bytes(buffer[: again.fill(buffer)]) == row.now
        again.close()
