"""The head of a request, written, and the head of an answer, read (RFC 9110, 5; RFC 9112, 4 and 5).

Invariants: nothing that a header or a target holds begins another line; a line that is no header
is never passed over, since what follows it would be read in another sense than it was sent in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from storage.http1.errors import Malformed

_MOST_FIELDS = 256
_STATUS = re.compile(r"HTTP/1\.([0-9]) +([1-9][0-9]{2})(?: [^\r\n]*)?\r?\n")
_FIELD = re.compile(r"^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\r\n]*)\r?\n", re.MULTILINE)
# RFC 9112, 5.2: to be read as a space.
_FOLD = re.compile(r"\r?\n[ \t]+")
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
        minor_version: of HTTP/1.
    """

    __slots__ = ("headers", "keeps_open", "minor_version", "status")

    def __init__(
        self, status: int, headers: Headers, *, minor_version: int, keeps_open: bool
    ) -> None:
        self.status = status
        self.minor_version = minor_version
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
    text = block.decode("latin-1")
    if "\0" in text or text.count("\r") != text.count("\r\n"):
        raise Malformed("a control character in a header")
    status = _STATUS.match(text)
    if status is None:
        raise Malformed("no status line of HTTP/1")
    headers = _parse_fields(text[status.end() :])
    options = headers.get("connection", "").lower()
    keeps_open = "close" not in options and (status[1] != "0" or "keep-alive" in options)
    return Head(int(status[2]), headers, minor_version=int(status[1]), keeps_open=keeps_open)


def _parse_fields(text: str) -> Headers:
    fields: list[tuple[str, str]] = _FIELD.findall(text)
    # All lines but the empty one; where some are not there, one goes on in the next, or is none.
    if len(fields) != text.count("\n") - 1:
        text = _FOLD.sub(" ", text)
        fields = _FIELD.findall(text)
        if len(fields) != text.count("\n") - 1:
            raise Malformed("a line that is no header")
    if len(fields) > _MOST_FIELDS:
        raise Malformed("more headers than any server sends")
    found: dict[str, list[str]] = {}
    for name, value in fields:
        found.setdefault(name.lower(), []).append(value.strip(" \t"))
    return Headers(found)
