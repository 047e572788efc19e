"""Retouching that makes the two photographs neutral faces: Collins' open smile is closed, Hopper's brows
darkened."""

from __future__ import annotations

import numpy as np

from .anatomy import anchors
from .canvas import CANVAS, FloatImage, canvas_units, from_canvas, to_canvas
from .warp import FloatArray, ThinPlate, grid, refine, sample

# Lips at rest around the middle of the mouth, in face units, for the points 48..67: the shape that Collins'
# lips are drawn into. Corners a little below the middle of the line, the upper lip bowed, the lower one
# fuller.
_LIPS_AT_REST = np.array(
    [
        (-0.415, 0.01), (-0.26, -0.062), (-0.085, -0.098), (0.0, -0.084), (0.085, -0.098), (0.26, -0.062),
        (0.415, 0.01), (0.24, 0.085), (0.09, 0.13), (0.0, 0.138), (-0.09, 0.13), (-0.24, 0.085),
        (-0.38, 0.008), (-0.12, -0.004), (0.0, 0.002), (0.12, -0.004), (0.38, 0.008), (0.12, 0.002),
        (0.0, 0.008), (-0.12, 0.002),
    ]
)  # fmt: skip
_UPPER_ONLY, _LOWER_ONLY = (49, 50, 51, 52, 53, 61, 62, 63), (55, 56, 57, 58, 59, 65, 66, 67)


def close_lips(colour: FloatImage, points: FloatArray) -> tuple[FloatImage, FloatArray]:
    """A face with its lips closed, from one that smiles with open lips.

    The part above the line of the lips and the part below it are warped apart, each by its own spline, and
    the teeth between them are in neither: so lips are moved, not stretched over the gap.

    Args:
        colour: canvas picture, (CANVAS, CANVAS, 3).
        points: its landmarks in face units.

    Returns:
        The picture and its landmarks with the lips closed.
    """
    closed = points.copy()
    middle = (points[48] + points[54]) / 2
    tilt = points[54] - points[48]
    tilt = tilt / np.linalg.norm(tilt)
    line = middle + np.array([0.0, 0.105])
    closed[48:68] = line + _LIPS_AT_REST @ np.array([tilt, (-tilt[1], tilt[0])])
    for cheek in (2, 3, 4, 12, 13, 14):  # the smile has widened the cheeks
        closed[cheek, 0] *= 0.985
    above = _warped(colour, points, closed, skip=_LOWER_ONLY)
    below = _warped(colour, points, closed, skip=_UPPER_ONLY)
    where = canvas_units()
    x, y = where[:, 0], where[:, 1]
    seam = np.array([closed[48], closed[60], *closed[61:65], closed[54]])
    depth = y - np.interp(x, seam[:, 0], seam[:, 1])
    beyond = np.maximum(0, np.abs(x - line[0]) - 0.36)
    share = np.clip(depth / (0.012 + beyond) + 0.5, 0, 1).reshape(CANVAS, CANVAS, 1)
    joined = above * (1 - share) + below * share
    inside = np.clip((0.40 - np.abs(x - line[0])) / 0.06, 0, 1)
    shadow = 1 - 0.42 * inside * np.exp(-((depth / 0.016) ** 2))
    return (joined * shadow.reshape(CANVAS, CANVAS, 1)).astype(np.float32), closed


def _warped(colour: FloatImage, source: FloatArray, target: FloatArray, skip: tuple[int, ...]) -> FloatImage:
    keep = [i for i in range(68) if i not in skip]
    still = anchors(source)
    spline = ThinPlate(np.vstack([target[keep], still]), np.vstack([source[keep], still]))
    step = 3
    coarse, count = grid(CANVAS, step)
    pixels = refine(to_canvas(spline(from_canvas(coarse))), count, CANVAS, step)
    return sample(colour, pixels[..., 0], pixels[..., 1])


def strengthen_brows(colour: FloatImage, points: FloatArray) -> FloatImage:
    """Hopper's fair brows made as dark as most people's, so that a brow's movement can be seen above the
    glasses."""
    where = canvas_units()
    dark = np.zeros(len(where))
    rng = np.random.default_rng(11)
    for brow in (points[17:22], points[26:21:-1]):
        line = brow[1:] + np.array([0.0, 0.035])
        ends = np.linspace(0, 1, 40)
        along = np.stack([np.interp(ends, np.linspace(0, 1, 4), line[:, k]) for k in (0, 1)], axis=1)
        near = np.min(np.hypot(*(where[:, None] - along[None, ::3]).transpose(2, 0, 1)), axis=1)
        dark = np.maximum(dark, np.exp(-((near / 0.034) ** 2)))
    hairs = 0.8 + 0.4 * rng.random((CANVAS, CANVAS, 1))
    return (colour * (1 - 0.42 * dark.reshape(CANVAS, CANVAS, 1) * hairs)).astype(np.float32)
