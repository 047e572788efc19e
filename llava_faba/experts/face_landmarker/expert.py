"""``mediapipe-478`` and ``blendshapes-52``: MediaPipe's face mesh and blendshapes as facial priors.

Sources: Kartynnik et al., Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs, 2019 (arXiv
1907.06724); Grishchenko et al., Blendshapes GHUM, 2023 (arXiv 2309.05782).
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from llava_faba.experts.base import (
    FoundFace,
    Frames,
    LandmarkExpert,
    Located,
    Picture,
    PriorExpert,
    PriorResult,
    PriorStatus,
)
from llava_faba.experts.face_landmarker import bundle, detector, region
from llava_faba.experts.face_landmarker.detector import Face
from llava_faba.experts.face_landmarker.names import BLENDSHAPE_POINTS, BLENDSHAPES
from llava_faba.experts.face_landmarker.networks import Network, litert_networks, torch_networks
from llava_faba.experts.regions import MESH_478, Regions
from llava_faba.packages import install_command

_LICENCE = "face_landmarker.task is published by Google under Apache-2.0."
_POINTS = 478


@dataclass(frozen=True)
class _Meshed:
    """One picture's mesh: points (478, 2) in pixels of the original, or None without a face."""

    status: PriorStatus
    points: np.ndarray | None = None


class FaceLandmarker:
    """Detector, mesh and blendshapes of one file; networks are made at the first use. Thread-safe.

    ``expert``: for messages; ``weights``: the file, where it is not in one of the known places.
    """

    def __init__(self, expert: str, weights: str | None) -> None:
        self.expert = expert
        self.weights = bundle.weights_file(expert, weights)
        self._lock = threading.Lock()
        self._on_devices: dict[str, dict[str, Any]] = {}

    def missing(self) -> str | None:
        if importlib.util.find_spec("ai_edge_litert") is None:
            return f"facial prior expert '{self.expert}' needs ai-edge-litert: {install_command('mediapipe')}"
        return self.weights.missing

    @cached_property
    def _contents(self) -> dict[str, bytes]:
        return bundle.read_networks(self.weights)

    def litert(self) -> dict[str, Network]:
        """The networks on the CPU."""
        with self._lock:
            return self._litert

    @cached_property
    def _litert(self) -> dict[str, Network]:
        return litert_networks(self.expert, self._contents)

    def on_device(self, device: Any) -> dict[str, Any]:
        """The networks in torch on a device."""
        with self._lock:
            if str(device) not in self._on_devices:
                self._on_devices[str(device)] = torch_networks(self.expert, self._contents, device)
            return self._on_devices[str(device)]

    def mesh(self, picture: Picture) -> _Meshed:
        """The main face's mesh in one picture."""
        networks = self.litert()
        square = region.letterbox(picture.size, detector.SIDE)
        regressors, scores = networks["detector"](region.crop(picture, square, detector.SIDE) / 127.5 - 1)
        faces = _in_original(detector.faces_of(regressors[0], scores[0]), square)
        for face in faces:
            turned = region.face_square(face)
            points, presence, _ = networks["mesh"](region.crop(picture, turned, region.MESH_SIDE) / 255)
            if presence.item() > 0:  # a logit: no face stands behind some boxes
                return _Meshed(_status(faces), region.moved(_flat(points), turned))
        return _Meshed(PriorStatus.NOT_FOUND)

    def find_all(self, picture: Picture) -> list[FoundFace]:
        """Every face, the main one first; small ones are looked for in overlapping parts of a large picture as well."""
        networks = self.litert()
        faces: list[Face] = []
        for square in region.parts(picture.size, detector.SIDE):
            regressors, scores = networks["detector"](region.crop(picture, square, detector.SIDE) / 127.5 - 1)
            faces += _in_original(detector.faces_of(regressors[0], scores[0]), square)
        found = []
        for face in detector.main_first(detector.without_doubles(faces)):
            turned = region.face_square(face)
            points, presence, _ = networks["mesh"](region.crop(picture, turned, region.MESH_SIDE) / 255)
            if presence.item() > 0:
                left, top, right, bottom = (float(edge) for edge in face.box)
                placed = region.moved(_flat(points), turned).astype(np.float32)
                found.append(FoundFace((left, top, right, bottom), placed, face.score))
        return found

    def blendshapes(self, points: np.ndarray) -> np.ndarray:
        """The 52 blendshapes, float32 from 0 to 1, of one mesh."""
        made = self.litert()["blendshapes"](points[list(BLENDSHAPE_POINTS)])[0]
        return np.asarray(made, dtype=np.float32).reshape(-1)

    def meshes_of_tensor(self, images: Any, frames: Frames) -> list[_Meshed]:
        """The main faces' meshes in a batch of squares (n, 3, S, S), 0 to 255, on a device."""
        import torch

        networks = self.on_device(images.device)
        squares = np.stack([region.letterbox((w, h), detector.SIDE) for w, h in frames.sizes])
        with torch.no_grad():
            seen = region.crops_from_squares(images, frames, squares, detector.SIDE) / 127.5 - 1
            regressors, scores = (one.cpu().numpy() for one in networks["detector"](seen))
        found = [
            _in_original(detector.faces_of(*one), square)
            for one, square in zip(zip(regressors, scores, strict=True), squares, strict=True)
        ]
        meshes = [_Meshed(PriorStatus.NOT_FOUND)] * len(found)
        rank = 0
        while rows := [row for row, faces in enumerate(found) if len(faces) > rank and meshes[row].points is None]:
            turned = np.stack([region.face_square(found[row][rank]) for row in rows])
            index = torch.as_tensor(rows, device=images.device)
            with torch.no_grad():
                crops = region.crops_from_squares(
                    images[index], frames.of_rows(np.array(rows)), turned, region.MESH_SIDE
                )
                points, presence, _ = (one.cpu().numpy() for one in networks["mesh"](crops / 255))
            for at, row in enumerate(rows):
                if presence[at].item() > 0:
                    meshes[row] = _Meshed(_status(found[row]), region.moved(_flat(points[at]), turned[at]))
            rank += 1
        return meshes

    def blendshapes_of_tensor(self, points: np.ndarray, device: Any) -> np.ndarray:
        """Blendshapes (n, 52) of meshes (n, 478, 2), on a device."""
        import torch

        network = self.on_device(device)["blendshapes"]
        with torch.no_grad():
            chosen = torch.as_tensor(points[:, list(BLENDSHAPE_POINTS)], dtype=torch.float32, device=device)
            return np.asarray(network(chosen)[0].cpu().numpy(), dtype=np.float32)


class Mediapipe478Expert(LandmarkExpert):
    """MediaPipe's face mesh: 468 points of the face and 5 on each iris, from ``face_landmarker.task``.

    Input: uint8 RGB (h, w, 3) of any size, the face at least about a tenth of the longer side (the detector sees 128 x
    128 pixels). Output: 478 points x, y interleaved, 956 numbers, normalised as in ``LandmarkExpert``. Of several faces
    the one with the largest product of area and score counts. ``weights``: the file, of the one SHA-256 that is known
    here. Licence of the weights: Apache-2.0. Thread-safe.
    """

    name: ClassVar[str] = "mediapipe-478"
    weights_licence: ClassVar[str] = _LICENCE
    points: ClassVar[int] = _POINTS
    regions: ClassVar[Regions] = MESH_478
    in_workers: bool = True

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        self._landmarker = FaceLandmarker(self.name, weights)

    def missing(self) -> str | None:
        return self._landmarker.missing()

    def load(self) -> None:
        self._landmarker.litert()

    def find_all(self, picture: Picture) -> list[FoundFace] | None:
        return self._landmarker.find_all(picture)

    def extract(self, pictures: Sequence[Picture]) -> PriorResult:
        meshes = [self._landmarker.mesh(picture) for picture in pictures]
        return self._result(meshes, [picture.size for picture in pictures])

    def from_others(self, others: Mapping[str, PriorResult], sizes: Sequence[tuple[int, int]]) -> PriorResult | None:
        beside = others.get(Blendshapes52Expert.name)
        return None if beside is None else self._result(_meshes_of(beside), sizes)

    def locate(self, images: Sequence[np.ndarray]) -> list[Located]:
        meshes = [self._landmarker.mesh(Picture.whole(image)) for image in images]
        return [Located(mesh.status, mesh.points) for mesh in meshes]

    def extract_tensor(self, images: Any, frames: Frames) -> PriorResult | None:
        meshes = self._landmarker.meshes_of_tensor(images, frames)
        return self._result(meshes, [(int(width), int(height)) for width, height in frames.sizes])

    def _result(self, meshes: Sequence[_Meshed], sizes: Sequence[tuple[int, int]]) -> PriorResult:
        return self.result([Located(mesh.status, _float32(mesh.points)) for mesh in meshes], sizes)


class Blendshapes52Expert(PriorExpert):
    """MediaPipe's 52 blendshapes: how far each of ARKit's facial movements has gone, from ``face_landmarker.task``.

    Input and settings: as ``mediapipe-478``. Output: 52 numbers from 0 to 1 in the order of
    ``face_landmarker.names.BLENDSHAPES``; ``landmarks`` of a result are the mesh's 478 points.
    Licence of the weights: Apache-2.0. Thread-safe.
    """

    name: ClassVar[str] = "blendshapes-52"
    weights_licence: ClassVar[str] = _LICENCE
    in_workers: bool = True
    feature_names: ClassVar[tuple[str, ...]] = BLENDSHAPES

    def __init__(self, weights: str | None = None) -> None:
        self.size = len(BLENDSHAPES)
        self._landmarker = FaceLandmarker(self.name, weights)

    def missing(self) -> str | None:
        return self._landmarker.missing()

    def load(self) -> None:
        self._landmarker.litert()

    def find_all(self, picture: Picture) -> list[FoundFace] | None:
        return self._landmarker.find_all(picture)

    def extract(self, pictures: Sequence[Picture]) -> PriorResult:
        return self._of_meshes([self._landmarker.mesh(picture) for picture in pictures])

    def from_others(self, others: Mapping[str, PriorResult], sizes: Sequence[tuple[int, int]]) -> PriorResult | None:
        beside = others.get(Mediapipe478Expert.name)
        return None if beside is None else self._of_meshes(_meshes_of(beside))

    def _of_meshes(self, meshes: Sequence[_Meshed]) -> PriorResult:
        values = [self._landmarker.blendshapes(mesh.points) for mesh in meshes if mesh.points is not None]
        return self._result(meshes, np.array(values))

    def extract_tensor(self, images: Any, frames: Frames) -> PriorResult | None:
        meshes = self._landmarker.meshes_of_tensor(images, frames)
        points = [mesh.points for mesh in meshes if mesh.points is not None]
        values = self._landmarker.blendshapes_of_tensor(np.array(points), images.device) if points else np.array([])
        return self._result(meshes, values)

    def _result(self, meshes: Sequence[_Meshed], values: np.ndarray) -> PriorResult:
        features = np.zeros((len(meshes), self.size), dtype=np.float32)
        rows = [row for row, mesh in enumerate(meshes) if mesh.points is not None]
        if rows:
            features[rows] = values
        return PriorResult(features, [mesh.status for mesh in meshes], [_float32(mesh.points) for mesh in meshes])


def _meshes_of(result: PriorResult) -> list[_Meshed]:
    """The meshes behind a result of one of the two experts, whose networks and faces are the same."""
    return [
        _Meshed(status, None if points is None else points.astype(np.float64))
        for status, points in zip(result.statuses, result.landmarks, strict=True)
    ]


def _in_original(faces: Sequence[Face], square: np.ndarray) -> list[Face]:
    """Faces of the unit square in the original's coordinates, the main one first."""
    scale = float(square[0, 0]) * detector.SIDE
    return detector.main_first([face.moved(scale, square[:, 2]) for face in faces])


def _flat(points: np.ndarray) -> np.ndarray:
    """x and y of the mesh's output, which holds z as well."""
    return points.reshape(_POINTS, 3)[:, :2].astype(np.float64)


def _status(faces: Sequence[Face]) -> PriorStatus:
    return PriorStatus.FOUND if len(faces) == 1 else PriorStatus.SEVERAL_FACES


def _float32(points: np.ndarray | None) -> np.ndarray | None:
    return None if points is None else points.astype(np.float32)
