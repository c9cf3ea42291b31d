"""Orders that overwrite, and addresses that are handed out, at the edges."""

from __future__ import annotations

import secrets

import pytest
import requests

from storage.objects.s3 import S3ObjectStore
from tests.support.api import Api, read_object
from tests.support.origin import Origin
from tests.support.waiting import wait_until


@pytest.fixture
def folder() -> str:
    """A folder that nobody else has."""
    return f"review/{secrets.token_hex(6)}"


def test_an_order_without_a_filename_may_say_overwrite(
    api: Api, picture_url: str, folder: str
) -> None:
    order = {"url": picture_url, "folder": folder, "if_exists": "overwrite"}
    assert read_object(api.post("/files", order), 201)["folder"] == folder


def test_a_redirect_that_may_be_cached_leads_to_the_file_for_as_long_as_it_may(
    api: Api, store: S3ObjectStore, picture_url: str, video: bytes, origin: Origin, folder: str
) -> None:
    order = {"folder": folder, "filename": "a.bin", "if_exists": "overwrite"}
    read_object(api.post("/files", {"url": picture_url, **order}), 201)
    url = origin.serve(f"/{folder}/v.mp4", video)
    new = read_object(api.post("/files", {"url": url, **order}), 201)

    told = requests.get(str(new["url"]), timeout=10, allow_redirects=False)
    assert told.status_code == 302
    cached = "max-age" in told.headers["Cache-Control"]
    wait_until(lambda: list(store.list_keys(f"{folder}/")) == [f"{folder}/a.bin"], "the move", 20)

    answer = requests.get(told.headers["Location"], timeout=10)
    assert not cached or answer.status_code == 200, told.headers["Cache-Control"]
