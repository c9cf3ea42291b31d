"""Of what ffprobe says only that is taken which has the right type and lies in bounds."""

from __future__ import annotations

import pytest

from workers.probed import as_count, as_integer, as_list, as_mapping, as_number, as_text, clean_text


def test_the_wrong_type_is_nothing() -> None:
    assert as_list({"a": 1}) == []
    assert as_mapping([1]) == {}
    assert as_text(5) is as_text("") is None


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("12.5", 12.5),
        (3, 3.0),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("x", None),
        (None, None),
    ],
)
def test_a_number_is_finite(value: object, number: float | None) -> None:
    assert as_number(value) == number


def test_a_count_is_above_zero() -> None:
    assert (as_integer("0"), as_count("0"), as_count("-1"), as_count("7")) == (0, None, None, 7)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\0b\x1b[31mc\r\nd", "a b [31mc  d"),
        ("  spaced  ", "spaced"),
        ("\n\t\0", None),
        ("\ud800x", "x"),
        ("a\u2028b", "a b"),
        ("Zoë 👩‍🚀", "Zoë 👩‍🚀"),
        (5, None),
        ("", None),
    ],
)
def test_text_is_one_line_without_control_characters(value: object, shown: str | None) -> None:
    assert clean_text(value, 50) == shown


def test_text_is_cut_to_its_length() -> None:
    assert clean_text("x" * 10_000_000, 10) == "x" * 10
