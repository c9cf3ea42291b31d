"""HEIF's own properties: how the primary item is turned, and whether there is alpha."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.heif import make_alpha, make_box, make_imir, make_irot, make_meta
from workers.heif import Heif, read_heif
from workers.turning import Turn

FTYP = make_box(b"ftyp", b"heic\0\0\0\0mif1heic")
SIZE = make_box(b"ispe", bytes(12))


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(
    ("properties", "turn"),
    [
        ([SIZE], Turn(0)),
        ([SIZE, make_irot(1)], Turn(270)),
        ([SIZE, make_irot(2)], Turn(180)),
        ([SIZE, make_irot(3)], Turn(90)),
        ([SIZE, make_imir(1)], Turn(0, mirrored=True)),
        ([SIZE, make_imir(0)], Turn(180, mirrored=True)),
        ([SIZE, make_irot(3), make_imir(1)], Turn(270, mirrored=True)),
        ([SIZE, make_imir(1), make_irot(3)], Turn(90, mirrored=True)),
    ],
)
def test_the_primary_item_is_turned_by_its_properties_in_their_order(
    properties: list[bytes], turn: Turn, version: int, *, wide: bool
) -> None:
    content = FTYP + make_meta(properties, version=version, wide=wide)
    assert read_heif(memoryview(content)) == Heif(turn, alpha=False)


def test_another_items_properties_turn_nothing() -> None:
    content = FTYP + make_meta([make_irot(1)])
    first_alone = content.replace(b"\0\2\1\x81", b"\0\3\1\x81")
    assert read_heif(memoryview(content)) == Heif(Turn(270), alpha=False)
    assert read_heif(memoryview(first_alone)) == Heif(Turn(0), alpha=False)


def test_alpha_is_an_item_of_its_own() -> None:
    content = FTYP + make_meta([SIZE, make_alpha()])
    assert read_heif(memoryview(content)) == Heif(Turn(0), alpha=True)


def test_what_is_cut_short_says_nothing() -> None:
    content = FTYP + make_meta([SIZE, make_irot(1)])
    for end in range(len(content)):
        assert read_heif(memoryview(content[:end])) is None


@given(st.data())
def test_whatever_stands_there_is_read_in_order(data: st.DataObject) -> None:
    content = bytearray(FTYP + make_meta([SIZE, make_irot(1), make_alpha()]))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    found = read_heif(memoryview(content))
    assert found is None or found.turn.rotation in {0, 90, 180, 270}
