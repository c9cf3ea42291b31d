"""docs/sources.md against the setting it describes and the answers it shows."""

from __future__ import annotations

import json
import re
from typing import cast

from ingest.config import MIB
from ingest.connections import CONNECTION_FIELDS, parse_connections
from ingest.urls import ObjectUrl, parse_order_url
from storage.objects.refusals import NO_COPY_CODES
from tests.support.pages import find_blocks, find_table, read_page
from workers.copying import PART_BYTES

_PAGE = read_page("docs/sources.md")
_ANSWER, _SETTING = (block.text for block in find_blocks(_PAGE, "json"))


def test_the_connections_that_are_shown_are_taken() -> None:
    archive, uploads, partner = parse_connections(_SETTING)
    assert (archive.bucket, archive.in_own_store) == ("archive", True)
    assert uploads.allows("prj_01m859r1yny08r1ap8hz69hcss", "done/a.mp4")
    assert not uploads.allows("prj_other", "done/a.mp4")
    assert not partner.in_own_store


def test_every_field_of_a_connection_is_in_the_table() -> None:
    names = [re.findall(r"`(\w+)`", row[0]) for row in find_table(_PAGE, "field").rows]
    assert {name for found in names for name in found} == CONNECTION_FIELDS


def test_the_answer_that_is_shown_is_an_error_of_the_api() -> None:
    error = cast("dict[str, object]", json.loads(_ANSWER)["error"])
    assert str(error["message"]) in read_page("storage/planning.py")


def test_the_order_that_is_shown_is_for_an_object() -> None:
    (order,) = re.findall(r"-d '(.*)'", find_blocks(_PAGE, "console")[0].text)
    url = parse_order_url(json.loads(order)["url"])
    assert url == ObjectUrl("archive", "2024/film #1.mp4")


def test_the_refusals_that_lead_to_a_download_are_those_of_the_code() -> None:
    (listed,) = re.findall(r"refuses to copy \(([^)]*)\)", " ".join(_PAGE.split()))
    assert set(re.findall(r"`(\w+)`", listed)) == NO_COPY_CODES - {""}


def test_the_size_of_copied_parts_is_that_of_the_code() -> None:
    assert f"Parts of {PART_BYTES // MIB} MiB" in _PAGE
