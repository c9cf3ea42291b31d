"""Turns: EXIF's eight, matrices, and one after another."""

from __future__ import annotations

from itertools import product

import pytest

from workers.turning import Turn, join_turns, read_turn, turn_by_matrix, turn_by_orientation

ALL = [Turn(rotation, mirrored) for rotation, mirrored in product((0, 90, 180, 270), (False, True))]


def spell_matrix(a: int, b: int, c: int, d: int) -> str:
    """Return a display matrix as ffprobe prints it."""
    rows = [(a * 65536, b * 65536, 0), (c * 65536, d * 65536, 0), (0, 0, 1 << 30)]
    lines = [
        f"{number:08x}: " + "".join(f"{value:13d}" for value in row)
        for number, row in enumerate(rows)
    ]
    return "\n" + "\n".join(lines) + "\n"


# What Exif's orientations do to a picture whose pixel (x, y) lies right and down of its middle.
MATRICES = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, Turn(0)),
        (2, Turn(0, mirrored=True)),
        (3, Turn(180)),
        (4, Turn(180, mirrored=True)),
        (5, Turn(270, mirrored=True)),
        (6, Turn(90)),
        (7, Turn(90, mirrored=True)),
        (8, Turn(270)),
        (0, None),
        (9, None),
        (None, None),
    ],
)
def test_an_orientation_is_a_mirror_and_a_turn(orientation: int | None, turn: Turn | None) -> None:
    assert turn_by_orientation(orientation) == turn


@pytest.mark.parametrize("orientation", MATRICES)
def test_a_matrix_means_what_the_orientation_does_that_does_the_same(orientation: int) -> None:
    assert turn_by_matrix(*MATRICES[orientation]) == turn_by_orientation(orientation)
    side = {"displaymatrix": spell_matrix(*MATRICES[orientation]), "rotation": 77}
    assert read_turn({"side_data_list": [{}, side]}) == turn_by_orientation(orientation)


@pytest.mark.parametrize(("first", "second"), list(product(ALL, ALL)))
def test_two_turns_come_to_one_that_does_the_same(first: Turn, second: Turn) -> None:
    def turn(point: tuple[int, int], one: Turn) -> tuple[int, int]:
        x, y = point
        x = -x if one.mirrored else x
        for _ in range(one.rotation // 90):
            x, y = -y, x
        return x, y

    for point in ((3, 1), (-2, 5)):
        assert turn(turn(point, first), second) == turn(point, join_turns(first, second))


@pytest.mark.parametrize(
    ("stream", "turn"),
    [
        ({}, None),
        ({"side_data_list": [{"displaymatrix": "nonsense"}]}, None),
        ({"side_data_list": [{"rotation": -90}]}, Turn(90)),
        ({"tags": {"rotate": "270"}}, Turn(270)),
        ({"tags": {"rotate": "nan"}}, None),
    ],
)
def test_what_ffprobe_says_without_a_matrix_is_taken_too(
    stream: dict[str, object], turn: Turn | None
) -> None:
    assert read_turn(stream) == turn


def test_a_matrix_that_is_no_right_angle_is_taken_for_the_nearest() -> None:
    assert turn_by_matrix(0.7, 0.72, -0.72, 0.7) == Turn(90)
    assert turn_by_matrix(0, 0, 0, 0) == Turn(0)
