"""Pixels of a picture at places given in the coordinates of the original image, and square network inputs made so."""

from __future__ import annotations

import numpy as np

from llava_faba.experts.base import Picture


def sample_grid(picture: Picture, xs: np.ndarray, ys: np.ndarray, *, outside: str) -> np.ndarray:
    """Bilinear samples, uint8 RGB (len(ys), len(xs), 3).

    ``xs``, ``ys``: float, continuous coordinates (pixel i covers i to i + 1) of the original image, wherever the
    picture's own pixels lie in it. ``outside``: "black" counts what lies beyond the picture as zero, "edge" repeats
    its outermost pixels. No smoothing before shrinking, like OpenCV's linear interpolation.
    """
    height, width = picture.pixels.shape[:2]
    columns = (np.asarray(xs, dtype=np.float64) - picture.offset[0]) / picture.scale[0] - 0.5
    lines = (np.asarray(ys, dtype=np.float64) - picture.offset[1]) / picture.scale[1] - 0.5
    x0, x1, right, known_x0, known_x1 = _neighbours(columns, width, outside)
    y0, y1, low, known_y0, known_y1 = _neighbours(lines, height, outside)
    right, low = right[None, :, None], low[:, None, None]
    mix = np.zeros((len(lines), len(columns), 3), dtype=np.float32)
    for y, weight_y, known_y in ((y0, 1 - low, known_y0), (y1, low, known_y1)):
        for x, weight_x, known_x in ((x0, 1 - right, known_x0), (x1, right, known_x1)):
            corner = picture.pixels[np.ix_(y, x)].astype(np.float32)
            mix += corner * (weight_y * known_y[:, None, None]) * (weight_x * known_x[None, :, None])
    return np.rint(mix).clip(0, 255).astype(np.uint8)


def square_grid(left: float, top: float, width: float, height: float, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The centres of ``side`` x ``side`` pixels laid over a rectangle: (xs, ys), in the rectangle's coordinates."""
    steps = (np.arange(side) + 0.5) / side
    return left + steps * width, top + steps * height


def _neighbours(
    at: np.ndarray, size: int, outside: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Both neighbours of each index, the share of the second, and which of them count."""
    first = np.floor(at).astype(np.int64)
    share = (at - first).astype(np.float32)
    second = first + 1
    counts = [np.ones(len(at), dtype=np.float32)] * 2
    if outside == "black":
        counts = [((one >= 0) & (one < size)).astype(np.float32) for one in (first, second)]
    return first.clip(0, size - 1), second.clip(0, size - 1), share, counts[0], counts[1]
