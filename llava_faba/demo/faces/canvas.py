"""The square that both portraits are brought onto: the eyes level, the same distance apart, at the same
place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .warp import FloatArray

FloatImage = NDArray[np.float32]

LEFT, TOP, SPAN = -2.4, -2.0, 4.8
"""The canvas in face units: its left and top edge, and its side."""
DENSITY = 88
"""Canvas pixels to a face unit."""
CANVAS = round(SPAN * DENSITY)


def to_canvas(units: FloatArray) -> FloatArray:
    """Pixel positions on the canvas of positions in face units (pixel centres are whole numbers)."""
    pixels: FloatArray = (units - (LEFT, TOP)) * DENSITY - 0.5
    return pixels


def from_canvas(pixels: FloatArray) -> FloatArray:
    """Face units of pixel positions on the canvas."""
    units: FloatArray = (pixels + 0.5) / DENSITY + (LEFT, TOP)
    return units


def canvas_units() -> FloatArray:
    """Positions of all canvas pixels in face units, (CANVAS * CANVAS, 2), row by row."""
    ticks = np.arange(CANVAS, dtype=np.float64)
    x, y = np.meshgrid(ticks, ticks)
    return from_canvas(np.stack([x.ravel(), y.ravel()], axis=1))
