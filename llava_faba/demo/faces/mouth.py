"""What shows between parted lips: a dark mouth, and the upper row of teeth of the smiling portrait."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .landmarks import LANDMARKS
from .sources import frame, read_source
from .warp import FloatArray, sample

DEPTH = 0.125
"""How far down from the upper lip the teeth reach, in face units."""
_WIDE, _HIGH = 96, 20
_DARK = np.array([58.0, 24.0, 24.0])


@lru_cache(maxsize=1)
def teeth_strip() -> np.ndarray:
    """The row of teeth in Collins' smile, (20, 96, 3) in 0..255: columns from one inner corner of the lips to
    the other, rows from the upper lip down over :data:`DEPTH`."""
    pixels = LANDMARKS["collins"]
    origin, matrix = frame(pixels)
    inner = (pixels[60:65] - origin) @ np.linalg.inv(matrix).T
    x = np.linspace(inner[0, 0] + 0.06, inner[-1, 0] - 0.06, _WIDE)
    upper = np.interp(x, inner[:, 0], inner[:, 1])
    depth = np.linspace(0.012, DEPTH, _HIGH)
    units = np.stack([np.broadcast_to(x, (_HIGH, _WIDE)), upper + depth[:, None]], axis=-1)
    where = units.reshape(-1, 2) @ matrix.T + origin
    colour = sample(read_source("collins").astype(np.float32), where[:, 0], where[:, 1])
    return colour.reshape(_HIGH, _WIDE, 3)


def paint_mouth(
    picture: np.ndarray,
    units: FloatArray,
    box: tuple[int, int, int, int],
    lips: FloatArray,
    strip: np.ndarray,
) -> None:
    """Paint the inside of the mouth into ``picture`` (h, w, 4), in place.

    Args:
        units: face units of the pixels in ``box``, (rows, columns, 2).
        box: left, top, right, bottom in pixels.
        lips: the inner contour of the lips, points 60..67, in face units.
        strip: the teeth, from :func:`teeth_strip`.
    """
    from scipy.interpolate import PchipInterpolator

    left, top, right, bottom = box
    x, y = units[..., 0], units[..., 1]
    upper = PchipInterpolator(lips[0:5, 0], lips[0:5, 1])
    under = lips[[0, 7, 6, 5, 4]]
    lower = PchipInterpolator(under[:, 0], under[:, 1])
    inside_x = np.clip(x, lips[0, 0], lips[4, 0])
    high, low = upper(inside_x), lower(inside_x)
    gap = np.maximum(low - high, 1e-6)
    soft = 0.018
    cover = np.clip((y - high) / soft + 0.3, 0, 1) * np.clip((low - y) / soft + 0.3, 0, 1)
    cover *= np.clip((gap - 0.008) / 0.03, 0, 1) * ((x > lips[0, 0]) & (x < lips[4, 0]))
    middle, half = (lips[0, 0] + lips[4, 0]) / 2, (lips[4, 0] - lips[0, 0]) / 2
    across = (x - middle) / max(half, 1e-6)
    down = y - high
    teeth = sample(strip, (across * 0.5 + 0.5) * (_WIDE - 1), (down - 0.012) / (DEPTH - 0.012) * (_HIGH - 1))
    reach = np.minimum(DEPTH - 0.02, 0.02 + 0.6 * float(gap.max()))
    share = np.clip((reach * np.sqrt(np.maximum(0, 1 - across**2)) - down) / 0.03, 0, 1)
    shade = 0.55 + 0.45 * np.clip(down / 0.05, 0, 1)
    tongue = np.clip((down - 0.14) / 0.10, 0, 1)[..., None] * np.array([70.0, 22.0, 22.0])
    inside = (teeth * shade[..., None]) * share[..., None] + (_DARK + tongue) * (1 - share[..., None])
    patch = picture[top:bottom, left:right, :3]
    patch += (inside - patch) * cover[..., None]
