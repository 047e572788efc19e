"""The table of action units moves what it says, and only what can be shown together is drawn together."""

from __future__ import annotations

import numpy as np
import pytest

from llava_faba.demo.faces.action_units import ACTION_UNITS, clashes, displacements, lids
from llava_faba.demo.faces.anatomy import MIRROR, anchors, soft_points
from llava_faba.demo.faces.portraits import load_portrait
from llava_faba.demo.faces.prototypes import PROTOTYPES, draw_prototype, draw_units

EVEN = np.ones(2)


def test_every_scored_unit_of_the_faba_protocol_is_there_but_none_without_a_name() -> None:
    assert {1, 2, 4, 5, 6, 10, 12, 17, 24, 25, 26, 43} <= set(ACTION_UNITS)
    assert list(ACTION_UNITS) == sorted(ACTION_UNITS)
    for number, unit in ACTION_UNITS.items():
        assert unit.number == number
        assert unit.name and unit.muscle and unit.origin


@pytest.mark.parametrize(
    ("unit", "point", "axis", "sign"),
    [
        (1, 21, 1, -1),  # the inner brow goes up: y falls
        (2, 18, 1, -1),
        (4, 21, 1, +1),
        (4, 21, 0, +1),  # the left inner brow goes to the middle
        (5, 37, 1, -1),
        (12, 48, 1, -1),
        (12, 48, 0, -1),
        (15, 48, 1, +1),
        (17, 8, 1, -1),
        (20, 54, 0, +1),
        (26, 8, 1, +1),
    ],
)
def test_a_unit_moves_its_landmark_the_way_facs_says(unit: int, point: int, axis: int, sign: int) -> None:
    moved = displacements({unit: 1.0}, EVEN)[point, axis]
    assert sign * moved > 0.02


@pytest.mark.parametrize("unit", sorted(ACTION_UNITS))
def test_both_halves_of_the_face_mirror_each_other(unit: int) -> None:
    moved = displacements({unit: 1.0}, EVEN)[:68]
    other = moved[list(MIRROR)] * (-1.0, 1.0)
    np.testing.assert_allclose(moved, other, atol=1e-12)


def test_movements_grow_with_intensity_and_add_up() -> None:
    one, two = displacements({1: 1.0}, EVEN), displacements({2: 1.0}, EVEN)
    np.testing.assert_allclose(displacements({1: 0.5, 2: 1.0}, EVEN), 0.5 * one + two)
    assert not displacements({}, EVEN).any()


def test_a_side_can_be_weaker() -> None:
    moved = displacements({12: 1.0}, np.array([0.5, 1.0]))
    assert abs(moved[48, 1]) == pytest.approx(0.5 * abs(moved[54, 1]))


def test_lids_never_cover_more_than_the_eye() -> None:
    upper, lower = lids({6: 1.0, 43: 1.0}, np.array([1.15, 0.9]))
    assert (upper + lower <= 1 + 1e-9).all()
    assert (upper > 0.7).all()
    assert not lids({12: 1.0}, EVEN)[0].any()


def test_no_unit_moves_hair_neck_or_the_border() -> None:
    points = load_portrait("collins").points
    still = anchors(points)
    movable = np.vstack([points, soft_points(points)])
    gaps = np.linalg.norm(still[:, None] - movable[None], axis=2)
    assert gaps.min() > 0.1  # an anchor on top of a moving point would fold the picture


def test_free_combinations_never_clash_and_a_dropped_jaw_parts_the_lips() -> None:
    rng = np.random.default_rng(3)
    drawn = [draw_units(rng) for _ in range(500)]
    assert all(drawn)
    assert not any(clashes(units) for units in drawn)
    assert all(25 in units for units in drawn if 26 in units)
    assert max(map(len, drawn)) <= 5
    assert len(set(drawn)) > 150


@pytest.mark.parametrize("emotion", sorted(PROTOTYPES))
def test_prototypes_hold_a_core_and_never_clash(emotion: str) -> None:
    rng = np.random.default_rng(5)
    cores = [set(core) for core in PROTOTYPES[emotion].cores]
    for _ in range(200):
        units = draw_prototype(emotion, rng)
        assert any(core <= units for core in cores)
        assert not clashes(units)
        assert units <= set(ACTION_UNITS)
        assert (26 not in units) or (25 in units)


def test_no_combination_is_the_core_of_two_emotions() -> None:
    cores = [frozenset(core) for prototype in PROTOTYPES.values() for core in prototype.cores]
    assert len(cores) == len(set(cores))
