"""``face-alignment-2d`` and ``face-alignment-3d``: FAN from the face-alignment package, in batches."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from llava_faba.experts.base import Frames, LandmarkExpert, Located, Picture, PriorResult, PriorStatus
from llava_faba.experts.devices import torch_device
from llava_faba.experts.fan_detectors import PackageDetector
from llava_faba.experts.fan_weights import filled, path_of, read_weights, weights_file
from llava_faba.experts.regions import POINTS_68, Regions
from llava_faba.packages import install_command

_LARGEST_BATCH = 64
_LICENCE = (
    "FAN's weights are downloaded by the face-alignment package (BSD-3-Clause) from its author's site; they were "
    "trained on 300-W-LP, whose licence is for research."
)


class _FaceAlignmentExpert(LandmarkExpert):
    """What both experts share; the package is imported and the weights are read at first use."""

    points: ClassVar[int] = 68
    regions: ClassVar[Regions] = POINTS_68
    _network: ClassVar[str]
    _variable: ClassVar[str]

    def __init__(
        self,
        detector: str = "none",
        flip: bool = True,
        weights: str | None = None,
        weights_sha256: str | None = None,
        detector_weights: str | None = None,
        detector_weights_sha256: str | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        self._flip, self._device = flip, device
        self._weights = weights_file(self.name, self._network, "weights", weights, weights_sha256, self._variable)
        self.finds_faces = detector != "none"
        self._detector = PackageDetector(
            self.name, detector, detector_weights, detector_weights_sha256, self._own_device
        )
        self._lock = threading.Lock()

    @property
    def settings(self) -> dict[str, Any]:
        return {**self._detector.settings, "flip": self._flip, **self._weights.settings}

    def missing(self) -> str | None:
        if importlib.util.find_spec("face_alignment") is None:
            return (
                f"facial prior expert '{self.name}' needs the face-alignment package: "
                f"{install_command('face-alignment')}"
            )
        return self._weights.missing

    def load(self) -> None:
        _ = self._fan
        self._detector.load()

    def preparer(self) -> Callable[[Picture], Any]:
        if self._detector.name != "none":
            return super().preparer()  # the detector wants the picture itself
        return _cropper()

    def extract(self, pictures: Sequence[Picture]) -> PriorResult:
        prepare = self.preparer()
        return self.extract_prepared([prepare(picture) for picture in pictures])

    def extract_prepared(self, prepared: Sequence[Any]) -> PriorResult:
        if self._detector.name == "none":
            located = self._locate_crops(prepared)
            return self.result(located, [crop.size for crop in prepared])
        return self.result(self._detect_and_locate(prepared), [picture.size for picture in prepared])

    def locate(self, images: Sequence[np.ndarray]) -> list[Located]:
        pictures = [Picture.whole(image) for image in images]
        if self._detector.name != "none":
            return self._detect_and_locate(pictures)
        prepare = self.preparer()
        return self._locate_crops([prepare(picture) for picture in pictures])

    def extract_tensor(self, images: Any, frames: Frames) -> PriorResult | None:
        import torch

        from llava_faba.experts import fan

        with torch.no_grad():
            if self._detector.name == "none":
                boxes, reference = fan.whole_image_boxes(frames.sizes), float(fan.utils.REFERENCE_SCALE)
                statuses = [PriorStatus.FOUND] * len(images)
            else:
                faces = self._detector.boxes_of_squares(images, frames)
                if faces is None:
                    return None
                statuses, reference = [_status(found) for found in faces], self._detector.reference
                boxes = np.array([_largest(found) for found in faces if len(found)]).reshape(-1, 4)
            rows = np.flatnonzero([status is not PriorStatus.NOT_FOUND for status in statuses])
            if not len(rows):
                return self.result([Located(status) for status in statuses], [(1, 1)] * len(statuses))
            seen = images if len(rows) == len(images) else images[torch.as_tensor(rows, device=images.device)]
            where, at = frames.of_rows(rows), fan.regions(boxes, reference)
            points = self._points(fan.crops_from_squares(seen, where, at), at.centers, at.spans)
        features = np.zeros((len(images), self.size), dtype=np.float32)
        features[rows] = self.features(points, where.sizes)
        landmarks: list[np.ndarray | None] = [None] * len(images)
        for row, found in zip(rows, points, strict=True):
            landmarks[row] = found
        return PriorResult(features, statuses, landmarks)

    def _detect_and_locate(self, pictures: Sequence[Picture]) -> list[Located]:
        from llava_faba.experts.fan import crop_box

        faces = [self._detector.boxes(picture) for picture in pictures]
        found = [
            crop_box(picture, _largest(boxes), self._detector.reference)
            for picture, boxes in zip(pictures, faces, strict=True)
            if len(boxes)
        ]
        located = iter(self._locate_crops(found))
        return [Located(_status(boxes), next(located).points if len(boxes) else None) for boxes in faces]

    def _locate_crops(self, crops: Sequence[Any]) -> list[Located]:
        import torch

        located = []
        for start in range(0, len(crops), _LARGEST_BATCH):
            part = crops[start : start + _LARGEST_BATCH]
            pixels = np.stack([crop.pixels for crop in part]).transpose(0, 3, 1, 2)
            with torch.no_grad():
                batch = torch.from_numpy(np.ascontiguousarray(pixels)).to(self._own_device()).float() / 255
                points = self._points(
                    batch, np.array([crop.center for crop in part]), np.array([crop.span for crop in part])
                )
            located += [Located(PriorStatus.FOUND, one) for one in points]
        return located

    def _points(self, crops: Any, centers: np.ndarray, spans: np.ndarray) -> np.ndarray:
        """Points (n, 68, dimensions), float32, in pixels of the originals, for crops (n, 3, 256, 256) on a device."""
        from llava_faba.experts import fan

        places = fan.peaks(fan.heatmaps(self._on(self._fan, crops.device), crops, self._flip))
        return fan.in_original(places.double().cpu().numpy(), centers, spans).astype(np.float32)

    def _on(self, network: Any, device: Any) -> Any:
        with self._lock:
            if next(network.parameters()).device != device:
                network.to(device)
            return network

    def _own_device(self) -> str:
        return self._device or torch_device()

    @cached_property
    def _fan(self) -> Any:
        path = path_of(self._weights, self._network)
        from face_alignment.models import FAN

        weights = read_weights(self.name, path)
        # The package's networks are stacks of hourglasses, each with a layer l0, l1, ... of heatmaps at its end.
        stages = sum(f"l{stage}.weight" in weights for stage in range(16))
        return filled(self.name, FAN(max(stages, 1)), weights, path).to(self._own_device())


class FaceAlignment2dExpert(_FaceAlignmentExpert):
    """FAN's 68 points of the visible face (iBUG 300-W order), from the face-alignment package.

    Input: uint8 RGB of any size, an aligned face or, with a detector, a photograph.
    Output: 68 points x, y interleaved, 136 numbers, normalised as in ``LandmarkExpert``.
    ``detector``: "none" takes the whole image as the face box, right for aligned crops; or one of the package's
    (sfd, blazeface, retinaface, scrfd, yunet, dlib), and the largest face counts. ``flip``: also run the mirrored
    image and add the heatmaps, as the package does by default. ``weights``: the file (default: torch's hub cache,
    where the package downloads 2DFAN4 to); ``weights_sha256``: what it must be; ``detector_weights``,
    ``detector_weights_sha256``: the same for the detector; ``device``: default is this process's GPU if there is one.
    Licence of the weights: not part of llava-faba; the package downloads them from its author's site, and they were
    trained on 300-W-LP, whose licence is for research. Thread-safe.
    """

    name: ClassVar[str] = "face-alignment-2d"
    weights_licence: ClassVar[str] = _LICENCE
    _network: ClassVar[str] = "2DFAN-4"
    _variable: ClassVar[str] = "LLAVA_FABA_2DFAN4"


class FaceAlignment3dExpert(_FaceAlignmentExpert):
    """FAN's 68 points of the 3-D face, from the face-alignment package: x and y in the image, z from a second network.

    Input and settings: as ``face-alignment-2d``, and ``depth_weights``, ``depth_weights_sha256`` for the network
    that estimates z. Output: 68 points x, y, z interleaved, 204 numbers; x and y are normalised as in
    ``LandmarkExpert``, z (in pixels of the image, 0 near the face's middle) is divided by half of the image's longer
    side like them. Licence of the weights: as for ``face-alignment-2d``.
    """

    name: ClassVar[str] = "face-alignment-3d"
    weights_licence: ClassVar[str] = _LICENCE
    dimensions: ClassVar[int] = 3
    _network: ClassVar[str] = "3DFAN-4"
    _variable: ClassVar[str] = "LLAVA_FABA_3DFAN4"

    def __init__(
        self, depth_weights: str | None = None, depth_weights_sha256: str | None = None, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self._depth_weights = weights_file(
            self.name, "depth", "depth_weights", depth_weights, depth_weights_sha256, "LLAVA_FABA_FAN_DEPTH"
        )

    @property
    def settings(self) -> dict[str, Any]:
        return super().settings | self._depth_weights.settings

    def missing(self) -> str | None:
        return super().missing() or self._depth_weights.missing

    def load(self) -> None:
        super().load()
        _ = self._depth_network

    def _points(self, crops: Any, centers: np.ndarray, spans: np.ndarray) -> np.ndarray:
        from llava_faba.experts import fan

        places = fan.peaks(fan.heatmaps(self._on(self._fan, crops.device), crops, self._flip))
        depths = fan.depths(self._on(self._depth_network, crops.device), crops, places).double().cpu().numpy()
        flat = fan.in_original(places.double().cpu().numpy(), centers, spans)
        deep = depths * (spans[:, None] / fan.CROP)
        return np.concatenate((flat, deep[..., None]), axis=-1).astype(np.float32)

    @cached_property
    def _depth_network(self) -> Any:
        path = path_of(self._depth_weights, "depth")
        from face_alignment.models import ResNetDepth

        weights = read_weights(self.name, path)
        weights = {key.removeprefix("module."): value for key, value in weights.get("state_dict", weights).items()}
        return filled(self.name, ResNetDepth(), weights, path).to(self._own_device())


def _cropper() -> Callable[[Picture], Any]:
    from llava_faba.experts.fan import crop_whole

    return crop_whole


def _largest(boxes: np.ndarray) -> tuple[float, float, float, float]:
    left, top, right, bottom = max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
    return float(left), float(top), float(right), float(bottom)


def _status(boxes: np.ndarray) -> PriorStatus:
    if not len(boxes):
        return PriorStatus.NOT_FOUND
    return PriorStatus.FOUND if len(boxes) == 1 else PriorStatus.SEVERAL_FACES
