"""What the store of a connection answers, judged before it is taken for the answer of a source.

Invariants: no object that Headrace has stored is read through a connection to the bucket it lies
in, whatever key led to it; what only the operator can mend (a key, a clock, a region) ends no
user's task at once, since it is mended in the meantime.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingest.errors import IngestError, SourceForbidden, SourceUnavailable
from workers.placement import META_FILE_ID

if TYPE_CHECKING:
    from workers.egress import Answer

# "Error responses" in the S3 API reference.
OPERATORS_CODES = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "AuthorizationQueryParametersError",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
    }
)
MOST_BODY_BYTES = 4096
# A store that drips must not hold an attempt for as many times its time limit as there are bytes.
_MOST_READS = 8
_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")
_FILE_ID = f"x-amz-meta-{META_FILE_ID}"


@dataclass(frozen=True, slots=True)
class BucketJudge:
    """Judges the answers of one connection.

    Attributes:
        name: of the connection.
        own: whether its bucket may be the one that files land in; by its name, since one server
            may have many addresses.
    """

    name: str
    own: bool

    def __call__(self, answer: Answer) -> None:
        """Let an answer pass that is an object's, or a refusal like any source's.

        Raises:
            SourceForbidden: the object is a file of this Headrace's.
            SourceUnavailable: the store refuses what the operator has set up, or redirects.
        """
        if self.own and _FILE_ID in answer.headers:
            raise SourceForbidden("The object is a file of this Headrace's, and no source.")
        redirects = 300 <= answer.status < 400
        if not redirects and answer.status not in {400, 403}:
            return
        code = _read_code(answer)
        if redirects or code in OPERATORS_CODES:
            raise SourceUnavailable(
                f"The store of 's3://{self.name}' refuses the connection's key, clock or region "
                f"({code or answer.status})."
            )


def _read_code(answer: Answer) -> str:
    body = bytearray(MOST_BODY_BYTES)
    filled = 0
    with suppress(IngestError):
        for _ in range(_MOST_READS):
            count = answer.read_into(memoryview(body)[filled:])
            filled += count
            if not count or filled == len(body):
                break
    found = _CODE.search(body[:filled])
    return "" if found is None else found[1].decode()
