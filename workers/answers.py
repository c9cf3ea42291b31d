"""The head of a source's answer, judged: is this the file, or the rest of it that was asked for?

Invariants: only 200 and 206 carry a file; a part is never taken for the whole; a body that comes
encoded is refused, since identity was asked for; the rest of a file is taken only where it is
provably the rest of the same file: the same strong ETag, the same length, exactly the bytes that
are missing (RFC 9110, 8.8.1, 13.1.5 and 14).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from ingest.errors import (
    SourceChanged,
    SourceEmpty,
    SourceForbidden,
    SourceInvalid,
    SourceNotFound,
    SourceUnavailable,
)
from ingest.retry import LONGEST_RETRY_AFTER_S, parse_retry_after
from ingest.signed_urls import find_expiry
from workers.egress import Answer

_FORBIDDEN = frozenset({401, 402, 403, 407, 451})
_MISSING = frozenset({404, 410})
_BUSY = frozenset({408, 425, 429})
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")
_LENGTH = re.compile(r"[0-9]{1,19}")
# RFC 9110, 8.8.3, without the weak form; an empty tag tells no two files apart. Kept in a row, so
# it must not be as long as a header may be.
_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]{1,1000}"')


@dataclass(frozen=True, slots=True)
class Resume:
    """Where to go on in a file of which a part is here already.

    ``from_byte`` bytes are here, some and not all; ``etag`` is the strong ETag and ``size_bytes``
    the length of the file they belong to. Of a file that is here as a whole nothing is to be asked.
    With ``until`` no more than the bytes before that one are asked for.
    """

    from_byte: int
    etag: str
    size_bytes: int
    until: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.from_byte < self.end_byte <= self.size_bytes:
            raise ValueError("there is nothing to go on from, or nothing to go on to")

    @property
    def end_byte(self) -> int:
        """The first byte that is not asked for."""
        return self.size_bytes if self.until is None else self.until


@dataclass(frozen=True, slots=True)
class Head:
    """What an answer says of its body.

    Attributes:
        first_byte: where in the file the body begins.
        size_bytes: the length of the whole file, or None where only its end will tell.
        etag: the strong ETag, or None.
        end_byte: where in the file the body ends; None as for ``size_bytes``.
        ranged: whether the source answers ranges.
    """

    first_byte: int
    size_bytes: int | None
    etag: str | None
    end_byte: int | None
    ranged: bool


def judge_answer(
    answer: Answer, resume: Resume | None, now: datetime, *, head_bytes: int | None = None
) -> Head:
    """Judge the head of an answer that is no redirect.

    Args:
        resume: what was asked for; None is the whole file.
        now: by the clock on the wall, to understand dates.
        head_bytes: of the whole file, how much of its beginning was asked for; None is all.

    Raises:
        SourceChanged: the rest was asked for, and this is not it.
        SourceEmpty, SourceForbidden, SourceInvalid, SourceNotFound, SourceUnavailable
    """
    # RFC 9110 has 416 for a range past the end, and 200 where If-Range fails; some send 412.
    if resume is not None and answer.status in {412, 416}:
        raise SourceChanged(f"The source does not send the rest (it answered {answer.status}).")
    _judge_status(answer, now)
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise SourceInvalid(
            f"The source sent its body encoded ('{encoding[:32]}') though identity was asked for."
        )
    etag = _read_strong_etag(answer)
    length = _read_length(answer)
    if answer.status == 200:
        if not _is_whole(answer, length):
            refusal = SourceInvalid if resume is None else SourceChanged
            raise refusal("The source sent a part of the file as if it were the whole.")
        return Head(0, length, etag, length, ranged=False)
    if resume is None and head_bytes is not None:
        end, size = _read_beginning(answer, length, head_bytes)
        return Head(0, size, etag, end, ranged=True)
    if resume is None:
        total = _read_range_total(answer, length)
        return Head(0, total, etag, total, ranged=True)
    if etag != resume.etag or not _is_rest(answer, length, resume):
        raise SourceChanged("The source sent something else than the rest of the file.")
    return Head(resume.from_byte, resume.size_bytes, etag, resume.end_byte, ranged=True)


def _judge_status(answer: Answer, now: datetime) -> None:
    status = answer.status
    if status in {200, 206}:
        return
    message = f"The source answered {status}."
    if status in _MISSING:
        raise SourceNotFound(message)
    expiry = find_expiry(str(answer.url))
    ended = expiry is not None and expiry <= now
    # Google Cloud Storage answers 400 where others answer 403.
    if status in _FORBIDDEN or (status == 400 and ended):
        if ended:
            message = f"The source answered {status}: its signed URL has ended ({expiry})."
        raise SourceForbidden(message)
    if status in _BUSY or status >= 500:
        wait_s = parse_retry_after(answer.headers.get("Retry-After", ""), now)
        raise SourceUnavailable(
            message, retry_after_s=None if wait_s is None else min(wait_s, LONGEST_RETRY_AFTER_S)
        )
    if status in {204, 205, 416}:
        # An empty file has no byte 0 to answer the range with.
        raise SourceEmpty(f"The source has no content (it answered {status}).")
    raise SourceInvalid(message)


def _read_length(answer: Answer) -> int | None:
    values = answer.list_header("Content-Length")
    if answer.list_header("Transfer-Encoding"):
        if values:
            # RFC 9112, 6.3: to be handled as an error; the two disagree about where the body ends.
            raise SourceInvalid("The source sent both Content-Length and Transfer-Encoding.")
        return None
    if not values:
        return None
    parts = {part.strip() for value in values for part in value.split(",")}
    only = parts.pop()
    if parts or _LENGTH.fullmatch(only) is None:
        raise SourceInvalid("The source sent a malformed or contradicting Content-Length.")
    return int(only)


def _read_range_total(answer: Answer, length: int | None) -> int:
    found = _match_content_range(answer)
    if found is None:
        raise SourceInvalid("The source answered 206 without a Content-Range of its own.")
    first, last, total = int(found[1]), int(found[2]), found[3]
    size = last + 1
    if first != 0 or (total != "*" and int(total) != size) or length not in {None, size}:
        raise SourceInvalid("The source answered another range than was asked for.")
    return size


def _read_beginning(answer: Answer, length: int | None, head_bytes: int) -> tuple[int, int | None]:
    """Return where the beginning of a file ends that was asked for, and how long the file is."""
    found = _match_content_range(answer)
    if found is None:
        raise SourceInvalid("The source answered 206 without a Content-Range of its own.")
    end, size = int(found[2]) + 1, None if found[3] == "*" else int(found[3])
    expected = {head_bytes} if size is None else {min(head_bytes, size)}
    # Some send all of the file in a 206, as an ingest asks for it.
    expected |= set() if size is None else {size}
    if int(found[1]) != 0 or end not in expected or length not in {None, end}:
        raise SourceInvalid("The source answered another range than was asked for.")
    return end, size


def _is_whole(answer: Answer, length: int | None) -> bool:
    # Content-Range means nothing in a 200, so only one that is plain counts against the answer.
    found = _match_content_range(answer)
    if found is None:
        return True
    size = int(found[2]) + 1
    return int(found[1]) == 0 and found[3] in {"*", str(size)} and length in {None, size}


def _is_rest(answer: Answer, length: int | None, resume: Resume) -> bool:
    found = _match_content_range(answer)
    if found is None or found[3] == "*":
        return False
    wanted = (resume.from_byte, resume.end_byte - 1, resume.size_bytes)
    if (int(found[1]), int(found[2]), int(found[3])) != wanted:
        return False
    return length in {None, resume.end_byte - resume.from_byte}


def _match_content_range(answer: Answer) -> re.Match[str] | None:
    return _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())


def _read_strong_etag(answer: Answer) -> str | None:
    etag = answer.headers.get("ETag", "").strip()
    return etag if _STRONG_ETAG.fullmatch(etag) else None
