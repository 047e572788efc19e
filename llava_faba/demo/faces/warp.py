"""Thin-plate splines on a coarse grid, and sampling of a picture through the map that they give."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def _kernel(squared: FloatArray) -> FloatArray:
    # r^2 log r^2; the small constant gives r = 0 its limit 0 without a branch over the whole array
    return squared * np.log(squared + 1e-12)


def _squared_distances(a: FloatArray, b: FloatArray) -> FloatArray:
    dx: FloatArray = a[:, 0, None] - b[None, :, 0]
    dy: FloatArray = a[:, 1, None] - b[None, :, 1]
    return dx * dx + dy * dy


class ThinPlate:
    """The smoothest map of the plane that takes each of ``points`` to its row of ``values``.

    Args:
        points: (n, 2) control points, no two of them equal.
        values: (n, k) what the map gives there.
        smoothness: how much a point may be missed to bend less; in the kernel's units. Points that lie almost
            on one another (closed lips) need a little of it.
    """

    def __init__(self, points: FloatArray, values: FloatArray, smoothness: float = 1e-4) -> None:
        n = len(points)
        system = np.zeros((n + 3, n + 3))
        system[:n, :n] = _kernel(_squared_distances(points, points)) + smoothness * np.eye(n)
        system[:n, n] = system[n, :n] = 1.0
        system[:n, n + 1 :] = points
        system[n + 1 :, :n] = points.T
        right = np.zeros((n + 3, values.shape[1]))
        right[:n] = values
        solution = np.linalg.solve(system, right)
        self._points = points
        self._bend, self._affine = solution[:n], solution[n:]

    def __call__(self, where: FloatArray) -> FloatArray:
        """The map at ``where`` (m, 2), as (m, k)."""
        # einsum, not @: on so thin a product a threaded BLAS is slower when the cores are busy
        bent = np.einsum("ij,jk->ik", _kernel(_squared_distances(where, self._points)), self._bend)
        return bent + self._affine[0] + where @ self._affine[1:]


def grid(size: int, step: int) -> tuple[FloatArray, int]:
    """Pixel positions (m * m, 2) every ``step`` pixels that cover a ``size`` square, and m."""
    ticks = np.arange(0, size + step, step, dtype=np.float64)
    x, y = np.meshgrid(ticks, ticks)
    return np.stack([x.ravel(), y.ravel()], axis=1), len(ticks)


def refine(coarse: FloatArray, count: int, size: int, step: int) -> FloatArray:
    """Bilinear values (size, size, k) at every pixel from those on :func:`grid` ((count * count, k))."""
    table = coarse.reshape(count, count, -1)
    pixel = np.arange(size)
    low = pixel // step
    share = (pixel % step / step)[:, None, None]
    rows = table[low] * (1 - share) + table[low + 1] * share
    across = share[:, 0][None]
    return rows[:, low] * (1 - across) + rows[:, low + 1] * across


def sample(picture: NDArray[np.float32], x: FloatArray, y: FloatArray) -> NDArray[np.float32]:
    """Bilinear values of ``picture`` (h, w, c) at pixel positions; outside, the border pixel repeats."""
    height, width = picture.shape[:2]
    x = np.clip(x, 0, width - 1.001)
    y = np.clip(y, 0, height - 1.001)
    left, top = x.astype(np.int32), y.astype(np.int32)
    fx = (x - left).astype(np.float32)[..., None]
    fy = (y - top).astype(np.float32)[..., None]
    flat = picture.reshape(height * width, -1)
    first = top * width + left
    upper = flat[first] * (1 - fx) + flat[first + 1] * fx
    lower = flat[first + width] * (1 - fx) + flat[first + width + 1] * fx
    return upper * (1 - fy) + lower * fy
