"""Lists that lie in a connected bucket, and dry runs that ask for objects of one."""

from __future__ import annotations

from typing import cast

import pytest

from storage.objects.s3 import S3ObjectStore
from tests.e2e.objects.examples import HEADERS
from tests.support.api import Api, JsonDict, read_error
from tests.support.batches import check_sources, order_list, read_results, wait_until_over

LIST = b"url,filename\ns3://archive/lists/a.gif,from-list.gif\ns3://others/lists/a.gif,\n"
GIF = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,"
    b"\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)


@pytest.fixture(scope="package", autouse=True)
def archived(buckets: dict[str, S3ObjectStore]) -> None:
    """A list and a picture in the bucket."""
    buckets["archive"].put("lists/list.csv", LIST, HEADERS, overwrite=True)
    buckets["archive"].put("lists/a.gif", GIF, HEADERS, overwrite=True)


def test_a_list_in_a_bucket_is_read_through_its_connection(api: Api) -> None:
    url = "s3://archive/lists/list.csv"
    batch = order_list(api, url)
    over = wait_until_over(api, batch)
    assert (over["status"], over["source_url"]) == ("complete", url)
    assert [(row["line"], row["status"]) for row in read_results(api, batch)] == [
        (2, "complete"), (3, "rejected")
    ]  # fmt: skip
    missing = wait_until_over(api, order_list(api, "s3://archive/lists/none.csv"))
    assert cast("JsonDict", missing["error"])["code"] == "source_not_found"
    hidden = {"source_url": "s3://others/lists/list.csv"}
    assert read_error(api.post("/batches", hidden), 422, "field_invalid")["param"] == "source_url"


def test_objects_are_checked_through_their_connection(api: Api) -> None:
    urls = ["s3://archive/lists/a.gif", "s3://archive/lists/none.gif", "s3://nowhere/a.gif"]
    batch = check_sources(api, [{"url": url} for url in urls])
    wait_until_over(api, batch)
    good, *bad = read_results(api, batch)
    assert (good["status"], good["type"], good["filesize"]) == ("ok", "image/gif", len(GIF))
    assert good["etag"]
    assert [row["error_code"] for row in bad] == ["source_not_found", "source_not_found"]
