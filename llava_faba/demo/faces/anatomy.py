"""Places on a face beside dlib's 68 points: what moves with a cheek, and what stands still whatever the face
does."""

from __future__ import annotations

import numpy as np

from .warp import FloatArray

MIRROR: tuple[int, ...] = (
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46,
    39, 38, 37, 36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
)  # fmt: skip
"""For each of the 68 points, the point on the other side of the face."""

SOFT: tuple[str, ...] = (
    "cheek_l",
    "cheek_r",
    "fold_l",
    "fold_r",
    "chin",
    "glabella",
    "forehead_l",
    "forehead_r",
)
"""Names of the added points that expressions move; l and r are the viewer's left and right."""

BROWS: tuple[int, ...] = (18, 19, 20, 21, 22, 23, 24, 25)
"""Points of the brows under each of which a point of the brow's lower edge is added: a brow moves, it doesn't
swell."""
_BROW_THICKNESS = 0.07
MOVABLE = 68 + len(SOFT) + len(BROWS)
"""Landmarks and added points together."""


def soft_points(points: FloatArray) -> FloatArray:
    """The points of :data:`SOFT` and below :data:`BROWS`, (16, 2), from the 68 landmarks."""
    p = points
    return np.stack(
        [
            (p[41] + p[3] + p[31]) / 3,
            (p[46] + p[13] + p[35]) / 3,
            (2 * p[31] + 2 * p[48] + p[3]) / 5,
            (2 * p[35] + 2 * p[54] + p[13]) / 5,
            0.5 * p[57] + 0.5 * p[8],
            (p[21] + p[22]) / 2 + np.array([0.0, 0.02]),
            p[20] + np.array([0.02, -0.18]),
            p[23] + np.array([-0.02, -0.18]),
            *(p[list(BROWS)] + np.array([0.0, _BROW_THICKNESS])),
        ]
    )


def anchors(points: FloatArray) -> FloatArray:
    """Points that no expression moves: hair or hat, ears, neck, shoulders and the border, (n, 2) in face
    units."""
    top = points[17:27, 1].min()
    chin = points[8, 1]
    left, right = points[0, 0], points[16, 0]
    fixed = [
        (left - 0.35, -0.5), (right + 0.35, -0.5), (left - 0.3, 0.3), (right + 0.3, 0.3),
        (left - 0.4, 1.0), (right + 0.4, 1.0), (0.0, top - 0.75), (-0.8, top - 0.65), (0.8, top - 0.65),
        (0.0, chin + 0.55), (-0.7, chin + 0.45), (0.7, chin + 0.45), (-1.3, chin + 0.3), (1.3, chin + 0.3),
    ]  # fmt: skip
    border = [(x, y) for x in (-2.4, -0.8, 0.8, 2.4) for y in (-2.2, 3.0)]
    sides = [(x, y) for x in (-2.4, 2.4) for y in (-0.7, 0.8, 1.9)]
    return np.array(fixed + border + sides, dtype=np.float64)
