"""Face boxes for experts that need one and bring no detector of their own: dlib's HOG frontal face detector."""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np

from llava_faba.errors import ExpertError
from llava_faba.experts.base import Picture
from llava_faba.packages import install_command

DETECTORS = ("none", "dlib")

Box = tuple[float, float, float, float]

_DOUBTFUL = 1 / 3
"""Detections with less than this share of the best one's confidence do not count: badges and folds of cloth."""


class HogDetector:
    """dlib's HOG frontal face detector; finds frontal faces from about 80 pixels on. Thread-safe.

    ``upsample``: how often the picture is doubled before detection; ``retry_upsample``: the same for a second try
    where no face was found. Raises ExpertError when dlib is not installed; ``user`` says who needs it.
    """

    def __init__(self, user: str, upsample: int = 0, retry_upsample: int = 1) -> None:
        self.dlib = import_dlib(user)
        self._upsample, self._retry_upsample = upsample, retry_upsample
        self._detector, self._lock = _shared_detector(self.dlib)

    def __call__(self, pixels: np.ndarray) -> list[Any]:
        """dlib rectangles in uint8 RGB pixels (h, w, 3), the main face first: the largest product of area and
        confidence, so that a face in front comes before one behind it, and both before what is hardly a face."""
        return [face for face, _ in self.scored(pixels)]

    def scored(self, pixels: np.ndarray) -> list[tuple[Any, float]]:
        """As a call, with each rectangle's confidence (dlib's: 0 and more)."""
        faces = self._run(pixels, self._upsample)
        if not faces and self._retry_upsample > self._upsample:
            faces = self._run(pixels, self._retry_upsample)
        best = max((score for _, score in faces), default=0.0)
        certain = [(face, score) for face, score in faces if score >= best * _DOUBTFUL]
        return sorted(certain, key=lambda one: -one[0].area() * one[1])

    def boxes(self, picture: Picture) -> list[Box]:
        """(left, top, right, bottom) in continuous coordinates of the original, the main face first."""
        return [box_of(face, picture) for face in self(picture.pixels)]

    def _run(self, pixels: np.ndarray, upsample: int) -> list[tuple[Any, float]]:
        with self._lock:
            faces, scores, _ = self._detector.run(np.ascontiguousarray(pixels), upsample, 0.0)
        return list(zip(faces, scores, strict=True))


@functools.lru_cache(maxsize=1)
def _shared_detector(dlib: Any) -> tuple[Any, threading.Lock]:
    """The one detector of a process, which takes half a second to make, and its lock: it keeps scratch memory between
    calls."""
    return dlib.get_frontal_face_detector(), threading.Lock()


def box_of(face: Any, picture: Picture) -> Box:
    """A dlib rectangle of a picture's pixels as (left, top, right, bottom) of the original."""
    (scale_x, scale_y), (x, y) = picture.scale, picture.offset
    return (
        face.left() * scale_x + x,
        face.top() * scale_y + y,
        (face.right() + 1) * scale_x + x,
        (face.bottom() + 1) * scale_y + y,
    )


def import_dlib(user: str) -> Any:
    """The dlib module. Raises ExpertError naming ``user`` when it is not there."""
    try:
        import dlib
    except ImportError as error:
        raise ExpertError(
            f"{user} needs dlib, which does not import here ({error}): {install_command('dlib')}"
        ) from error
    return dlib
