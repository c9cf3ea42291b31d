"""Fields that several requests have besides those of orders."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

from ingest.events import check_topics
from ingest.order_fields import let_name
from storage.records import listing

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CURSOR = r"^[a-z]{2,8}_[0-9a-z]{26}$"


class Window(BaseModel):
    """The part of a list that a query asks for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    page: int = Field(1, ge=1, le=1_000_000, description="Page number.")
    limit: int = Field(20, ge=1, le=100, description="Items per page.")
    after: str | None = Field(None, pattern=_CURSOR, description="Go on after this id (older).")
    before: str | None = Field(None, pattern=_CURSOR, description="Go back before this id (newer).")
    sort: Literal["-created", "created"] = Field(
        "-created", description="Newest first, or oldest first; `after` goes on in that direction."
    )

    def to_window(self) -> listing.Window:
        """Return what is asked for in the words of the records."""
        return listing.Window(
            self.page, self.limit, self.after, self.before, ascending=self.sort == "created"
        )


def _require_moment(value: object) -> object:
    # Else a number, in quotes or not, would pass for seconds since 1970.
    if not isinstance(value, str) or _DATE.match(value) is None:
        raise ValueError("takes a time as ISO 8601 text")
    return value


def _refuse_null(value: object) -> object:
    if value is None:
        raise ValueError("takes no null; leave it out to keep it as it is")
    return value


Topics = Annotated[list[str], AfterValidator(let_name(lambda names: list(check_topics(names))))]
Moment = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_require_moment)]
QueryMoment = Annotated[datetime, BeforeValidator(_require_moment)]
# Of a change: what may be left out and is never nothing.
NotNull = BeforeValidator(_refuse_null)
