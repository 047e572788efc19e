"""From a description of a face to its picture."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .action_units import displacements, lids
from .anatomy import anchors, soft_points
from .canvas import to_canvas
from .capture import Capture, develop, to_units, unpose
from .eyelids import close_eyes
from .identity import Identity, reshape
from .mouth import paint_mouth
from .portraits import load_portrait
from .warp import FloatArray, ThinPlate, grid, refine, sample

_STEP = 4
"""Pixels between the places where the spline is worked out at 224 pixels; between them it's as good as
straight."""


@dataclass(frozen=True)
class Face:
    """Who, doing what, photographed how.

    Attributes:
        units: AU number -> intensity 0..1.
        sides: shares of the left and the right half of the face in each movement.
    """

    identity: Identity
    units: dict[int, float] = field(default_factory=dict)
    sides: tuple[float, float] = (1.0, 1.0)
    capture: Capture = field(default_factory=Capture)


def shape(face: Face, points: FloatArray, pins: FloatArray) -> FloatArray:
    """Landmarks, soft points and pins of the face, (MOVABLE + n, 2) in face units, from those of the
    portrait."""
    rest = reshape(face.identity, np.vstack([points, soft_points(points), pins]))
    moved = rest.copy()
    moved[: len(rest) - len(pins)] += displacements(face.units, np.array(face.sides))
    _keep_lips_apart(moved, parted=bool({25, 26} & set(face.units)))
    return moved


def _keep_lips_apart(points: FloatArray, parted: bool) -> None:
    """Inner lips that would cross meet instead; lips that are closed stay closed whatever pulls on them."""
    for upper, lower, outer_upper, outer_lower in ((61, 67, 50, 58), (62, 66, 51, 57), (63, 65, 52, 56)):
        if not parted or points[lower, 1] - points[upper, 1] < 0.01:
            middle = (points[lower, 1] + points[upper, 1]) / 2
            points[upper, 1], points[lower, 1] = middle - 0.004, middle + 0.004
        points[outer_upper, 1] = min(points[outer_upper, 1], points[upper, 1] - 0.025)
        points[outer_lower, 1] = max(points[outer_lower, 1], points[lower, 1] + 0.03)


def render_face(face: Face, size: int = 224) -> np.ndarray:
    """The picture, (size, size, 3) uint8 RGB. The same face gives the same picture, in any process.

    Raises:
        PortraitMissing: the package with the portrait is not installed.
    """
    portrait = load_portrait(face.identity.portrait)
    target = shape(face, portrait.points, portrait.pins)
    source = np.vstack([portrait.points, soft_points(portrait.points), portrait.pins])
    still = anchors(portrait.points)
    spline = ThinPlate(np.vstack([target, still]), np.vstack([source, still]))
    flip = np.array([-1.0 if face.identity.mirrored else 1.0, 1.0])

    step = max(2, round(_STEP * size / 224))
    matrix = unpose(face.capture, size)
    coarse, count = grid(size, step)
    units = to_units(matrix, coarse) * flip
    pixels = refine(to_canvas(spline(units)), count, size, step)
    upper, lower = lids(face.units, np.array(face.sides))
    texture = portrait.texture
    if (upper + lower).any():
        texture = close_eyes(texture, portrait.points, upper, lower, portrait.skin_above)
    picture = sample(texture, pixels[..., 0], pixels[..., 1])
    if {25, 26} & set(face.units):
        lips = target[60:68]
        box, inside = _mouth_pixels(matrix, lips, flip, size)
        paint_mouth(picture, inside, box, lips, portrait.teeth)
    picture[..., :3] *= np.array(face.identity.complexion, dtype=np.float32)
    return develop(picture, face.capture)


def _mouth_pixels(
    matrix: FloatArray, lips: FloatArray, flip: FloatArray, size: int
) -> tuple[tuple[int, int, int, int], FloatArray]:
    """The box of pixels around the mouth, and the face units of each of them."""
    corners = np.column_stack([lips * flip, np.ones(len(lips))]) @ np.linalg.inv(matrix).T
    corners = corners[:, :2] / corners[:, 2:]
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 2, 0)
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 3, size)
    x, y = np.meshgrid(np.arange(low[0], high[0], dtype=float), np.arange(low[1], high[1], dtype=float))
    units = to_units(matrix, np.stack([x.ravel(), y.ravel()], axis=1)) * flip
    return (int(low[0]), int(low[1]), int(high[0]), int(high[1])), units.reshape(*x.shape, 2)
