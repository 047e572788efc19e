"""Outlines of the two people against their backgrounds, drawn by hand in face units."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_COLLINS = """
-0.87 -1.62 -0.56 -1.85 -0.23 -1.97 0.05 -2.05 0.48 -1.95 0.85 -1.82 1.21 -1.57 1.52 -1.20 1.62 -0.84
1.72 -0.59 1.73 -0.22 1.61 0.08 1.40 0.39 1.14 0.69 1.00 0.73 0.88 1.06 0.80 1.34 0.77 1.63
1.03 1.75 1.40 1.98 1.76 2.41 1.98 2.84 1.98 3.08 -2.52 3.08 -2.52 2.23 -2.40 2.01 -2.25 1.80
-1.94 1.43 -1.60 1.18 -1.18 1.09 -0.84 1.15 -0.87 0.94 -0.96 0.71 -1.08 0.68 -1.21 0.45 -1.48 0.20
-1.63 -0.16 -1.71 -0.65 -1.60 -1.02 -1.24 -1.39 -0.90 -1.51
"""

_HOPPER = """
-0.99 -1.39 -0.87 -1.57 -0.56 -1.72 -0.38 -1.91 -0.01 -1.97 0.36 -1.88 0.51 -1.74 0.78 -1.62 1.03 -1.36
1.09 -1.17 1.26 -1.15 1.27 -0.78 1.24 -0.10 1.29 0.02 1.29 0.33 1.15 0.69 1.09 1.00 0.98 1.25
0.77 1.47 0.88 1.61 1.37 1.88 1.98 2.18 2.40 2.40 2.56 2.48 2.56 3.08 -2.52 3.08 -2.52 2.10
-2.40 2.08 -1.48 1.85 -0.93 1.60 -0.77 1.25 -1.11 1.06 -1.25 0.79 -1.16 0.69 -1.24 0.14 -1.31 -0.04
-1.24 -0.35 -1.18 -0.78 -1.25 -0.99 -1.08 -1.22
"""


def _outline(text: str) -> NDArray[np.float64]:
    return np.array(text.split(), dtype=np.float64).reshape(-1, 2)


MATTES: dict[str, NDArray[np.float64]] = {"collins": _outline(_COLLINS), "hopper": _outline(_HOPPER)}


def matte(
    outline: NDArray[np.float64], size: int, to_pixels: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float32]:
    """The share of the person in each canvas pixel, (size, size) in 0..1, with an edge a few pixels soft."""
    from PIL import Image, ImageDraw, ImageFilter

    drawing = Image.new("L", (size, size), 0)
    ImageDraw.Draw(drawing).polygon([tuple(p) for p in to_pixels(outline)], fill=255)
    # drawn a little too wide rather than too narrow: the photograph's own background must not show as a rim
    soft = drawing.filter(ImageFilter.MinFilter(7)).filter(ImageFilter.GaussianBlur(2.0))
    return np.asarray(soft, dtype=np.float32) / np.float32(255)
