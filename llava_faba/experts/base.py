"""The interface of a facial prior expert, and the coordinates that landmark experts share.

Coordinates are continuous: pixel i covers the interval from i to i + 1, so that resizing a picture only scales them.
"""

from __future__ import annotations

import abc
import enum
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np


class PriorStatus(str, enum.Enum):
    """What came of one picture. Anything but FOUND and SEVERAL_FACES has a zero vector."""

    FOUND = "found"
    NOT_FOUND = "not_found"
    SEVERAL_FACES = "several_faces"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Picture:
    """Pixels, and where they lie in the image that they come from.

    ``pixels``: uint8 RGB (h, w, 3). A point p of the pixels is ``p * scale + offset`` in the original image, which
    measures ``size`` = (width, height). An image as it was read is its own original.
    """

    pixels: np.ndarray
    size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def whole(cls, pixels: np.ndarray) -> Picture:
        return cls(pixels, (pixels.shape[1], pixels.shape[0]))


@dataclass(frozen=True)
class Frames:
    """Where n square tensors lie in the images that they come from; float64 arrays (n, 2) of x and y.

    A point p of a square is ``p * scales + offsets`` in the original, which measures ``sizes`` = (width, height).
    """

    sizes: np.ndarray
    scales: np.ndarray
    offsets: np.ndarray

    def of_rows(self, rows: np.ndarray) -> Frames:
        """The frames of some of the squares."""
        return Frames(self.sizes[rows], self.scales[rows], self.offsets[rows])

    @classmethod
    def of_squares(cls, sizes: np.ndarray | Sequence[Sequence[int]], side: int, layout: str | None) -> Frames:
        """Where LLaVA puts images of ``sizes`` (width, height) in squares of ``side`` pixels.

        ``layout``: "pad" (the image in the middle of a square), "stretch" (the image fills the square, which is what
        anyres does with its first crop), None (CLIP: the shorter side fills the square, the rest is cut off).
        """
        edges = np.asarray(sizes, dtype=np.float64).reshape(-1, 2)
        longer, shorter = edges.max(axis=1, keepdims=True), edges.min(axis=1, keepdims=True)
        if layout == "stretch":
            return cls(edges, edges / side, np.zeros_like(edges))
        if layout == "pad":
            return cls(edges, np.repeat(longer / side, 2, axis=1), -((longer - edges) // 2))
        return cls(edges, np.repeat(shorter / side, 2, axis=1), (edges - shorter) / 2)


@dataclass(frozen=True)
class PriorResult:
    """Priors of n pictures: ``features`` float32 (n, size), one status each, and the landmarks where there are any.

    ``landmarks[i]``: float32 (points, 2 or 3) in the pixel coordinates of the original image, or None.
    """

    features: np.ndarray
    statuses: list[PriorStatus]
    landmarks: list[np.ndarray | None] = field(default_factory=list)


@dataclass(frozen=True)
class Located:
    """One face in one picture: its status and its points (points, 2 or 3), or None without a face."""

    status: PriorStatus
    points: np.ndarray | None = None


@dataclass(frozen=True)
class FoundFace:
    """One of the faces in a picture: ``box`` (left, top, right, bottom) and ``points`` (points, 2 or 3) in continuous
    pixel coordinates of the original image; ``score``: the detector's own, the larger the surer."""

    box: tuple[float, float, float, float]
    points: np.ndarray
    score: float


class PriorExpert(abc.ABC):
    """A frozen model that describes the face in a picture by a vector.

    Class attributes: ``name`` (the registry's), ``weights_licence`` (one sentence).
    Attributes: ``size`` (numbers in a prior), ``version`` (changes when equal input gives other numbers),
    ``in_workers`` (extraction runs the expert itself in its worker processes, which make their own from
    ``settings``: right for one that computes on a CPU core, wrong for one on a GPU), ``finds_faces`` (False for one
    that takes the whole picture for the face: right for crops, wrong for photographs), ``feature_names`` (of an expert
    whose numbers each have a name: one for each, in their order), ``regions`` (of an expert of points: the points of
    each region of the face, see ``regions.py``).
    """

    name: ClassVar[str]
    weights_licence: ClassVar[str] = ""
    version: str = "1"
    size: int
    in_workers: bool = False
    finds_faces: bool = True
    feature_names: ClassVar[tuple[str, ...]] = ()
    regions: ClassVar[Mapping[str, Sequence[int]]] = {}

    @property
    def sizes(self) -> list[int]:
        """Numbers of each expert whose priors these are, in their order: one but for several joined experts."""
        return [self.size]

    @property
    def settings(self) -> dict[str, Any]:
        """What must be passed to the constructor to get the same numbers again; JSON values only.

        Never loads or downloads anything; the checksum of a file of weights is in it once the file is there.
        """
        return {}

    def maker(self) -> Callable[[], PriorExpert]:
        """What makes the same expert in another process; it pickles."""
        return functools.partial(type(self), **self.settings)

    def missing(self) -> str | None:
        """The package or file of weights that the expert lacks and how to get it, or None. Loads, downloads nothing."""
        return None

    @abc.abstractmethod
    def extract(self, pictures: Sequence[Picture]) -> PriorResult:
        """Priors of ``pictures``; no face is a status, not an error."""

    def load(self) -> None:  # noqa: B027 - an expert without weights has nothing to do
        """Load the weights now rather than at the first picture. Raises ExpertError when that cannot be done."""

    def extract_tensor(self, images: Any, frames: Frames) -> PriorResult | None:
        """Priors of a batch of equal squares that is on a device already, without a detour over the CPU.

        ``images``: float torch tensor (n, 3, S, S), RGB, 0 to 255. Returns None when the expert needs pictures.
        """
        return None

    def preparer(self) -> Callable[[Picture], Any]:
        """What worker processes do with a picture before it travels to ``extract_prepared``.

        The callable must pickle and need no network; what it returns should be small.
        """
        return _itself

    def extract_prepared(self, prepared: Sequence[Any]) -> PriorResult:
        """``extract`` on what the preparer made of each picture."""
        return self.extract(prepared)

    def from_others(self, others: Mapping[str, PriorResult], sizes: Sequence[tuple[int, int]]) -> PriorResult | None:
        """Priors of pictures of ``sizes`` (width, height) made of other experts' results of the same pictures.

        ``others``: by the experts' names. Returns None where this expert must see the pictures itself.
        """
        return None

    def landmarks(self, feature: np.ndarray, size: tuple[int, int]) -> np.ndarray | None:
        """The landmarks (points, 2 or 3) behind a prior of an image of ``size`` (width, height), if it has any."""
        return None

    def named_values(self, feature: np.ndarray) -> dict[str, float]:
        """The numbers of a prior (size,) that have names; empty for an expert without names and for zeros."""
        if not self.feature_names or not np.any(feature):
            return {}
        return dict(zip(self.feature_names, map(float, feature), strict=True))

    def find_all(self, picture: Picture) -> list[FoundFace] | None:
        """Every face in a picture, the main one first; None from an expert that cannot find faces."""
        return None


def _itself(picture: Picture) -> Picture:
    return picture


class LandmarkExpert(PriorExpert):
    """An expert whose prior is the positions of points on the face.

    The prior is x, y(, z) interleaved; from x and y the image's centre is subtracted, and all are divided by half of
    the image's longer side. So LLaVA's padding to a square moves nothing, and a face that fills an image of any size
    gives numbers between -1 and 1.
    """

    points: ClassVar[int]
    dimensions: ClassVar[int] = 2

    def __init__(self) -> None:
        self.size = self.points * self.dimensions

    @abc.abstractmethod
    def locate(self, images: Sequence[np.ndarray]) -> list[Located]:
        """Points in each uint8 RGB image (h, w, 3), in continuous pixel coordinates of that image."""

    def extract(self, pictures: Sequence[Picture]) -> PriorResult:
        located = self.locate([picture.pixels for picture in pictures])
        moved = [
            face if face.points is None else Located(face.status, in_original(face.points, picture))
            for picture, face in zip(pictures, located, strict=True)
        ]
        return self.result(moved, [picture.size for picture in pictures])

    def result(self, located: Sequence[Located], sizes: Sequence[tuple[int, int]]) -> PriorResult:
        """Priors of faces whose points are in pixels of originals with these (width, height)."""
        features = np.zeros((len(located), self.size), dtype=np.float32)
        for row, (face, size) in enumerate(zip(located, sizes, strict=True)):
            if face.points is not None:
                features[row] = self.feature(face.points, size)
        return PriorResult(features, [face.status for face in located], [face.points for face in located])

    def feature(self, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """The prior (size,) of points (points, dimensions) in an image of ``size`` (width, height)."""
        return self.features(np.asarray(points)[None], np.array([size]))[0]

    def features(self, points: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Priors (n, size) of points (n, points, dimensions) in images of ``sizes`` (n, 2), (width, height) each."""
        centred = np.array(points, dtype=np.float64)
        centred[..., :2] -= sizes[:, None, :] / 2
        return (centred / (sizes.max(axis=1)[:, None, None] / 2)).reshape(len(centred), -1).astype(np.float32)

    def landmarks(self, feature: np.ndarray, size: tuple[int, int]) -> np.ndarray | None:
        if not np.any(feature):
            return None
        points = feature.astype(np.float64).reshape(-1, self.dimensions) * (max(size) / 2)
        points[:, :2] += np.array(size) / 2
        return points.astype(np.float32)


def in_original(points: np.ndarray, picture: Picture) -> np.ndarray:
    """Points (n, 2 or 3) of a picture's pixels in its original's coordinates, float32."""
    moved = np.array(points, dtype=np.float64)
    moved[:, :2] = moved[:, :2] * np.array(picture.scale) + np.array(picture.offset)
    moved[:, 2:] *= float(np.mean(picture.scale))
    return moved.astype(np.float32)
