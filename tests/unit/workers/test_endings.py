"""What an attempt is said to have failed of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from ingest.errors import (
    HeadraceError,
    SourceDns,
    SourceNotFound,
    SourceNotMedia,
    SourceTimeout,
    SourceTruncated,
    SourceUnavailable,
    StorageUnavailable,
)
from ingest.urls import ObjectUrl, SourceUrl, parse_source_url
from workers.attempt import Attempt
from workers.endings import find_cause

SENT = ObjectUrl.of_upload("file_01m859r1yny08r1ap8hz69hcss")


def find(url: SourceUrl | ObjectUrl, error: HeadraceError) -> HeadraceError:
    return find_cause(cast("Attempt", SimpleNamespace(url=url)), error)


@pytest.mark.parametrize("error", [SourceDns, SourceTimeout, SourceTruncated, SourceUnavailable])
def test_what_was_sent_is_missing_by_the_fault_of_the_store(error: type[HeadraceError]) -> None:
    assert isinstance(find(SENT, error("No.")), StorageUnavailable)


@pytest.mark.parametrize("error", [SourceNotFound, SourceNotMedia, StorageUnavailable])
def test_whatever_else_was_sent_is_wrong_by_itself(error: type[HeadraceError]) -> None:
    raised = error("No.")
    assert find(SENT, raised) is raised


@pytest.mark.parametrize(
    "url", [parse_source_url("http://source.example/a.mp4"), ObjectUrl("archive", "a.mp4")]
)
def test_a_source_of_somebody_else_is_missing_by_its_own_fault(url: SourceUrl | ObjectUrl) -> None:
    raised = SourceUnavailable("No.")
    assert find(url, raised) is raised
