"""Face boxes for experts that need one and bring no detector of their own."""

from __future__ import annotations

import threading

import numpy as np

from llava_faba.errors import ExpertError
from llava_faba.experts.base import Picture

DETECTORS = ("none", "dlib")

Box = tuple[float, float, float, float]


class FaceBoxes:
    """dlib's HOG frontal face detector; (left, top, right, bottom) in continuous coordinates of the original.

    A picture without a face is doubled and tried again. Thread-safe.
    """

    def __init__(self) -> None:
        try:
            import dlib
        except ImportError as error:
            raise ExpertError(
                f"the detector 'dlib' needs dlib, which does not import here ({error}); "
                "run 'pip install llava-faba[dlib]'."
            ) from error
        self._detector = dlib.get_frontal_face_detector()
        self._lock = threading.Lock()  # dlib's detector keeps scratch memory between calls

    def __call__(self, picture: Picture) -> list[Box]:
        pixels = np.ascontiguousarray(picture.pixels)
        with self._lock:
            faces = self._detector(pixels, 0) or self._detector(pixels, 1)
        (scale_x, scale_y), (x, y) = picture.scale, picture.offset
        return [
            (
                face.left() * scale_x + x,
                face.top() * scale_y + y,
                (face.right() + 1) * scale_x + x,
                (face.bottom() + 1) * scale_y + y,
            )
            for face in faces
        ]


def largest(boxes: list[Box]) -> Box:
    """The box with the largest area."""
    return max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
