"""Pitch, yaw and roll of a head from its landmarks, by a weak-perspective fit of an average face.

The fit: DeMenthon & Davis, Model-based object pose in 25 lines of code (1995), without its iteration. Angles are
estimates of some degrees' accuracy, for looking and sorting, not for measuring.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

# Nose tip, chin, outer corners of the image's left and right eye, corners of the mouth; x to the image's right, y
# down, z away from the camera, in units of about a millimetre: an average adult face.
_FACE = np.array([[0, 0, 0], [0, 66, 13], [-45, -34, 27], [45, -34, 27], [-30, 30, 25], [30, 30, 25]], dtype=float)
_POINTS = {68: (30, 8, 36, 45, 48, 54), 478: (1, 152, 33, 263, 61, 291)}


class Pose(NamedTuple):
    """Degrees. ``pitch``: positive looks down; ``yaw``: positive turns to the image's right; ``roll``: positive leans
    to the image's right (clockwise)."""

    pitch: float
    yaw: float
    roll: float


def head_pose(points: np.ndarray) -> Pose | None:
    """The pose behind landmarks (68 or 478, 2 or more); None for other schemes and for points that lie in a line."""
    if len(points) not in _POINTS:
        return None
    seen = np.asarray(points, dtype=np.float64)[list(_POINTS[len(points)]), :2]
    model = _FACE - _FACE.mean(axis=0)
    solution, *_ = np.linalg.lstsq(model, seen - seen.mean(axis=0), rcond=None)
    first, second = solution.T
    lengths = np.linalg.norm(first), np.linalg.norm(second)
    if min(lengths) < 1e-9:
        return None
    # The nearest pair of orthogonal unit rows: the two scales of a weak perspective are one.
    left, _, right = np.linalg.svd(np.stack((first, second)), full_matrices=False)
    rows = left @ right
    third = np.cross(rows[0], rows[1])
    # Of the matrix turn(roll about z) turn(yaw about y) turn(pitch about x).
    pitch = math.atan2(float(third[1]), float(third[2]))
    yaw = math.asin(float(np.clip(third[0], -1, 1)))
    roll = math.atan2(float(rows[1, 0]), float(rows[0, 0]))
    return Pose(*(round(math.degrees(angle), 1) for angle in (pitch, yaw, roll)))
