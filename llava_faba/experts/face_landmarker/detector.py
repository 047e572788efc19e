"""Faces from the raw outputs of MediaPipe's short-range face detector (BlazeFace, 128 x 128).

Source: Bazarevsky et al., BlazeFace, 2019 (arXiv 1907.05047), and the options of MediaPipe's published graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SIDE = 128
SCORE = 0.5
_OVERLAP = 0.3
_LAYERS = ((16, 2), (8, 6))  # cells a side, anchors a cell


@dataclass(frozen=True)
class Face:
    """``box``: (left, top, right, bottom) and ``eyes``: ((x, y), (x, y)), the image's left one first, in the unit of
    the coordinates that were passed in; ``score``: 0.5 to 1."""

    box: np.ndarray
    eyes: np.ndarray
    score: float

    @property
    def area(self) -> float:
        return float(np.prod(self.box[2:] - self.box[:2]))

    def moved(self, scale: float, offset: np.ndarray) -> Face:
        """In the coordinates ``point * scale + offset``."""
        return Face(self.box * scale + np.tile(offset, 2), self.eyes * scale + offset, self.score)


def _anchors() -> np.ndarray:
    """Anchor centres (896, 2), x and y from 0 to 1."""
    centres = []
    for cells, many in _LAYERS:
        steps = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(steps, steps, indexing="ij")
        centres.append(np.repeat(np.stack((x.ravel(), y.ravel()), axis=1), many, axis=0))
    return np.concatenate(centres)


_ANCHORS = _anchors()


def faces_of(regressors: np.ndarray, classificators: np.ndarray) -> list[Face]:
    """Faces in a unit square, the best score first.

    ``regressors``: (896, 16), centre, size and six keypoints in pixels of the input, relative to the anchors;
    ``classificators``: (896,) or (896, 1), logits. Boxes that overlap by more than 0.3 are one face: their mean, each
    weighted by its score.
    """
    scores = 1 / (1 + np.exp(-np.clip(classificators.reshape(-1).astype(np.float64), -100, 100)))
    rows = np.flatnonzero(scores >= SCORE)
    values = regressors[rows].astype(np.float64).reshape(-1, 8, 2) / SIDE
    values[:, 0] += _ANCHORS[rows]
    values[:, 2:] += _ANCHORS[rows][:, None]
    half = values[:, 1] / 2
    boxes = np.concatenate((values[:, 0] - half, values[:, 0] + half), axis=1)
    flat = np.concatenate((boxes, values[:, 2:4].reshape(-1, 4)), axis=1)
    return _merged(flat, scores[rows])


def _merged(values: np.ndarray, scores: np.ndarray) -> list[Face]:
    faces = []
    left = list(np.argsort(-scores, kind="stable"))
    while left:
        best = left[0]
        together = [one for one in left if one == best or _overlap(values[best], values[one]) > _OVERLAP]
        mean = np.average(values[together], axis=0, weights=scores[together])
        faces.append(Face(mean[:4], mean[4:].reshape(2, 2), float(scores[best])))
        left = [one for one in left if one not in together]
    return faces


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    edges = np.minimum(one[2:4], other[2:4]) - np.maximum(one[:2], other[:2])
    if (edges <= 0).any():
        return 0.0
    shared = float(np.prod(edges))
    return shared / float(np.prod(one[2:4] - one[:2]) + np.prod(other[2:4] - other[:2]) - shared)


def without_doubles(faces: list[Face]) -> list[Face]:
    """Faces that were found in several parts of a picture, once: the surest of those that overlap."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda one: -one.score):
        if all(_overlap(face.box, one.box) <= _OVERLAP and not _within(face.box, one.box) for one in kept):
            kept.append(face)
    return kept


def _within(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether most of the smaller of two boxes lies in the other: a part's edge may have cut a face."""
    edges = np.minimum(one[2:4], other[2:4]) - np.maximum(one[:2], other[:2])
    if (edges <= 0).any():
        return False
    smaller = min(float(np.prod(box[2:4] - box[:2])) for box in (one, other))
    return float(np.prod(edges)) > 0.6 * smaller


def main_first(faces: list[Face]) -> list[Face]:
    """The main face first: the largest product of area and score, so that a face in front comes before one behind."""
    return sorted(faces, key=lambda face: -face.area * face.score)
