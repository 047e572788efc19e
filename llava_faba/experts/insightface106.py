"""``insightface-106`` and ``emola-106``: InsightFace's network of 106 points, 2d106det.onnx, fed in two ways."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from llava_faba.errors import ExpertError
from llava_faba.experts.base import LandmarkExpert, Located, Picture, PriorExpert, PriorResult, PriorStatus
from llava_faba.experts.detection import DETECTORS, HogDetector
from llava_faba.experts.devices import onnx_provider
from llava_faba.experts.onnx_graph import first_node_names
from llava_faba.experts.regions import POINTS_106, Regions
from llava_faba.experts.sampling import sample_grid, square_grid
from llava_faba.experts.weights import WeightsFile
from llava_faba.packages import install_command

SIDE = 192
POINTS = 106
WEIGHTS_VARIABLE = "LLAVA_FABA_2D106DET"
_LICENCE = (
    "2d106det.onnx is part of InsightFace's model packs (buffalo_l and others), which InsightFace gives away for "
    "non-commercial research only; it is not part of llava-faba."
)
_HOW_TO_GET = (
    "InsightFace's model pack buffalo_l holds it (see docs/priors.md); unpacked below ~/.insightface/models it is "
    "found by itself."
)


class Network106:
    """2d106det.onnx in onnxruntime, loaded at first use. Thread-safe, as onnxruntime's sessions are.

    ``weights``: the file; ``sha256``: what it must be; ``device``: "cpu", or "cuda" with onnxruntime-gpu.
    Raises ExpertError, when it is used, for a missing file and for one of another signature.
    """

    def __init__(self, expert: str, weights: str | None, sha256: str | None, device: str) -> None:
        self.weights = WeightsFile(
            expert=expert,
            setting="weights",
            named=weights,
            sha256=sha256,
            variable=WEIGHTS_VARIABLE,
            places=lambda: sorted((Path.home() / ".insightface" / "models").glob("*/2d106det.onnx")),
            how_to_get=_HOW_TO_GET,
        )
        self._device = device

    @cached_property
    def _loaded(self) -> tuple[Any, str, bool]:
        session = _session(self.weights.expert, self.weights.path, self._device)
        batched = _takes_batches(self.weights.expert, self.weights.path, session)
        return session, session.get_inputs()[0].name, batched

    def missing(self) -> str | None:
        if importlib.util.find_spec("onnxruntime") is None:
            return f"facial prior expert '{self.weights.expert}' needs onnxruntime: {install_command('insightface')}"
        return self.weights.missing

    def load(self) -> None:
        """Load the network and check its input and output shapes."""
        _ = self._loaded

    @cached_property
    def normalizes_itself(self) -> bool:
        """Whether the graph subtracts the mean and divides, told by its node names as InsightFace does."""
        names = first_node_names(self.weights.path)
        subtracts = any(name.startswith(("Sub", "_minus")) for name in names)
        multiplies = any(name.startswith(("Mul", "_mul")) for name in names)
        return (subtracts and multiplies) or "bn_data" in names[:3]

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Output (n, 212) for inputs float32 (n, 3, 192, 192)."""
        session, name, batched = self._loaded
        if batched:
            return session.run(None, {name: inputs})[0]
        rows = [session.run(None, {name: one[None]})[0] for one in inputs]
        return np.concatenate(rows) if rows else np.zeros((0, 2 * POINTS), dtype=np.float32)


@dataclass(frozen=True)
class NetworkInput:
    """What the network gets to see of one picture, small enough to travel from a worker process.

    ``pixels``: uint8 RGB (192, 192, 3), None without a face; ``size``: (width, height) of the original; ``square``:
    (left, top, side) of the pixels in the original, where they are not all of it.
    """

    pixels: np.ndarray | None
    size: tuple[int, int]
    square: tuple[float, float, float] = (0.0, 0.0, 0.0)
    status: PriorStatus = PriorStatus.FOUND


class SquareCropper:
    """InsightFace's square of the main face of a picture, as a ``NetworkInput``. Pickles; thread-safe.

    ``detector``: "none" (the whole image is the face box) or "dlib".
    """

    def __init__(self, user: str, detector: str) -> None:
        self._user, self._detector = user, detector
        _ = self._hog

    def __getstate__(self) -> dict[str, Any]:
        return {"_user": self._user, "_detector": self._detector}

    @cached_property
    def _hog(self) -> HogDetector | None:
        return HogDetector(self._user) if self._detector == "dlib" else None

    def __call__(self, picture: Picture) -> NetworkInput:
        if self._hog is None:
            square = _square((0.0, 0.0, float(picture.size[0]), float(picture.size[1])))
            return NetworkInput(_sampled(picture, square), picture.size, square)
        boxes = self._hog.boxes(picture)
        if not boxes:
            return NetworkInput(None, picture.size, status=PriorStatus.NOT_FOUND)
        status = PriorStatus.FOUND if len(boxes) == 1 else PriorStatus.SEVERAL_FACES
        square = _square(boxes[0])
        return NetworkInput(_sampled(picture, square), picture.size, square, status)


class InsightFace106Expert(LandmarkExpert):
    """The 106 points as InsightFace computes them.

    Input: uint8 RGB of any size. A square of 1.5 times the face box's longer side is sampled to 192 x 192 (black
    beyond the image), with InsightFace's mean and scale (127.5 and 1/128, unless the graph brings its own).
    Output: 106 points x, y interleaved, 212 numbers, normalised as in ``LandmarkExpert``.
    ``detector``: "none" takes the whole image as the face box, right for aligned crops; "dlib" finds faces with
    dlib's HOG detector, and the main one counts. ``weights``, ``weights_sha256``: the file 2d106det.onnx, found by
    itself below ~/.insightface/models or through LLAVA_FABA_2D106DET, and what it must be. ``device``: "cpu", "cuda"
    or "cuda:1" (with onnxruntime-gpu). Licence of the weights: not part of llava-faba; InsightFace gives them away for
    non-commercial research only. Thread-safe.
    """

    name: ClassVar[str] = "insightface-106"
    weights_licence: ClassVar[str] = _LICENCE
    points: ClassVar[int] = POINTS
    regions: ClassVar[Regions] = POINTS_106

    def __init__(
        self,
        weights: str | None = None,
        detector: str = "none",
        weights_sha256: str | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__()
        if detector not in DETECTORS:
            raise ExpertError(
                f"facial prior expert '{self.name}': detector '{detector}' is not one of {', '.join(DETECTORS)}."
            )
        self.network = Network106(self.name, weights, weights_sha256, device)
        self._detector, self.finds_faces = detector, detector != "none"
        self._cropper = SquareCropper(f"facial prior expert '{self.name}'", detector)
        self.in_workers = device == "cpu"

    @property
    def settings(self) -> dict[str, Any]:
        return {"detector": self._detector, **self.network.weights.settings}

    def load(self) -> None:
        self.network.load()

    def missing(self) -> str | None:
        return self.network.missing()

    def preparer(self) -> Callable[[Picture], Any]:
        return self._cropper

    def extract(self, pictures: Sequence[Picture]) -> PriorResult:
        return self.extract_prepared([self._cropper(picture) for picture in pictures])

    def extract_prepared(self, prepared: Sequence[Any]) -> PriorResult:
        return self.result(self._locate(prepared), [one.size for one in prepared])

    def locate(self, images: Sequence[np.ndarray]) -> list[Located]:
        return self._locate([self._cropper(Picture.whole(image)) for image in images])

    def _locate(self, prepared: Sequence[NetworkInput]) -> list[Located]:
        """Faces with points in the originals' coordinates."""
        seen = [one.pixels for one in prepared if one.pixels is not None]
        outputs = iter(self.network(self.inputs(np.stack(seen))) if seen else ())
        located = []
        for one in prepared:
            if one.pixels is None:
                located.append(Located(one.status))
                continue
            left, top, side = one.square
            points = (next(outputs).reshape(-1, 2) + 1) * (SIDE // 2)
            located.append(Located(one.status, (points * (side / SIDE) + (left, top)).astype(np.float32)))
        return located

    def inputs(self, pixels: np.ndarray) -> np.ndarray:
        """Network inputs, float32 (n, 3, 192, 192), of uint8 RGB (n, 192, 192, 3)."""
        batch = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32)
        if self.network.normalizes_itself:
            return batch
        return (batch - np.float32(127.5)) / np.float32(128)


class Emola106Expert(PriorExpert):
    """The 106-point network as the authors of EmoLA fed it: what FABA-Instruct's features and their checkpoints need.

    Input: uint8 RGB of any size, an aligned face; the whole image is stretched to 192 x 192 (linear), turned to BGR
    and divided by 255. Output: the network's raw output, x and y interleaved, 212 numbers: -1 and 1 are the edges of
    the stretched image. No detector: every readable image is "found".
    ``weights``, ``weights_sha256``, ``device``, licence of the weights: as for ``insightface-106``. Thread-safe.
    """

    name: ClassVar[str] = "emola-106"
    regions: ClassVar[Regions] = POINTS_106
    weights_licence: ClassVar[str] = _LICENCE
    finds_faces = False

    def __init__(self, weights: str | None = None, weights_sha256: str | None = None, device: str = "cpu") -> None:
        self.size = 2 * POINTS
        self.network = Network106(self.name, weights, weights_sha256, device)
        self.in_workers = device == "cpu"

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.network.weights.settings)

    def load(self) -> None:
        self.network.load()

    def missing(self) -> str | None:
        return self.network.missing()

    def preparer(self) -> Callable[[Picture], Any]:
        return _stretched

    def extract(self, pictures: Sequence[Picture]) -> PriorResult:
        return self.extract_prepared([_stretched(picture) for picture in pictures])

    def extract_prepared(self, prepared: Sequence[Any]) -> PriorResult:
        if not prepared:
            return PriorResult(np.zeros((0, self.size), dtype=np.float32), [], [])
        bgr = np.stack([one.pixels for one in prepared])[..., ::-1].transpose(0, 3, 1, 2)
        features = self.network(np.ascontiguousarray(bgr, dtype=np.float32) / np.float32(255)).astype(np.float32)
        landmarks = [self.landmarks(feature, one.size) for feature, one in zip(features, prepared, strict=True)]
        return PriorResult(features, [PriorStatus.FOUND] * len(prepared), landmarks)

    def landmarks(self, feature: np.ndarray, size: tuple[int, int]) -> np.ndarray | None:
        if not np.any(feature):
            return None
        points = (feature.astype(np.float64).reshape(-1, 2) + 1) * (SIDE // 2) + 0.5
        return (points * np.array(size) / SIDE).astype(np.float32)


def _stretched(picture: Picture) -> NetworkInput:
    """The whole original, stretched."""
    xs, ys = square_grid(0.0, 0.0, *picture.size, SIDE)
    return NetworkInput(sample_grid(picture, xs, ys, outside="edge"), picture.size)


def _sampled(picture: Picture, square: tuple[float, float, float]) -> np.ndarray:
    """Pixels of a square (left, top, side) in the original; black beyond it."""
    left, top, side = square
    # InsightFace's affine map puts the box's centre on index 96 of 0 to 191, half a pixel off the middle.
    shift = 0.5 * side / SIDE
    xs, ys = square_grid(left - shift, top - shift, side, side, SIDE)
    return sample_grid(picture, xs, ys, outside="black")


def _square(box: tuple[float, float, float, float]) -> tuple[float, float, float]:
    """InsightFace's square around a box: (left, top, side)."""
    left, top, right, bottom = box
    side = 1.5 * max(right - left, bottom - top)
    return (left + right - side) / 2, (top + bottom - side) / 2, side


def _session(expert: str, path: Path, device: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ExpertError(
            f"facial prior expert '{expert}' needs onnxruntime, which does not import here ({error}): "
            f"{install_command('insightface')}"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a small network: processes scale, its threads do not
    options.log_severity_level = 3
    provider = onnx_provider(device)
    if provider is None or provider[0] not in onnxruntime.get_available_providers():
        raise ExpertError(
            f"facial prior expert '{expert}': device '{device}' is not one that this onnxruntime has "
            f"({', '.join(onnxruntime.get_available_providers())}); choose 'cpu', or install onnxruntime-gpu."
        )
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # onnxruntime's errors share no base class
        raise ExpertError(f"{path} is not an ONNX model that onnxruntime can run: {error}") from error


def _takes_batches(expert: str, path: Path, session: Any) -> bool:
    """Check the graph's signature. Returns whether it takes several images at once."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    found = f"inputs {[one.shape for one in inputs]}, outputs {[one.shape for one in outputs]}"
    shapes = [inputs[0].shape, outputs[0].shape]
    if len(inputs) != 1 or len(outputs) != 1 or shapes[0][1:] != [3, SIDE, SIDE] or shapes[1][1:] != [2 * POINTS]:
        raise ExpertError(
            f"{path} is not the network that '{expert}' needs: expected one input (n, 3, {SIDE}, {SIDE}) and one "
            f"output (n, {2 * POINTS}), found {found}. 2d106det.onnx is the file to name."
        )
    if isinstance(shapes[0][0], int):
        return shapes[0][0] != 1 and _fails(expert, path, f"its batch size is fixed to {shapes[0][0]}")
    try:  # exported graphs with a free batch size can still have a reshape to one row
        outcome = session.run(None, {inputs[0].name: np.zeros((2, 3, SIDE, SIDE), dtype=np.float32)})[0]
    except Exception:  # see above; image by image works then
        return False
    return outcome.shape == (2, 2 * POINTS)


def _fails(expert: str, path: Path, why: str) -> bool:
    raise ExpertError(f"{path} cannot be used by '{expert}': {why}; expected 1 or a free one.")
