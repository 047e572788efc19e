"""Several experts as one: ``mediapipe-478+blendshapes-52`` is the vector of the first, then that of the second.

The name's order is the vector's: ``a+b`` and ``b+a`` are different experts, and a store or checkpoint of one is refused
where the other is asked for. Version and settings are those of all parts, each under its part's name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from llava_faba.errors import ExpertError
from llava_faba.experts.base import FoundFace, Frames, Picture, PriorExpert, PriorResult, PriorStatus
from llava_faba.vetting.prior_parts import MOST_PARTS

JOINT = "+"
_FACE = (PriorStatus.FOUND, PriorStatus.SEVERAL_FACES)


class JoinedExpert(PriorExpert):
    """Several experts side by side; ``parts``: at least two, no two of one name.

    A prior is the parts' priors one after another, each with the coordinates and the range of its own expert. A part
    that finds no face leaves zeros in its place, and they stay zeros when each part is normalized for itself; with no
    face for any part the whole prior is zeros. Where two parts have taken different faces of one picture, which their
    landmarks tell, the first part's face counts, and the other part has zeros.
    """

    def __init__(self, parts: Sequence[PriorExpert]) -> None:
        names = [part.name for part in parts]
        if not 2 <= len(names) <= MOST_PARTS or len(set(names)) < len(names):
            raise ExpertError(
                f"'{JOINT.join(names)}' joins {len(names)} experts; 2 to {MOST_PARTS} can be joined, each of them once."
            )
        empty = next((part.name for part in parts if part.size < 1), None)
        if empty is not None:
            raise ExpertError(f"'{JOINT.join(names)}': the expert '{empty}' cannot make priors, and cannot be joined.")
        self.parts = tuple(parts)
        self.name = JOINT.join(names)  # type: ignore[misc]  # of the class everywhere else
        self.weights_licence = " ".join(  # type: ignore[misc]
            dict.fromkeys(part.weights_licence for part in parts if part.weights_licence)
        )
        self.version = JOINT.join(part.version for part in parts)
        self.size = sum(self.sizes)
        self.in_workers = all(part.in_workers for part in parts)
        self.finds_faces = all(part.finds_faces for part in parts)

    @property
    def sizes(self) -> list[int]:
        return [part.size for part in self.parts]

    @property
    def settings(self) -> dict[str, Any]:
        return {f"{part.name}.{key}": value for part in self.parts for key, value in part.settings.items()}

    def maker(self) -> Callable[[], PriorExpert]:
        return functools.partial(_make, [part.maker() for part in self.parts])

    def missing(self) -> str | None:
        return next((lack for part in self.parts if (lack := part.missing()) is not None), None)

    def load(self) -> None:
        for part in self.parts:
            part.load()

    def extract(self, pictures: Sequence[Picture]) -> PriorResult:
        return self._of_all([one.size for one in pictures], lambda part: part.extract(pictures))

    def extract_tensor(self, images: Any, frames: Frames) -> PriorResult | None:
        if any(type(part).extract_tensor is PriorExpert.extract_tensor for part in self.parts):
            return None  # one of them needs pictures
        try:
            sizes = [(int(width), int(height)) for width, height in frames.sizes]
            return self._of_all(sizes, lambda part: _wanted(part.extract_tensor(images, frames)))
        except _NeedsPictures:
            return None

    def landmarks(self, feature: np.ndarray, size: tuple[int, int]) -> np.ndarray | None:
        """Those of the first part that has any, of one layout for all pictures; None where that part has no face."""
        for part, values in zip(self.parts, self.split(feature), strict=True):
            if part.landmarks(np.ones(part.size, dtype=np.float32), (1, 1)) is not None:
                return part.landmarks(values, size)
        return None

    def find_all(self, picture: Picture) -> list[FoundFace] | None:
        for part in self.parts:
            found = part.find_all(picture)
            if found is not None:
                return found
        return None

    def named_values(self, feature: np.ndarray) -> dict[str, float]:
        named: dict[str, float] = {}
        for part, values in zip(self.parts, self.split(feature), strict=True):
            named |= part.named_values(values)
        return named

    def split(self, feature: np.ndarray) -> list[np.ndarray]:
        """The parts' own priors in a prior (size,), or in priors (n, size)."""
        return np.split(feature, np.cumsum(self.sizes)[:-1], axis=-1)

    def _of_all(self, sizes: Sequence[tuple[int, int]], run: Callable[[PriorExpert], PriorResult]) -> PriorResult:
        """Each part's result by ``run``, or out of those before it where a part can; joined."""
        results: dict[str, PriorResult] = {}
        for part in self.parts:
            shared = part.from_others(results, sizes)
            results[part.name] = run(part) if shared is None else shared
        return _joined(list(results.values()))


class _NeedsPictures(Exception):
    pass


def _wanted(result: PriorResult | None) -> PriorResult:
    if result is None:
        raise _NeedsPictures
    return result


def _make(makers: Sequence[Callable[[], PriorExpert]]) -> JoinedExpert:
    return JoinedExpert([make() for make in makers])


def _joined(results: Sequence[PriorResult]) -> PriorResult:
    blocks = [np.array(result.features, dtype=np.float32) for result in results]
    statuses, landmarks = [], []
    for row in range(len(blocks[0])):
        points = [result.landmarks[row] if result.landmarks else None for result in results]
        told = [result.statuses[row] for result in results]
        first = next(
            (one for one, status in zip(points, told, strict=True) if status in _FACE and one is not None), None
        )
        strangers = [
            number
            for number, one in enumerate(points)
            if first is not None and one is not None and not _same_face(first, one)
        ]
        for number in strangers:
            blocks[number][row] = 0
        landmarks.append(first)
        statuses.append(PriorStatus.SEVERAL_FACES if strangers else _status(told))
    return PriorResult(np.concatenate(blocks, axis=1), statuses, landmarks)


def _status(told: Sequence[PriorStatus]) -> PriorStatus:
    """The word for all parts: a face where any has one; otherwise what the first says."""
    for status in (PriorStatus.SEVERAL_FACES, PriorStatus.FOUND):
        if status in told:
            return status
    return told[0]


def _same_face(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the middle of each set of points (n, 2 or more) lies within the box around the other."""
    return _holds(one, other) and _holds(other, one)


def _holds(box: np.ndarray, points: np.ndarray) -> bool:
    edges, places = box[:, :2], points[:, :2]
    middle = (places.min(axis=0) + places.max(axis=0)) / 2
    return bool(np.all(middle >= edges.min(axis=0)) and np.all(middle <= edges.max(axis=0)))


def settings_of_part(settings: Mapping[str, Any], part: str) -> dict[str, Any]:
    """What the settings of a joined expert say of one of its parts."""
    return {key[len(part) + 1 :]: value for key, value in settings.items() if key.startswith(f"{part}.")}
