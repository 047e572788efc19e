"""The action units that the demo can show, as movements of landmarks: data, not code.

The names are those of the Facial Action Coding System (P. Ekman, W. V. Friesen and J. C. Hager, *Facial
Action Coding System*, 2002). The manual describes each unit in words (what moves, and where to); the sizes
below were chosen by eye on the two portraits so that the movement is natural and can be named, and are given
at full intensity (FACS D to E). Movements are written for the viewer's left half of the face and mirrored.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .anatomy import BROWS, MIRROR, MOVABLE, SOFT
from .warp import FloatArray

Move = tuple[float, float]


@dataclass(frozen=True)
class ActionUnit:
    """One action unit.

    Attributes:
        number: FACS number.
        name: FACS name.
        muscle: what contracts (or relaxes).
        moves: landmark (0..67, or a name of ``anatomy.SOFT`` without its side) -> (outwards, up) in face
            units, for the viewer's left side and the midline (where "outwards" is always 0).
        upper_lid, lower_lid: the share of the eye's opening that this lid covers.
        origin: which words of the FACS manual the shape follows.
    """

    number: int
    name: str
    muscle: str
    moves: dict[int | str, Move] = field(default_factory=dict)
    upper_lid: float = 0.0
    lower_lid: float = 0.0
    origin: str = ""


_UNITS = (
    ActionUnit(
        1, "Inner brow raiser", "frontalis, pars medialis",
        {21: (0.0, 0.155), 20: (0.0, 0.11), 19: (0.0, 0.04), "glabella": (0.0, 0.10),
         "forehead": (0.0, 0.04)},
        origin="pulls the inner part of the brows up",
    ),
    ActionUnit(
        2, "Outer brow raiser", "frontalis, pars lateralis",
        {17: (0.0, 0.09), 18: (0.0, 0.135), 19: (0.0, 0.12), 20: (0.0, 0.065), 21: (0.0, 0.015),
         "forehead": (0.0, 0.03)},
        origin="pulls the outer part of the brows up, arching them",
    ),
    ActionUnit(
        4, "Brow lowerer", "corrugator supercilii, depressor supercilii",
        {21: (-0.085, -0.105), 20: (-0.07, -0.09), 19: (-0.035, -0.07), 18: (-0.01, -0.04),
         27: (0.0, -0.02), "glabella": (0.0, -0.08)},
        origin="lowers the brows, the inner corners most, and draws them together",
    ),
    ActionUnit(
        5, "Upper lid raiser", "levator palpebrae superioris",
        {37: (0.0, 0.065), 38: (0.0, 0.065), 36: (0.0, 0.01), 40: (0.0, -0.012), 41: (0.0, -0.012)},
        origin="raises the upper lid, so that more of the eye's white shows above the iris",
    ),
    ActionUnit(
        6, "Cheek raiser", "orbicularis oculi, pars orbitalis",
        {"cheek": (0.03, 0.14), 36: (-0.01, 0.0), 40: (0.0, 0.035), 41: (0.0, 0.035), 17: (0.0, -0.03),
         18: (0.0, -0.02), "fold": (0.02, 0.05), 2: (0.02, 0.03)},
        lower_lid=0.36, upper_lid=0.06,
        origin="lifts the cheeks, pushes skin up under the eye and narrows it from below",
    ),
    ActionUnit(
        10, "Upper lip raiser", "levator labii superioris",
        {50: (0.0, 0.085), 51: (0.0, 0.07), 49: (0.0, 0.075), 61: (0.0, 0.05), 62: (0.0, 0.045),
         31: (0.025, 0.055), 32: (0.01, 0.035), 33: (0.0, 0.02), "fold": (0.02, 0.08), 48: (0.0, 0.01)},
        origin="raises the upper lip, its middle straight up, and deepens the fold beside the nose",
    ),
    ActionUnit(
        12, "Lip corner puller", "zygomaticus major",
        {48: (0.11, 0.12), 60: (0.105, 0.11), 49: (0.05, 0.05), 59: (0.06, 0.06), 50: (0.02, 0.0),
         58: (0.02, 0.01), 61: (0.02, 0.0), 67: (0.02, 0.0), "fold": (0.05, 0.07), "cheek": (0.03, 0.05),
         3: (0.02, 0.02), 4: (0.02, 0.01)},
        origin="pulls the corners of the lips back and up, in a slant",
    ),
    ActionUnit(
        15, "Lip corner depressor", "depressor anguli oris",
        {48: (0.015, -0.12), 60: (0.01, -0.105), 49: (0.01, -0.04), 59: (0.01, -0.07), 61: (0.0, -0.005),
         67: (0.0, -0.005), "fold": (0.0, -0.03)},
        origin="pulls the corners of the lips down",
    ),
    ActionUnit(
        17, "Chin raiser", "mentalis",
        {7: (0.0, 0.06), 8: (0.0, 0.08), "chin": (0.0, 0.11), 57: (0.0, 0.085), 58: (0.0, 0.08),
         59: (0.0, 0.04), 66: (0.0, 0.065), 67: (0.0, 0.055), 62: (0.0, 0.06), 61: (0.0, 0.05),
         51: (0.0, 0.045), 50: (0.0, 0.04), 48: (0.0, -0.015)},
        origin="pushes the chin boss and the lower lip up, so that the mouth curves upwards in its middle",
    ),
    ActionUnit(
        20, "Lip stretcher", "risorius",
        {48: (0.14, -0.035), 60: (0.13, -0.03), 49: (0.07, -0.015), 59: (0.08, 0.0), 50: (0.02, -0.015),
         58: (0.03, 0.015), 61: (0.03, 0.0), 67: (0.03, 0.0), 57: (0.0, 0.015), 3: (0.02, 0.0),
         4: (0.035, -0.01), 5: (0.02, -0.01), "fold": (0.05, -0.01)},
        origin="pulls the lips back sideways, which flattens and lengthens the mouth",
    ),
    ActionUnit(
        24, "Lip pressor", "orbicularis oris",
        {50: (-0.005, -0.055), 51: (0.0, -0.05), 49: (-0.03, -0.04), 57: (0.0, 0.075), 58: (-0.005, 0.07),
         59: (-0.03, 0.045), 48: (-0.05, 0.0), 60: (-0.045, 0.0)},
        origin="presses the lips together, so that they narrow and less of them shows",
    ),
    ActionUnit(
        25, "Lips part", "depressor labii, or relaxed mentalis or orbicularis oris",
        {50: (0.0, 0.025), 51: (0.0, 0.025), 61: (0.0, 0.035), 62: (0.0, 0.035), 66: (0.0, -0.075),
         67: (0.0, -0.07), 57: (0.0, -0.065), 58: (0.0, -0.06), 59: (0.0, -0.035), 49: (0.0, 0.01),
         "chin": (0.0, -0.02), 60: (-0.02, 0.0)},
        origin="parts the lips a little, the jaw hardly moving",
    ),
    ActionUnit(
        26, "Jaw drop", "masseter, relaxed temporalis and internal pterygoid",
        {3: (-0.005, -0.03), 4: (-0.01, -0.09), 5: (-0.01, -0.16), 6: (0.0, -0.21), 7: (0.0, -0.23),
         8: (0.0, -0.235), "chin": (0.0, -0.21), 57: (0.0, -0.185), 58: (0.0, -0.18), 59: (-0.01, -0.125),
         66: (0.0, -0.175), 67: (0.0, -0.165), 48: (-0.03, -0.055), 60: (-0.03, -0.055),
         49: (-0.01, -0.015), "fold": (-0.01, -0.02)},
        origin="lets the jaw fall, so that the teeth part and the chin drops",
    ),
    ActionUnit(
        43, "Eyes closed", "relaxed levator palpebrae superioris",
        {}, upper_lid=0.86, lower_lid=0.14,
        origin="lets the upper lid droop until it covers the eye",
    ),
)  # fmt: skip

ACTION_UNITS: dict[int, ActionUnit] = {unit.number: unit for unit in _UNITS}
"""The table, by FACS number, ascending."""

CONFLICTS: frozenset[frozenset[int]] = frozenset(
    frozenset(pair)
    for pair in (
        (24, 25),
        (24, 26),
        (24, 10),
        (24, 20),
        (5, 43),
        (12, 15),
        (17, 26),
        (17, 25),
        (15, 20),
        (12, 20),
        (15, 10),
    )
)
"""Pairs that a face can't show at once, or that can't be told apart when it does."""


def clashes(units: frozenset[int] | set[int]) -> bool:
    """Whether two of the units can't be shown together."""
    return any(pair <= units for pair in CONFLICTS)


def _rows(unit: ActionUnit) -> FloatArray:
    """Displacements of all movable points, (2, MOVABLE, 2): by the left and by the right side's share of the
    unit."""
    table = np.zeros((2, MOVABLE, 2))
    for place, (out, up) in unit.moves.items():
        if isinstance(place, str):
            left, right = _soft_pair(place)
        else:
            left, right = place, MIRROR[place]
        table[0, left] += (-out, -up) if left != right else (0.0, -up / 2)
        table[1, right] += (out, -up) if left != right else (0.0, -up / 2)
    edge = table[:, list(BROWS)]
    # a lowered brow bunches up: its lower edge goes down less far
    edge[..., 1] = np.where(edge[..., 1] > 0, 0.6, 1.0) * edge[..., 1]
    table[:, 68 + len(SOFT) :] = edge
    return table


def _soft_pair(place: str) -> tuple[int, int]:
    if place in SOFT:
        return 68 + SOFT.index(place), 68 + SOFT.index(place)
    return 68 + SOFT.index(f"{place}_l"), 68 + SOFT.index(f"{place}_r")


_TABLE = {number: _rows(unit) for number, unit in ACTION_UNITS.items()}


def displacements(intensities: dict[int, float], sides: FloatArray) -> FloatArray:
    """How far the units move the 68 landmarks and the added points, (MOVABLE, 2) in face units.

    Args:
        intensities: AU number -> 0..1.
        sides: two factors about 1, the left and the right half's share: no face is symmetric.
    """
    total = np.zeros((MOVABLE, 2))
    for number, intensity in intensities.items():
        left, right = _TABLE[number]
        total += intensity * (sides[0] * left + sides[1] * right)
    return total


def lids(intensities: dict[int, float], sides: FloatArray) -> tuple[FloatArray, FloatArray]:
    """How far the upper and the lower lids cover the two eyes, each (2,) with upper + lower <= 1."""
    upper = sum(intensity * ACTION_UNITS[n].upper_lid for n, intensity in intensities.items()) * sides
    lower = sum(intensity * ACTION_UNITS[n].lower_lid for n, intensity in intensities.items()) * sides
    upper = np.clip(upper, 0, 0.88)
    return upper, np.clip(lower, 0, 1 - upper)
