"""The face-alignment package's own face detectors, for pictures one by one and for batches on their device."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from llava_faba.errors import ExpertError
from llava_faba.experts.base import Frames, Picture
from llava_faba.experts.fan_weights import DETECTORS_OF_ONE_FILE, package, weights_file

DETECTORS = ("none", "sfd", "blazeface", "retinaface", "scrfd", "yunet", "dlib")
DETECTOR_VARIABLE = "LLAVA_FABA_FACE_DETECTOR"
_BATCHED = ("sfd",)
"""Detectors that the package runs on a batch without a loop over its images, and on the batch's device."""
_SMALLEST_PICTURE = 16  # a detector's network cannot take less


class PackageDetector:
    """A detector by its name in the package, made at first use. Thread-safe.

    ``expert``: for messages; ``weights``, ``sha256``: its file and what that must be; ``device``: where it runs.
    Raises ExpertError for a name that is not one of ``DETECTORS``, and when it is used, for weights that are missing
    or do not fit.
    """

    def __init__(
        self, expert: str, name: str, weights: str | None, sha256: str | None, device: Callable[[], str]
    ) -> None:
        if name not in DETECTORS:
            raise ExpertError(
                f"facial prior expert '{expert}': detector '{name}' is not one of {', '.join(DETECTORS)}."
            )
        self.name, self._expert, self._device = name, expert, device
        self._weights = None
        if name in DETECTORS_OF_ONE_FILE:
            self._weights = weights_file(expert, name, "detector_weights", weights, sha256, DETECTOR_VARIABLE)
        elif weights or sha256:
            raise ExpertError(
                f"facial prior expert '{expert}': detector_weights can be named for the detectors "
                f"{', '.join(DETECTORS_OF_ONE_FILE)}, not for '{name}'."
            )
        self._lock = threading.Lock()

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that make it again."""
        return {"detector": self.name} | (self._weights.settings if self._weights else {})

    def load(self) -> None:
        """Load its weights now; nothing to do for "none"."""
        if self.name != "none":
            _ = self._detector

    @property
    def reference(self) -> float:
        """The size that the package counts this detector's boxes in; see ``fan.regions``."""
        return float(self._detector.reference_scale)

    def boxes(self, picture: Picture) -> np.ndarray:
        """Faces of one picture: (n, 4), left, top, right, bottom in the original's coordinates."""
        if min(picture.pixels.shape[:2]) < _SMALLEST_PICTURE:
            return np.zeros((0, 4))
        with self._lock:
            boxes = _array(self._detector.detect_from_image(picture.pixels.copy()))
        return boxes * np.tile(picture.scale, 2) + np.tile(picture.offset, 2)

    def boxes_of_squares(self, images: Any, frames: Frames) -> list[np.ndarray] | None:
        """Faces of each square of a tensor (n, 3, S, S), 0 to 255, as ``boxes``; None where the package has no batch
        call for this detector that stays on the device."""
        if self.name not in _BATCHED:
            return None
        with self._lock:
            found = self._detector.detect_from_batch(images)
        if not len(found):
            return [np.zeros((0, 4))] * len(images)
        scales, offsets = np.tile(frames.scales, 2), np.tile(frames.offsets, 2)
        return [_array(boxes) * scale + offset for boxes, scale, offset in zip(found, scales, offsets, strict=True)]

    @cached_property
    def _detector(self) -> Any:
        package(self._expert)
        path = self._weights.find() if self._weights else None
        options = {"path_to_detector": str(path)} if path else {}
        try:
            module = importlib.import_module(f"face_alignment.detection.{self.name}")
            return module.FaceDetector(device=self._device(), verbose=False, **options)
        except Exception as error:  # each of the package's detectors has another way to fail
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ExpertError(
                f"facial prior expert '{self._expert}': the detector '{self.name}' of the face-alignment package "
                f"cannot be loaded with {path or 'its downloaded weights'} ({reason}). Install what is missing, or "
                "fetch the weights on a machine with a network and name the file in the setting 'detector_weights' or "
                f"in {DETECTOR_VARIABLE}."
            ) from error


def _array(boxes: Any) -> np.ndarray:
    """The package's lists of boxes, with or without a score, as (n, 4)."""
    rows = [np.asarray(box[:4], dtype=np.float64) for box in boxes]
    return np.stack(rows) if rows else np.zeros((0, 4))
