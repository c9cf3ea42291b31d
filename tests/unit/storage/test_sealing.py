"""Sealing: what is sealed is opened by any of the keys, and by nothing else."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import pytest
from pydantic import SecretStr

from ingest.errors import ConfigError, SecretUnreadable
from storage.sealing import Sealer

FIRST, SECOND, THIRD = (
    SecretStr(base64.urlsafe_b64encode(bytes([byte]) * 32).decode()) for byte in (1, 2, 3)
)
SECRET = b"hunter7"


def test_what_is_sealed_is_opened_and_not_seen() -> None:
    sealed = Sealer([FIRST]).seal(SECRET)
    assert SECRET not in sealed
    assert Sealer([FIRST]).open(sealed) == SECRET
    assert Sealer([FIRST]).seal(SECRET) != sealed


@pytest.mark.parametrize("keys", [[SECOND, FIRST], [FIRST, SECOND], [THIRD, SECOND, FIRST]])
def test_a_new_key_is_put_first_and_the_old_one_opens_still(keys: Sequence[SecretStr]) -> None:
    assert Sealer(keys).open(Sealer([FIRST]).seal(SECRET)) == SECRET


def test_the_first_key_seals() -> None:
    sealed = Sealer([SECOND, FIRST]).seal(SECRET)
    assert Sealer([SECOND]).open(sealed) == SECRET
    with pytest.raises(SecretUnreadable):
        Sealer([FIRST]).open(sealed)


@pytest.mark.parametrize("keys", [[], [SECOND]])
def test_what_no_key_opens_is_told_so(keys: Sequence[SecretStr]) -> None:
    with pytest.raises(SecretUnreadable, match="HEADRACE_SECRET_KEYS"):
        Sealer(keys).open(Sealer([FIRST]).seal(SECRET))


@pytest.mark.parametrize("at", [0, 1, 9, 30, -1])
def test_what_was_changed_is_not_opened(at: int) -> None:
    sealed = bytearray(Sealer([FIRST]).seal(SECRET))
    sealed[at] ^= 1
    with pytest.raises(SecretUnreadable):
        Sealer([FIRST]).open(bytes(sealed))


def test_nothing_is_sealed_without_a_key() -> None:
    assert not Sealer([]).can_seal
    with pytest.raises(ConfigError, match="HEADRACE_SECRET_KEYS"):
        Sealer([]).seal(SECRET)
