"""The portraits: how each photograph becomes a neutral face on a common canvas."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .canvas import CANVAS, FloatImage, canvas_units, to_canvas
from .landmarks import LANDMARKS
from .mattes import MATTES, matte
from .mouth import teeth_strip
from .sources import frame, read_source
from .warp import FloatArray


@dataclass(frozen=True)
class Portrait:
    """A neutral face: lips closed, brows at rest, eyes open.

    Attributes:
        texture: (CANVAS, CANVAS, 4) float32, RGB in 0..255 and in the fourth plane the share of the person
            (1) against the background (0).
        points: (68, 2) landmarks in face units.
        pins: (n, 2) points of the face that no expression moves, in face units: of glasses the upper
            rim, of a cap the brim.
        skin_above: how much skin there is between eye and brow, or eye and glasses, in face units.
        teeth: the row of teeth, (h, w, 3) in 0..255; see :mod:`.mouth`.
    """

    name: str
    texture: FloatImage
    points: FloatArray
    pins: FloatArray
    skin_above: float
    teeth: FloatImage


_RIM_AND_BRIM = [
    (-0.97, -0.16), (-0.80, -0.215), (-0.60, -0.22), (-0.40, -0.18), (-0.22, -0.11), (0.0, -0.03),
    (0.22, -0.11), (0.38, -0.18), (0.56, -0.24), (0.76, -0.27), (0.93, -0.24),
    (-0.95, -0.55), (-0.60, -0.64), (-0.28, -0.67), (0.0, -0.67), (0.28, -0.67), (0.60, -0.64), (0.97, -0.54),
]  # fmt: skip
PINS: dict[str, FloatArray] = {"collins": np.zeros((0, 2)), "hopper": np.array(_RIM_AND_BRIM)}
SKIN_ABOVE: dict[str, float] = {"collins": 0.17, "hopper": 0.055}


@lru_cache(maxsize=4)
def load_portrait(name: str) -> Portrait:
    """The portrait on the canvas, made neutral. Takes about a second; kept for the process."""
    from .neutral import close_lips, strengthen_brows

    picture = read_source(name).astype(np.float32)
    pixels = LANDMARKS[name]
    origin, matrix = frame(pixels)
    points = (pixels - origin) @ np.linalg.inv(matrix).T
    where = canvas_units() @ matrix.T + origin
    colour = _enlarge(picture, where)
    teeth = teeth_strip()
    if name == "collins":
        colour, points = close_lips(colour, points)
    if name == "hopper":
        colour = strengthen_brows(colour, points)
    person = matte(MATTES[name], CANVAS, to_canvas)
    texture = np.concatenate([colour, person[..., None]], axis=2).astype(np.float32)
    return Portrait(name, np.ascontiguousarray(texture), points, PINS[name], SKIN_ABOVE[name], teeth)


def _enlarge(picture: FloatImage, where: FloatArray) -> FloatImage:
    from scipy.ndimage import map_coordinates

    planes = [map_coordinates(picture[..., c], [where[:, 1], where[:, 0]], order=3, mode="nearest") for c in range(3)]
    return np.clip(np.stack(planes, axis=-1).reshape(CANVAS, CANVAS, 3), 0, 255).astype(np.float32)
