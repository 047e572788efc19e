"""Every face in a frame: by the expert that was asked for, or the first that works here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from llava_faba.align.crop import crop_to_landmarks
from llava_faba.analysis.pose import Pose, head_pose
from llava_faba.analysis.settings import AnalyzeSettings
from llava_faba.errors import ExpertError
from llava_faba.experts import FoundFace, PriorExpert, create_expert, expert_class
from llava_faba.experts.pictures import whole_picture

_FIRST_CHOICES = ("mediapipe-478", "dlib-68")


@dataclass(frozen=True)
class Face:
    """``box``: (x, y, width, height) in pixels of the frame; ``confidence``: the detector's own score; ``points``:
    landmarks."""

    box: tuple[float, float, float, float]
    confidence: float
    points: np.ndarray
    pose: Pose | None

    def crop(self, image: Any, size: int) -> Any:
        """The aligned crop, as ``llava-faba align`` makes it."""
        return crop_to_landmarks(image, self.points[:, :2], size)


class Finder:
    """Finds faces by an expert that can find all of them. Raises ExpertError when none can, or the named one cannot."""

    def __init__(self, settings: AnalyzeSettings) -> None:
        self.expert = _expert(settings)
        self._only_main = settings.faces == "largest"

    def __call__(self, image: Any) -> list[Face]:
        """Faces of an RGB PIL image, the main one first."""
        found = self.expert.find_all(whole_picture(image)) or []
        return [_face(one) for one in (found[:1] if self._only_main else found)]


def _face(found: FoundFace) -> Face:
    left, top, right, bottom = (float(edge) for edge in found.box)
    points = np.asarray(found.points, dtype=np.float64)
    return Face((left, top, right - left, bottom - top), found.score, points, head_pose(points))


def _expert(settings: AnalyzeSettings) -> PriorExpert:
    if settings.finder is not None:
        expert = create_expert(settings.finder, settings.finder_settings)
        if type(expert).find_all is PriorExpert.find_all:
            raise ExpertError(
                f"the expert '{settings.finder}' cannot find all faces of a picture; choose --finder mediapipe-478 or "
                "dlib-68."
            )
        expert.load()
        return expert
    reasons = []
    for name in _FIRST_CHOICES:
        try:
            expert = expert_class(name)()
            expert.load()
        except ExpertError as error:
            reasons.append(str(error))
        else:
            return expert
    raise ExpertError("no expert that finds faces works here:\n  " + "\n  ".join(reasons))
