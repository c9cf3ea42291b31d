"""Where a body ends, read more strictly than Python's own client does (RFC 9112, 6.1 and 7.1).

A length of a chunk that is cut off, or that is no plain hexadecimal number, is taken for another
number there: of ``0040`` that was cut after ``00``, a whole file is made. An unknown
Transfer-Encoding is taken for none, and its chunks for the file. And of the answers that come
before the answer (1xx), all but 100 are taken for it.
"""

from __future__ import annotations

import re
from http.client import HTTPResponse, UnknownTransferEncoding, parse_headers

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,32})[ \t]*(;[^\r\n]*)?\r?\n")
# Far more than a line of extensions is, and as much as Python's own client takes.
_MAX_LINE_BYTES = 65_537
_SWITCHING_PROTOCOLS = 101


class StrictResponse(HTTPResponse):
    """An answer as ``http.client`` reads it, but for the places named above.

    Two of its methods are CPython's own business; tests/integration/test_framing.py fails where
    they are no more.
    """

    def begin(self) -> None:
        """Read the head.

        Raises:
            UnknownTransferEncoding: the body comes in a coding that is not known.
        """
        super().begin()
        values = self.headers.get_all("Transfer-Encoding", [])
        codings = {part.strip().lower() for value in values for part in value.split(",")} - {""}
        if codings <= {"identity"}:
            return
        if codings != {"chunked"}:
            raise UnknownTransferEncoding
        if not self.chunked:
            # White space behind the word, or the word twice.
            self.chunked = True
            self.chunk_left = None
            self.length = None

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            status: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            # 100 is passed over by who calls this.
            if not 100 < status[1] < 200 or status[1] == _SWITCHING_PROTOCOLS:
                return status
            parse_headers(self.fp)

    def _read_next_chunk_size(self) -> int:
        found = _CHUNK_SIZE.fullmatch(self.fp.readline(_MAX_LINE_BYTES))
        if found is None:
            # Who calls this makes an IncompleteRead of it.
            raise ValueError("no length of a chunk")
        return int(found[1], 16)
