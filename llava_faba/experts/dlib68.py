"""``dlib-68``: dlib's 68 points of the iBUG 300-W scheme, on the CPU; the offline default."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from llava_faba.errors import ExpertError
from llava_faba.experts.base import FoundFace, LandmarkExpert, Located, Picture, PriorStatus, in_original
from llava_faba.experts.detection import HogDetector, box_of
from llava_faba.experts.regions import POINTS_68, Regions
from llava_faba.experts.weights import WeightsFile
from llava_faba.packages import install_command

_WEIGHTS_PACKAGE = "face_recognition_models"
WEIGHTS_VARIABLE = "LLAVA_FABA_DLIB68"
_UPSAMPLE_LIMIT = 4  # a picture of 512 pixels becomes one of 8,192
_WEIGHTS_FILE = "models/shape_predictor_68_face_landmarks.dat"


class Dlib68Expert(LandmarkExpert):
    """dlib's HOG frontal face detector, then its 68-point ensemble of regression trees.

    Input: uint8 RGB (h, w, 3) of any size, the face at least about 80 pixels wide (40 after one upsampling).
    Output: 68 points x, y interleaved, 136 numbers, normalised as in ``LandmarkExpert``. Of several
    faces the one with the largest product of area and the detector's confidence counts.
    ``upsample``: how often the picture is doubled before detection; ``retry_upsample``: the same for a second try
    where no face was found. ``weights``, ``weights_sha256``: another ``shape_predictor_68_face_landmarks.dat`` and
    what it must be. Licence of the weights: trained on iBUG 300-W, whose licence excludes commercial use.
    Thread-safe; one instance per process.
    """

    name: ClassVar[str] = "dlib-68"
    weights_licence: ClassVar[str] = (
        "shape_predictor_68_face_landmarks.dat (PyPI face-recognition-models) was trained on iBUG 300-W, whose "
        "licence excludes commercial use."
    )
    points: ClassVar[int] = 68
    regions: ClassVar[Regions] = POINTS_68
    in_workers: bool = True

    def __init__(
        self,
        upsample: int = 0,
        retry_upsample: int = 1,
        weights: str | None = None,
        weights_sha256: str | None = None,
    ) -> None:
        super().__init__()
        if not (0 <= upsample <= _UPSAMPLE_LIMIT and 0 <= retry_upsample <= _UPSAMPLE_LIMIT):
            raise ExpertError(
                f"facial prior expert 'dlib-68': upsample and retry_upsample must be from 0 to {_UPSAMPLE_LIMIT}: each "
                "step makes a picture four times as large."
            )
        self._upsample, self._retry_upsample = upsample, retry_upsample
        self._weights = WeightsFile(
            expert=self.name,
            setting="weights",
            named=weights,
            sha256=weights_sha256,
            variable=WEIGHTS_VARIABLE,
            places=_in_the_package,
            how_to_get=f"The package face-recognition-models holds it: {install_command('dlib')}",
        )
        self._detector = HogDetector(f"facial prior expert '{self.name}'", upsample, retry_upsample)
        path = self._weights.path
        try:
            status = path.stat()
            self._predictor = _predictor(self._detector.dlib, str(path), status.st_size, status.st_mtime_ns)
        except RuntimeError as error:
            raise ExpertError(f"facial prior expert '{self.name}': {path} is no shape predictor: {error}") from error

    @property
    def settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {"upsample": self._upsample, "retry_upsample": self._retry_upsample}
        usual = not self._weights.named and not self._weights.sha256 and self._weights.path in _in_the_package()
        return settings | ({} if usual else self._weights.settings)

    def locate(self, images: Sequence[np.ndarray]) -> list[Located]:
        return [self._locate_one(np.ascontiguousarray(image)) for image in images]

    def _locate_one(self, image: np.ndarray) -> Located:
        faces = self._detector(image)
        if not faces:
            return Located(PriorStatus.NOT_FOUND)
        status = PriorStatus.FOUND if len(faces) == 1 else PriorStatus.SEVERAL_FACES
        return Located(status, self._points(image, faces[0]))

    def find_all(self, picture: Picture) -> list[FoundFace] | None:
        image = np.ascontiguousarray(picture.pixels)
        return [
            FoundFace(box_of(face, picture), in_original(self._points(image, face), picture), float(score))
            for face, score in self._detector.scored(image)
        ]

    def _points(self, image: np.ndarray, face: Any) -> np.ndarray:
        shape = self._predictor(image, face)
        points = np.array([(point.x, point.y) for point in shape.parts()], dtype=np.float32)
        return points + 0.5  # dlib counts pixel centres


@functools.lru_cache(maxsize=2)
def _predictor(dlib: Any, path: str, size: int, modified: int) -> Any:
    """The shape predictor of a file of 100 MB, read once in a process; nothing of a call stays in it."""
    return dlib.shape_predictor(path)


def _in_the_package() -> list[Path]:
    # Importing the package needs pkg_resources, which newer setuptools no longer bring; its file is all we need.
    spec = importlib.util.find_spec(_WEIGHTS_PACKAGE)
    return [Path(folder) / _WEIGHTS_FILE for folder in (spec.submodule_search_locations or [])] if spec else []
