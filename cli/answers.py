"""What the CLI understands of the API's answers.

Invariant: only the fields that are used are asked for, so that an older CLI understands a newer
API; the rest passes through untouched in ``raw``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, Field, ValidationError

from cli.problems import Unreachable
from ingest.states import ENDED, Status

JsonDict = dict[str, object]
M = TypeVar("M", bound=BaseModel)


class Transfer(BaseModel):
    """How far a running attempt is."""

    bytes: int
    total: int | None
    rate_bps: int
    eta_s: float | None


class Failure(BaseModel):
    """Why a task failed."""

    code: str
    message: str
    retryable: bool


class File(BaseModel):
    """A File; ``raw`` is all of it as it came."""

    id: str
    url: str
    checksum: str | None
    filesize: int
    raw: JsonDict = Field(exclude=True)


class Task(BaseModel):
    """A Task; ``raw`` is all of it as it came."""

    id: str
    status: Status
    progress: int
    transfer: Transfer | None
    error: Failure | None
    output: JsonDict | None
    raw: JsonDict = Field(exclude=True)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDED

    @property
    def file(self) -> File | None:
        """The File it made, once it is complete."""
        return None if self.output is None else read_answer(File, self.output)


class Listing(BaseModel):
    """One page of a list."""

    total: int
    page: int
    pages: int
    items: list[JsonDict]


def read_answer(model: type[M], data: Mapping[str, object]) -> M:
    """Read a resource; what is not understood is Unreachable, since it is not our API's."""
    try:
        return model.model_validate({**data, "raw": data})
    except ValidationError as error:
        raise Unreachable(f"The API's answer is not understood: {error}") from None
