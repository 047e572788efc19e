"""Eyelids that slide over the eyeball: the eye stays, and skin from above and below is drawn across it."""

from __future__ import annotations

import numpy as np

from .canvas import DENSITY, LEFT, TOP, FloatImage
from .warp import FloatArray, sample

_BELOW = 0.20
"""How much skin under the eye is stretched, in face units; above it the portrait says how much there is."""
_MARGIN = 0.035
"""The strip along a lid's edge, with the lashes, that is carried along and not stretched."""


def close_eyes(
    texture: FloatImage, points: FloatArray, upper: FloatArray, lower: FloatArray, skin_above: float
) -> FloatImage:
    """A copy of the canvas picture with the lids moved.

    Args:
        texture: (CANVAS, CANVAS, c).
        points: the portrait's 68 landmarks in face units.
        upper: for the viewer's left and right eye, the share of the opening that the upper lid comes down,
            0..1.
        lower: the share that the lower lid comes up; the two together at most 1.
        skin_above: how much skin over the eye there is to stretch, in face units.
    """
    result = texture.copy()
    for eye, corner in enumerate((36, 42)):
        if upper[eye] > 0 or lower[eye] > 0:
            amounts = float(upper[eye]), float(lower[eye])
            _move_lids(result, texture, points[corner : corner + 6], amounts, skin_above)
    return result


def _arc(x: FloatArray, places: FloatArray) -> FloatArray:
    # a cubic through the lid's four points: lids are smooth, and a chain of straight lines shows
    total = np.zeros_like(x)
    for i in range(4):
        term = np.full_like(x, places[i, 1])
        for j in range(4):
            if j != i:
                term *= (x - places[j, 0]) / (places[i, 0] - places[j, 0])
        total += term
    return total


def _move_lids(
    result: FloatImage, texture: FloatImage, eye: FloatArray, amounts: tuple[float, float], above: float
) -> None:
    upper, lower = amounts
    x0, x1 = eye[0, 0], eye[3, 0]
    y0, y1 = eye[:, 1].min() - above - 0.06, eye[:, 1].max() + _BELOW + 0.06
    left, right = int((x0 - LEFT) * DENSITY), int((x1 - LEFT) * DENSITY) + 1
    top, bottom = int((y0 - TOP) * DENSITY), int((y1 - TOP) * DENSITY) + 1
    x = (np.arange(left, right) + 0.5) / DENSITY + LEFT
    y = ((np.arange(top, bottom) + 0.5) / DENSITY + TOP)[:, None]
    inside = np.clip(x, x0, x1)
    over, under = _arc(inside, eye[[0, 1, 2, 3]]), _arc(inside, eye[[0, 5, 4, 3]])
    gap = np.maximum(under - over, 0.0)
    new_over, new_under = over + upper * gap, under - lower * gap
    y_above = over - _stretched(new_over - y, upper * gap, above)
    y_below = under + _stretched(y - new_under, lower * gap, _BELOW)
    source = np.where(y <= new_over, y_above, np.where(y >= new_under, y_below, np.broadcast_to(y, y_above.shape)))
    columns = np.broadcast_to(np.arange(left, right, dtype=np.float64), source.shape)
    result[top:bottom, left:right] = sample(texture, columns, (source - TOP) * DENSITY - 0.5)


def _stretched(distance: FloatArray, travel: FloatArray, reach: float) -> FloatArray:
    """Where skin at this distance from the moved edge of a lid was: its distance from the edge at rest."""
    margin = min(_MARGIN, reach / 3)
    slope = (reach - margin) / (reach - margin + travel)
    within = margin + (distance - margin) * slope
    return np.where(distance < margin, distance, np.where(distance < reach + travel, within, distance - travel))
