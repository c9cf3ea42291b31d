"""A wrong region is told, with the setting to mend, and nothing else is taken for one."""

from __future__ import annotations

import pytest

from ingest.config import Settings
from ingest.errors import StorageUnavailable
from storage.objects.wire import Wire
from tests.integration.wire.conftest import Store, put, refuse

ELSEWHERE = "eu-central-1"


@pytest.mark.parametrize(
    ("answer", "region"),
    [
        (refuse(400, "AuthorizationHeaderMalformed", f"<Region>{ELSEWHERE}</Region>"), None),
        (refuse(400, "IllegalLocationConstraintException"), ELSEWHERE),
        (refuse(301, "PermanentRedirect"), ELSEWHERE),
        ((301, b""), ELSEWHERE),
    ],
    ids=["signature", "location", "redirect", "moved"],
)
def test_a_bucket_in_another_region_is_a_setting_to_mend(
    answer: tuple[int, bytes], region: str | None, wire: Wire, store: Store, settings: Settings
) -> None:
    store.answers, store.region = (answer,), region
    with pytest.raises(StorageUnavailable) as caught:
        put(wire)
    for word in ("HEADRACE_S3_REGION", ELSEWHERE, settings.s3_region, settings.s3_bucket):
        assert word in caught.value.message
    assert len(store.taken) == 1


@pytest.mark.parametrize(
    "answer", [refuse(400, "AuthorizationHeaderMalformed"), refuse(301, "PermanentRedirect")]
)
def test_a_region_that_the_store_does_not_name_is_asked_about(
    answer: tuple[int, bytes], wire: Wire, store: Store
) -> None:
    store.answers = (answer,)
    with pytest.raises(StorageUnavailable, match=r"HEADRACE_S3_REGION.*right\?"):
        put(wire)


@pytest.mark.parametrize("answer", [refuse(403, "AccessDenied"), refuse(503, "SlowDown")])
def test_a_region_is_not_blamed_for_what_else_a_store_refuses(
    answer: tuple[int, bytes], wire: Wire, store: Store
) -> None:
    store.answers, store.region = (answer,), ELSEWHERE
    with pytest.raises(StorageUnavailable) as caught:
        put(wire)
    assert "REGION" not in caught.value.message


def test_a_check_asks_for_the_bucket_as_bodies_are_sent(
    wire: Wire, store: Store, settings: Settings
) -> None:
    wire.check()
    (taken,) = store.taken
    assert (taken.method, taken.target) == ("HEAD", f"/{settings.s3_bucket}")
    assert "Credential=key-one/" in taken.headers["authorization"]


# HEAD has no body that could name a code.
@pytest.mark.parametrize("status", [400, 301])
def test_a_check_tells_a_wrong_region(status: int, wire: Wire, store: Store) -> None:
    store.answers, store.region = ((status, b""),), ELSEWHERE
    with pytest.raises(StorageUnavailable, match=f"{ELSEWHERE}.*HEADRACE_S3_REGION"):
        wire.check()


@pytest.mark.parametrize("region", [None, ELSEWHERE], ids=["unsaid", "another"])
def test_a_check_says_nothing_of_a_region_that_the_store_does_not_mind(
    region: str | None, wire: Wire, store: Store
) -> None:
    store.region = region
    wire.check()


@pytest.mark.parametrize("status", [400, 403, 404, 503])
def test_a_check_that_is_refused_for_another_reason_does_not_speak_of_regions(
    status: int, wire: Wire, store: Store, settings: Settings
) -> None:
    store.answers, store.region = ((status, b""),), settings.s3_region
    with pytest.raises(StorageUnavailable) as caught:
        wire.check()
    assert "REGION" not in caught.value.message
