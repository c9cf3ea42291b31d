"""The head of a request, written, and the head of an answer, read (RFC 9110, 5; RFC 9112, 4 and 5).

Invariants: nothing that a header or a target holds begins another line; a line that is no header
is never passed over, since what follows it would be read in another sense than it was sent in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from storage.http1.errors import Malformed

_STATUS = re.compile(rb"HTTP/1\.([0-9]) +([1-9][0-9]{2})(?: [^\r\n]*)?")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BREAKS_VALUE = re.compile(rb"\0|\r(?!\n)")
_BREAKS_LINE = re.compile(r"[\r\n\0]")
_BREAKS_TARGET = re.compile(r"[^\x21-\x7e]")


class Headers(Mapping[str, str]):
    """Headers of an answer, by name in any case; those that came several times joined by commas.

    Args:
        values: all that came, in order, by name in lower case.
    """

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, list[str]]) -> None:
        self._values = values

    def list_values(self, name: str) -> list[str]:
        """Return each value that came under a name, apart, in order."""
        return list(self._values.get(name.lower(), ()))

    def __getitem__(self, name: str) -> str:
        return ", ".join(self._values[name.lower()])

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Head:
    """The head of an answer.

    Attributes:
        keeps_open: whether the server means to answer more on this connection.
    """

    __slots__ = ("headers", "keeps_open", "status")

    def __init__(self, status: int, headers: Headers, *, keeps_open: bool) -> None:
        self.status = status
        self.headers = headers
        self.keeps_open = keeps_open


def write_head(method: str, target: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """Return the head of a request as it goes out.

    Args:
        target: goes out as it is written, not tidied up: a signature may cover it.
        headers: in the order they go out; values in ISO 8859-1.

    Raises:
        ValueError: something in it would not be read as it is meant.
    """
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers]
    if _BREAKS_TARGET.search(target) or _BREAKS_LINE.search("".join(lines)):
        raise ValueError("a request with a line break or white space in the wrong place")
    lines += ["", ""]
    return "\r\n".join(lines).encode("latin-1")


def parse_head(block: bytes) -> Head:
    """Read all lines of a head, the empty one included.

    Lines may end in a line feed alone, and a value may go on in the next line behind white space,
    both as RFC 9112 (2.2, 5.2) leaves it to whoever reads.

    Raises:
        Malformed: the protocol is another, or a line is no header.
    """
    if _BREAKS_VALUE.search(block):
        raise Malformed("a control character in a header")
    first, *lines = block.split(b"\n")
    found = _STATUS.fullmatch(first.removesuffix(b"\r"))
    if found is None:
        raise Malformed("no status line of HTTP/1")
    headers = _parse_fields(lines)
    options = headers.get("connection", "").lower()
    keeps_open = "close" not in options and (found[1] != b"0" or "keep-alive" in options)
    return Head(int(found[2]), headers, keeps_open=keeps_open)


def _parse_fields(lines: Iterable[bytes]) -> Headers:
    found: dict[str, list[str]] = {}
    last: list[str] = []
    for sent in lines:
        line = sent.removesuffix(b"\r")
        if not line:
            break
        if line[0] in b" \t" and last:
            more = line.strip(b" \t").decode("latin-1")
            last[-1] = f"{last[-1]} {more}".strip()
            continue
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name):
            raise Malformed("a line that is no header")
        last = found.setdefault(name.decode("latin-1").lower(), [])
        last.append(value.strip(b" \t").decode("latin-1"))
    return Headers(found)
