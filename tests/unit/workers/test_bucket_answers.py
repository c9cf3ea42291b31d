"""What the store of a connection answers: whose fault it is, and whether it may be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from ingest.errors import SourceForbidden, SourceTruncated, SourceUnavailable
from tests.unit.workers.test_fetch import FakeAnswer
from workers.bucket_answers import MOST_BODY_BYTES, OPERATORS_CODES, BucketJudge
from workers.egress import Answer

JUDGE = BucketJudge("archive", own=False)
FILE_ID = [("x-amz-meta-headrace-file-id", "file_1")]


def make_error(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Key>k</Key></Error>".encode()


def judge(answer: FakeAnswer, by: BucketJudge = JUDGE) -> None:
    by(cast("Answer", answer))


@pytest.mark.parametrize("code", sorted(OPERATORS_CODES))
@pytest.mark.parametrize("status", [400, 403])
def test_what_the_operator_has_to_mend_is_worth_another_try(status: int, code: str) -> None:
    with pytest.raises(SourceUnavailable, match=rf"'s3://archive' refuses .* \({code}\)\.$"):
        judge(FakeAnswer(status, pieces=[make_error(code)]))


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidObjectState", "NoSuchKey", "a b", ""])
@pytest.mark.parametrize("status", [400, 403])
def test_any_other_refusal_is_left_to_whoever_judges_sources(status: int, code: str) -> None:
    judge(FakeAnswer(status, pieces=[make_error(code)]))


@pytest.mark.parametrize("status", [200, 206, 404, 412, 416, 500, 503])
def test_no_other_answer_is_read(status: int) -> None:
    unread = [make_error("InvalidAccessKeyId")]
    judge(answer := FakeAnswer(status, pieces=unread))
    assert answer.read_into(memoryview(bytearray(4))) == 4


@pytest.mark.parametrize("status", [301, 302, 303, 304, 307, 308])
def test_a_redirect_is_the_operators_to_mend(status: int) -> None:
    with pytest.raises(SourceUnavailable, match=rf"\({status}\)\.$"):
        judge(FakeAnswer(status, [("Location", "http://elsewhere/")]))
    with pytest.raises(SourceUnavailable, match=r"\(PermanentRedirect\)\.$"):
        judge(FakeAnswer(status, pieces=[make_error("PermanentRedirect")]))


def test_a_code_is_found_in_whatever_pieces_it_comes() -> None:
    body = make_error("RequestTimeTooSkewed")
    with pytest.raises(SourceUnavailable):
        judge(FakeAnswer(403, pieces=[body[:30], body[30:]]))


def test_no_more_of_a_refusal_is_read_than_an_error_document_has() -> None:
    judge(FakeAnswer(403, pieces=[b" " * MOST_BODY_BYTES, make_error("InvalidAccessKeyId")]))
    given = 0

    def drip() -> Iterator[bytes]:
        nonlocal given
        while True:
            given += 1
            yield b" "

    judge(FakeAnswer(403, pieces=drip()))
    assert given < 20


def test_a_refusal_that_breaks_off_is_one_without_a_code() -> None:
    class Broken(FakeAnswer):
        def read_into(self, view: memoryview) -> int:
            raise SourceTruncated(f"{len(view)}")

    judge(Broken(403))
    with pytest.raises(SourceUnavailable, match=r"\(302\)"):
        judge(Broken(302))


@pytest.mark.parametrize("status", [200, 206])
def test_a_file_of_ours_is_no_source(status: int) -> None:
    own = BucketJudge("archive", own=True)
    with pytest.raises(SourceForbidden, match="file of this Headrace"):
        judge(FakeAnswer(status, FILE_ID), own)
    judge(FakeAnswer(status, [("x-amz-meta-other", "1")]), own)
    # Another Headrace's.
    judge(FakeAnswer(status, FILE_ID))
