"""``face-alignment-2d`` and ``face-alignment-3d``: FAN from the face-alignment package, in batches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from llava_faba.errors import ExpertError
from llava_faba.experts.base import Frames, LandmarkExpert, Located, Picture, PriorResult, PriorStatus
from llava_faba.experts.weights import WeightsFile, sha256_of

DETECTORS = ("none", "sfd", "blazeface", "retinaface", "scrfd", "yunet", "dlib")
_SMALLEST_PICTURE = 16  # a detector's network cannot take less
_LARGEST_BATCH = 64
_FILES = {  # the names that the package gives its downloads
    "2DFAN-4": "2DFAN4-11f355bf06.pth.tar",
    "3DFAN-4": "3DFAN4-7835d9f11d.pth.tar",
    "depth": "depth-2a464da4ea.pth.tar",
}


class _FaceAlignmentExpert(LandmarkExpert):
    """What both experts share; the package is imported and the weights are read at first use."""

    points: ClassVar[int] = 68
    _network: ClassVar[str]
    _variable: ClassVar[str]

    def __init__(
        self,
        detector: str = "none",
        flip: bool = True,
        weights: str | None = None,
        weights_sha256: str | None = None,
        detector_weights: str | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        if detector not in DETECTORS:
            raise ExpertError(
                f"facial prior expert '{self.name}': detector '{detector}' is not one of {', '.join(DETECTORS)}."
            )
        self._detector_name, self._flip, self._detector_weights = detector, flip, detector_weights
        self._weights = _weights_file(self.name, self._network, "weights", weights, weights_sha256, self._variable)
        self._device = device
        self._lock = threading.Lock()

    @property
    def settings(self) -> dict[str, Any]:
        settings = {"detector": self._detector_name, "flip": self._flip, **self._weights.settings}
        return settings | ({"detector_weights": self._detector_weights} if self._detector_weights else {})

    def load(self) -> None:
        _ = self._fan, self._detector

    def preparer(self) -> Callable[[Picture], Any]:
        if self._detector_name != "none":
            return super().preparer()  # the detector wants the picture itself
        return _cropper()

    def extract(self, pictures: Sequence[Picture]) -> PriorResult:
        prepare = self.preparer()
        return self.extract_prepared([prepare(picture) for picture in pictures])

    def extract_prepared(self, prepared: Sequence[Any]) -> PriorResult:
        if self._detector_name == "none":
            located = self._locate_crops(prepared)
            return self.result(located, [crop.size for crop in prepared])
        return self.result(self._detect_and_locate(prepared), [picture.size for picture in prepared])

    def locate(self, images: Sequence[np.ndarray]) -> list[Located]:
        pictures = [Picture.whole(image) for image in images]
        if self._detector_name != "none":
            return self._detect_and_locate(pictures)
        prepare = self.preparer()
        return self._locate_crops([prepare(picture) for picture in pictures])

    def extract_tensor(self, images: Any, frames: Frames) -> PriorResult | None:
        if self._detector_name != "none":
            return None
        import torch

        from llava_faba.experts import fan

        at = fan.regions(fan.whole_image_boxes(frames.sizes))
        with torch.no_grad():
            points = self._points(fan.crops_from_squares(images, frames, at), at.centers, at.spans)
        sizes = [(int(width), int(height)) for width, height in frames.sizes]
        return self.result([Located(PriorStatus.FOUND, one) for one in points], sizes)

    def _detect_and_locate(self, pictures: Sequence[Picture]) -> list[Located]:
        from llava_faba.experts.fan import crop_box

        boxes = [self._boxes(picture) for picture in pictures]
        found = [crop_box(picture, _largest(box)) for picture, box in zip(pictures, boxes, strict=True) if len(box)]
        located = iter(self._locate_crops(found))
        results = []
        for box in boxes:
            if not len(box):
                results.append(Located(PriorStatus.NOT_FOUND))
                continue
            status = PriorStatus.FOUND if len(box) == 1 else PriorStatus.SEVERAL_FACES
            results.append(Located(status, next(located).points))
        return results

    def _boxes(self, picture: Picture) -> list[Sequence[float]]:
        """Face boxes in the original's coordinates."""
        if min(picture.pixels.shape[:2]) < _SMALLEST_PICTURE:
            return []
        with self._lock:
            boxes = self._detector.detect_from_image(picture.pixels.copy())
        scale, offset = np.tile(picture.scale, 2), np.tile(picture.offset, 2)
        return [np.asarray(box[:4], dtype=np.float64) * scale + offset for box in boxes]

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
        import torch

        return self._device or ("cuda" if torch.cuda.is_available() else "cpu")

    @cached_property
    def _fan(self) -> Any:
        path = _there(self._weights, self._network)
        from face_alignment.models import FAN

        weights = _read_weights(self.name, path)
        # The package's networks are stacks of hourglasses, each with a layer l0, l1, ... of heatmaps at its end.
        stages = sum(f"l{stage}.weight" in weights for stage in range(16))
        return _filled(self.name, FAN(max(stages, 1)), weights, path).to(self._own_device())

    @cached_property
    def _detector(self) -> Any:
        if self._detector_name == "none":
            return None
        _package(self.name)
        import importlib

        module = importlib.import_module(f"face_alignment.detection.{self._detector_name}")
        options = {"path_to_detector": self._detector_weights} if self._detector_weights else {}
        try:
            return module.FaceDetector(device=self._own_device(), verbose=False, **options)
        except (OSError, ImportError) as error:
            raise ExpertError(
                f"facial prior expert '{self.name}': the detector '{self._detector_name}' of the face-alignment "
                f"package cannot be loaded ({error}); it downloads its weights, so fetch them on a machine with a "
                "network, or name the file in the setting 'detector_weights'."
            ) from error


class FaceAlignment2dExpert(_FaceAlignmentExpert):
    """FAN's 68 points of the visible face (iBUG 300-W order), from the face-alignment package.

    Input: uint8 RGB of any size, an aligned face or, with a detector, a photograph.
    Output: 68 points x, y interleaved, 136 numbers, normalised as in ``LandmarkExpert``.
    ``detector``: "none" takes the whole image as the face box, right for aligned crops; or one of the package's
    (sfd, blazeface, retinaface, scrfd, yunet, dlib), and the largest face counts. ``flip``: also run the mirrored
    image and add the heatmaps, as the package does by default. ``weights``: the file (default: torch's hub cache,
    where the package downloads 2DFAN4 to); ``weights_sha256``: what it must be; ``detector_weights``: the
    detector's file; ``device``: default is the GPU if there is one. Thread-safe.
    """

    name: ClassVar[str] = "face-alignment-2d"
    weights_licence: ClassVar[str] = (
        "FAN's weights are downloaded by the face-alignment package (BSD-3-Clause) from its author's site; they were "
        "trained on 300-W-LP, whose licence is for research."
    )
    _network: ClassVar[str] = "2DFAN-4"
    _variable: ClassVar[str] = "LLAVA_FABA_2DFAN4"


class FaceAlignment3dExpert(_FaceAlignmentExpert):
    """FAN's 68 points of the 3-D face, from the face-alignment package: x and y in the image, z from a second network.

    Input and settings: as ``face-alignment-2d``, and ``depth_weights``, ``depth_weights_sha256`` for the network
    that estimates z. Output: 68 points x, y, z interleaved, 204 numbers; x and y are normalised as in
    ``LandmarkExpert``, z (in pixels of the image, 0 near the face's middle) is divided by half of the image's longer
    side like them.
    """

    name: ClassVar[str] = "face-alignment-3d"
    weights_licence: ClassVar[str] = FaceAlignment2dExpert.weights_licence
    dimensions: ClassVar[int] = 3
    _network: ClassVar[str] = "3DFAN-4"
    _variable: ClassVar[str] = "LLAVA_FABA_3DFAN4"

    def __init__(
        self, depth_weights: str | None = None, depth_weights_sha256: str | None = None, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self._depth_weights = _weights_file(
            self.name, "depth", "depth_weights", depth_weights, depth_weights_sha256, "LLAVA_FABA_FAN_DEPTH"
        )

    @property
    def settings(self) -> dict[str, Any]:
        return super().settings | self._depth_weights.settings

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
        path = _there(self._depth_weights, "depth")
        from face_alignment.models import ResNetDepth

        weights = _read_weights(self.name, path)
        weights = {key.removeprefix("module."): value for key, value in weights.get("state_dict", weights).items()}
        return _filled(self.name, ResNetDepth(), weights, path).to(self._own_device())


def _cropper() -> Callable[[Picture], Any]:
    from llava_faba.experts.fan import crop_whole

    return crop_whole


def _largest(boxes: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    left, top, right, bottom = max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
    return float(left), float(top), float(right), float(bottom)


def _package(expert: str) -> Any:
    try:
        import face_alignment.api
    except ImportError as error:
        raise ExpertError(
            f"facial prior expert '{expert}' needs the face-alignment package, which does not import here ({error}); "
            "run 'pip install llava-faba[face-alignment]'."
        ) from error
    return face_alignment.api


def _weights_file(
    expert: str, network: str, setting: str, named: str | None, sha256: str | None, variable: str
) -> WeightsFile:
    """The named file, or the package's in torch's hub cache."""
    return WeightsFile(
        expert=expert,
        setting=setting,
        named=named,
        sha256=sha256,
        variable=variable,
        places=lambda: [_hub_file(network)],
        how_to_get="Without one the package downloads it.",
    )


def _hub_file(network: str) -> Path:
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / _FILES[network]


def _there(weights: WeightsFile, network: str) -> Path:
    """The file of weights, downloaded to torch's hub cache, as the package does, when it is nowhere."""
    package = _package(weights.expert)
    if weights.find() is None:
        from face_alignment.utils import load_file_from_url

        url = package.models_urls[network]
        try:
            load_file_from_url(url, check_hash=True)
        except (OSError, RuntimeError) as error:  # no network; or the hash in the file's name does not fit
            raise ExpertError(
                f"facial prior expert '{weights.expert}' has no weights, and {url} cannot be downloaded ({error}). "
                f"On a machine with a network fetch it and copy it to {_hub_file(network)}, or name the file in the "
                f"setting '{weights.setting}' or in the environment variable {weights.variable}."
            ) from error
    return weights.path


def _read_weights(expert: str, path: Path) -> dict[str, Any]:
    import pickle

    import torch

    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not _is_the_packages(path):
            raise ExpertError(
                f"facial prior expert '{expert}': {path} holds more than tensors, and could run code: it is not read "
                f"({str(error).splitlines()[0]})."
            ) from error
        weights = torch.load(path, map_location="cpu", weights_only=False)
    except (OSError, RuntimeError, EOFError, KeyError) as error:
        raise ExpertError(f"facial prior expert '{expert}': {path} is not a file of weights: {error}") from error
    if not isinstance(weights, dict):
        raise ExpertError(f"facial prior expert '{expert}': {path} holds no state dict.")
    return weights


def _is_the_packages(path: Path) -> bool:
    """Whether the file is one that the package downloads, told by the hash that its URL names."""
    from torch.hub import HASH_REGEX

    for url in _package("face-alignment").models_urls.values():
        match = HASH_REGEX.search(url.rsplit("/", 1)[-1])
        if match and sha256_of(path).startswith(match.group(1)):
            return True
    return False


def _filled(expert: str, network: Any, weights: dict[str, Any], path: Path) -> Any:
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise ExpertError(
            f"facial prior expert '{expert}': {path} does not fit the package's {type(network).__name__}: "
            f"{' '.join(line.strip() for line in lines[:3])[:400]}"
        ) from error
    import torch

    return network.eval().to(memory_format=torch.channels_last)
