"""The frame in which a tracked face's expression is strongest: furthest from the track's neutral, pose removed.

Landmarks are brought to one position, size and rotation (Procrustes), then compared with the track's neutral face, the
median over the half of the frames that lie closest to each other. What head rotation out of the plane does to the
points is not removed. Of dlib's 68 points the jaw's outline (0 to 16) is left out: it is where that landmarker is least
sure, and a frame in which it slips looked like an expression (``tests/benchmarks/bench_peaks.py``).
"""

from __future__ import annotations

import numpy as np

_JAW = {68: 17}
"""Number of points to how many of them, the first ones, are the outline of the jaw."""


def distances(points: np.ndarray) -> np.ndarray:
    """How far each frame of a track is from its neutral face; (frames,), in units of the face's size.

    ``points``: (frames, points, 2). One frame is at distance 0.
    """
    points = np.asarray(points, dtype=np.float64)[..., :2]
    shapes = _aligned(points[:, _JAW.get(points.shape[1], 0) :])
    middle = np.median(shapes, axis=0)
    away = np.linalg.norm(shapes - middle, axis=(1, 2))
    calm = shapes[np.argsort(away)[: max(1, len(shapes) // 2)]]
    return np.asarray(np.linalg.norm(shapes - np.median(calm, axis=0), axis=(1, 2)))


def peak(points: np.ndarray) -> int:
    """The index of the frame of strongest expression."""
    return int(np.argmax(distances(points)))


def _aligned(points: np.ndarray) -> np.ndarray:
    centred = points - points.mean(axis=1, keepdims=True)
    scaled = centred / np.maximum(np.linalg.norm(centred, axis=(1, 2), keepdims=True), 1e-12)
    reference = scaled[0]
    for _ in range(3):
        turned = np.stack([_turned(shape, reference) for shape in scaled])
        reference = np.median(turned, axis=0)
    return turned


def _turned(shape: np.ndarray, reference: np.ndarray) -> np.ndarray:
    left, _, right = np.linalg.svd(shape.T @ reference)
    flip = np.diag([1.0, np.sign(np.linalg.det(left @ right))])
    return np.asarray(shape @ (left @ flip @ right))
