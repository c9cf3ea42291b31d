"""A signature is good for what it was made for, until its end, and for nothing else."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from dataclasses import astuple, fields, replace

import pytest
from pydantic import SecretStr

from ingest.errors import ConfigError
from ingest.model import FileAccess, IfExists
from ingest.url_signatures import Grant, SignedMethod, UrlSigner

NOW = 1_800_000_000
GRANT = Grant(SignedMethod.PUT, "prj_1", "p/a/b.mp4", NOW + 60)
OTHERS = {
    "method": SignedMethod.GET,
    "project_id": "prj_2",
    "name": "p/a/c.mp4",
    "expiry": NOW + 61,
    "if_exists": IfExists.OVERWRITE,
    "access": FileAccess.SIGNED,
}


def make_key(letter: bytes) -> SecretStr:
    return SecretStr(base64.urlsafe_b64encode(letter * 32).decode())


def make_signer(*letters: bytes, now: float = NOW) -> UrlSigner:
    return UrlSigner([make_key(one) for one in letters], lambda: now)


def test_a_signature_is_good_for_what_it_was_made_for() -> None:
    signer = make_signer(b"a")
    assert signer.count_seconds(GRANT, signer.sign(GRANT)) == 60


def test_every_part_of_a_grant_is_among_those_that_are_changed_here() -> None:
    assert [one.name for one in fields(Grant)] == list(OTHERS)


@pytest.mark.parametrize("name", OTHERS)
def test_a_signature_is_good_for_no_other(name: str) -> None:
    signer = make_signer(b"a")
    other = replace(GRANT, **{name: OTHERS[name]})  # type: ignore[arg-type]  # by its name
    assert signer.count_seconds(other, signer.sign(GRANT)) == 0
    assert signer.sign(other) != signer.sign(GRANT)


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "",
        lambda text: text[:-1],
        lambda text: text + "0",
        lambda text: text.upper(),
        lambda text: ("1" if text[0] == "0" else "0") + text[1:],
        lambda text: f" {text}",
        lambda text: text + "\u00fc",
        lambda _: "\ud800",
    ],
    ids=range(8),
)
def test_a_signature_that_was_changed_is_none(change: Callable[[str], str]) -> None:
    signer = make_signer(b"a")
    signed = signer.sign(GRANT)
    assert any(one.isalpha() for one in signed)
    assert signer.count_seconds(GRANT, change(signed)) == 0


@pytest.mark.parametrize(
    ("late_s", "left_s"), [(0, 60), (59.5, 0.5), (60, 0), (60.001, 0), (1e6, 0), (-10, 70)]
)
def test_a_signature_is_good_until_its_end_and_not_at_it(late_s: float, left_s: float) -> None:
    signed = make_signer(b"a").sign(GRANT)
    later = make_signer(b"a", now=NOW + late_s)
    assert later.count_seconds(GRANT, signed) == pytest.approx(left_s)


def test_the_newest_key_signs_and_each_verifies() -> None:
    old, both, new = make_signer(b"a"), make_signer(b"b", b"a"), make_signer(b"b")
    assert both.sign(GRANT) == new.sign(GRANT) != old.sign(GRANT)
    assert both.count_seconds(GRANT, old.sign(GRANT)) == 60
    assert new.count_seconds(GRANT, old.sign(GRANT)) == 0


def test_what_one_field_has_more_of_is_not_taken_for_what_another_has() -> None:
    signer = make_signer(b"a")
    one = replace(GRANT, project_id="prj_1", name='","x')
    other = replace(GRANT, project_id='prj_1","', name="x")
    assert signer.sign(one) != signer.sign(other)


def test_without_a_key_nothing_is_signed_and_nothing_is_good() -> None:
    signed = make_signer(b"a").sign(GRANT)
    keyless = make_signer()
    assert keyless.count_seconds(GRANT, signed) == 0
    with pytest.raises(ConfigError, match="HEADRACE_SECRET_KEYS"):
        keyless.sign(GRANT)


def test_the_key_that_seals_is_not_the_key_that_signs() -> None:
    message = json.dumps(astuple(GRANT)).encode()
    raw = [hmac.new(key, message, "sha256").hexdigest() for key in (b"a" * 32, b"a" * 16)]
    assert make_signer(b"a").sign(GRANT) not in raw
