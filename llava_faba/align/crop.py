"""One aligned square crop from one photograph: eyes level, face in the middle, a margin around it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from llava_faba.errors import ExpertError
from llava_faba.experts import PriorExpert, PriorStatus
from llava_faba.experts.pictures import whole_picture

# Where the eyes are in the landmark schemes that experts use: points of the eye on the image's left, then right.
_EYES = {
    68: (range(36, 42), range(42, 48)),
    106: (range(33, 43), range(87, 97)),
    478: (range(468, 473), range(473, 478)),
}
# Side of the crop over the longer side of the landmarks' box: what dlib's detector needs around a face.
MARGIN = 1.7
_BACKGROUND = (122, 116, 104)  # CLIP's mean colour, which LLaVA pads with too


@dataclass(frozen=True)
class Crop:
    """``image``: the crop, or the untouched photograph when there is no face. ``status``: the expert's word. ``face``:
    the box of the face that was cropped, (left, top, right, bottom) in pixels of the photograph."""

    image: Any
    status: PriorStatus
    face: tuple[float, float, float, float] | None = None


def align_face(image: Any, expert: PriorExpert, size: int = 336) -> Crop:
    """Crop and align the (largest) face of an RGB PIL image to ``size`` x ``size`` pixels.

    Raises ExpertError for an expert that takes the whole picture for the face, and for one that places no landmarks.
    """
    if not getattr(expert, "finds_faces", True):  # an expert of before there was the attribute
        raise ExpertError(
            f"the expert '{expert.name}', set as it is here, takes the whole picture for the face and finds none in a "
            "photograph, so that nothing can be aligned by it; make crops first: llava-faba align --expert "
            "mediapipe-478, or dlib-68."
        )
    result = expert.extract([whole_picture(image)])
    points = result.landmarks[0] if result.landmarks else None
    if points is None and result.statuses[0] in (PriorStatus.FOUND, PriorStatus.SEVERAL_FACES):
        raise ExpertError(
            f"the expert '{expert.name}' places no landmarks to align by; make crops first: llava-faba align --expert "
            "mediapipe-478, or dlib-68."
        )
    if points is None:
        return Crop(image, result.statuses[0])
    (left, top), (right, bottom) = points[:, :2].min(axis=0).tolist(), points[:, :2].max(axis=0).tolist()
    return Crop(crop_to_landmarks(image, points[:, :2], size), result.statuses[0], (left, top, right, bottom))


def crop_to_landmarks(image: Any, points: np.ndarray, size: int) -> Any:
    """The aligned crop around landmarks (points, 2), in continuous pixel coordinates of the PIL image."""
    from PIL import Image

    image, points = _shrunk_around(image, points, size)
    angle = _eye_angle(points)
    cosine, sine = math.cos(angle), math.sin(angle)
    upright = points @ np.array([[cosine, -sine], [sine, cosine]])  # rotated by -angle
    low, high = upright.min(axis=0), upright.max(axis=0)
    side = float((high - low).max()) * MARGIN
    x, y = (low + high) / 2
    centre = (cosine * x - sine * y, sine * x + cosine * y)
    scale = side / size
    # From a pixel of the crop to its place in the photograph.
    a, b = scale * cosine, -scale * sine
    d, e = scale * sine, scale * cosine
    coefficients = (
        a,
        b,
        centre[0] - (a + b) * size / 2,
        d,
        e,
        centre[1] - (d + e) * size / 2,
    )
    resampling = Image.Resampling.BICUBIC
    return image.transform((size, size), Image.Transform.AFFINE, coefficients, resampling, fillcolor=_BACKGROUND)


def _shrunk_around(image: Any, points: np.ndarray, size: int) -> tuple[Any, np.ndarray]:
    """Image and points at about the crop's scale when the crop is to shrink the face: an affine map alone would take
    single pixels of a fine picture, and the crop would flicker."""
    from PIL import Image

    spread = points.max(axis=0) - points.min(axis=0)
    factor = float(spread.max()) * MARGIN / size
    if factor <= 1.5:
        return image, points
    width, height = (max(1, round(edge / factor)) for edge in image.size)
    small = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return small, points * np.array([width / image.size[0], height / image.size[1]])


def _eye_angle(points: np.ndarray) -> float:
    """The line between the eyes against the horizontal, in radians; 0 for an unknown landmark scheme."""
    if len(points) not in _EYES:
        return 0.0
    left, right = (points[list(indices)].mean(axis=0) for indices in _EYES[len(points)])
    return math.atan2(right[1] - left[1], right[0] - left[0])
