"""What the priors of a store look like together: the mean face, how much each point moves, and the odd ones out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from faba_bench.files.atomic import replacing
from faba_bench.files.terminal import printable

from llava_faba.errors import PriorError
from llava_faba.packages import install_command
from llava_faba.priors.layout import STATUSES, write_atomically
from llava_faba.priors.store import PriorStore

_USED_FOR_SHAPE = 20_000  # rows; the mean face of more is the same
_LARGEST = 1e6  # of a landmark's coordinates, in shares of a picture or in its pixels
_OUTLIER = 6.0  # robust standard deviations; of a normal distribution one in a billion


@dataclass(frozen=True)
class Statistics:
    """``mean`` (points, 2): the mean face, in the priors' own units; ``deviation`` (points,): how far a point lies from
    it on average once position, size and rotation are taken out, in face sizes (root mean square distance of the
    points from their centre); ``images``, ``distances``: all faces' distances from the mean face in the same unit;
    ``centers`` (n, 2) and ``scales`` (n,): where the faces are and how large, in the priors' units."""

    mean: np.ndarray
    deviation: np.ndarray
    rows: np.ndarray
    distances: np.ndarray
    centers: np.ndarray
    scales: np.ndarray

    def scores(self) -> np.ndarray:
        """How odd each face is: the largest robust z-score (median, MAD) of its shape's distance, place and size."""
        columns = [self.distances, np.log(self.scales), self.centers[:, 0], self.centers[:, 1]]
        scores = [_robust(column) for column in columns]
        scores[0] = np.maximum(scores[0], 0)  # a face nearer to the mean than others is not odd
        return np.max(np.abs(scores), axis=0)


def statistics(store: PriorStore, dimensions: int = 2) -> Statistics:
    """Statistics over all rows with a face. ``dimensions``: numbers per point; of three the first two are used.

    Raises PriorError when there are fewer than two faces, when the prior cannot be points, and for numbers beyond
    reason, which one damaged byte makes: they would be the mean, and more than a plot can draw.
    """
    if store.size % dimensions:
        raise PriorError(f"{store.path}: {store.size} numbers are no points of {dimensions} numbers each.")
    status = np.array(store.index["status"])
    with_face = (status == STATUSES.index("found")) | (status == STATUSES.index("several_faces"))
    with_face[store.replaced] = False
    rows = np.flatnonzero(with_face)
    if len(rows) < 2:
        raise PriorError(f"{store.path}: {len(rows)} images with a face; statistics need two.")
    sample = np.sort(np.random.default_rng(0).permutation(rows)[:_USED_FOR_SHAPE])
    sampled = _points(store, sample, dimensions)
    _check_reasonable(store, sample, sampled)
    shape = _mean_shape(sampled)
    distances, centers, scales = np.zeros(len(rows)), np.zeros((len(rows), 2)), np.zeros(len(rows))
    squares = np.zeros(len(shape))
    for start in range(0, len(rows), 4096):
        part = slice(start, start + 4096)
        points = _points(store, rows[part], dimensions)
        _check_reasonable(store, rows[part], points)
        centers[part] = points.mean(axis=1)
        centred = points - centers[part, None]
        scales[part] = np.maximum(_size(centred), 1e-12)
        residual = np.square(_aligned(centred, shape) - shape).sum(axis=-1)
        distances[part] = np.sqrt(residual.mean(axis=1))
        squares += residual.sum(axis=0)
    mean = shape * scales.mean() + centers.mean(axis=0)
    return Statistics(mean, np.sqrt(squares / len(rows)), rows, distances, centers, scales)


def write_statistics(store: PriorStore, out: Path, dimensions: int = 2) -> dict[str, Any]:
    """Write ``stats.json``, ``outliers.jsonl`` and ``stats.png`` below ``out``; returns what stats.json holds.

    Raises PriorError when matplotlib, which draws, is not installed.
    """
    figures = statistics(store, dimensions)
    scores = figures.scores()
    order = np.argsort(-scores)
    odd = order[: int((scores > _OUTLIER).sum())]
    outliers = [
        {
            "image": store.image_of(store.index[figures.rows[i]]),
            "score": round(float(scores[i]), 3),
            "distance": round(float(figures.distances[i]), 5),
            "size": round(float(figures.scales[i]), 5),
        }
        for i in odd
    ]
    summary = {
        "n": len(store),
        "faces": len(figures.rows),
        "status": store.counts(),
        "outliers": len(outliers),
        "mean_face": np.round(figures.mean, 5).tolist(),
        "deviation": np.round(figures.deviation, 5).tolist(),
        "distance": _quantiles(figures.distances),
        "size": _quantiles(figures.scales),
    }
    out.mkdir(parents=True, exist_ok=True)
    _plot(figures, scores, out / "stats.png")
    write_atomically(out / "outliers.jsonl", "".join(json.dumps(one) + "\n" for one in outliers).encode())
    write_atomically(out / "stats.json", (json.dumps(summary, indent=2) + "\n").encode())
    return summary


def outliers_in(out: Path) -> list[str]:
    """The images that ``write_statistics`` found odd, the oddest first."""
    lines = (out / "outliers.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["image"] for line in lines]


def _points(store: PriorStore, rows: np.ndarray, dimensions: int) -> np.ndarray:
    return np.array(store.features[rows], dtype=np.float64).reshape(len(rows), -1, dimensions)[..., :2]


def _check_reasonable(store: PriorStore, rows: np.ndarray, points: np.ndarray) -> None:
    largest = np.abs(points).max(axis=(1, 2))
    odd = np.flatnonzero(~(largest <= _LARGEST))
    if len(odd):
        image = printable(store.image_of(store.index[rows[odd[0]]]))
        raise PriorError(
            f"{store.path}: the prior of {image} holds {largest[odd[0]]:g}, which is no landmark's coordinate "
            f"({len(odd)} such images); the store is damaged: extract them again."
        )


def _size(centred: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(centred).sum(axis=-1).mean(axis=-1))


def _mean_shape(points: np.ndarray) -> np.ndarray:
    """The mean of shapes aligned to each other: centred, of size 1 (generalised Procrustes analysis)."""
    centred = points - points.mean(axis=1, keepdims=True)
    shape = np.median(centred, axis=0)
    for _ in range(5):
        shape = shape / max(float(_size(shape[None])[0]), 1e-12)
        shape = np.median(_aligned(centred, shape), axis=0)
        shape = shape - shape.mean(axis=0)
    return shape / max(float(_size(shape[None])[0]), 1e-12)


def _aligned(centred: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Centred shapes scaled to size 1 and rotated towards ``shape``."""
    unit = centred / np.maximum(_size(centred), 1e-12)[:, None, None]
    # In the plane the best rotation is that of one complex number.
    product = np.sum((unit[..., 0] - 1j * unit[..., 1]) * (shape[:, 0] + 1j * shape[:, 1]), axis=1)
    turn = product / np.maximum(np.abs(product), 1e-12)
    turned = (unit[..., 0] + 1j * unit[..., 1]) * turn[:, None]
    return np.stack((turned.real, turned.imag), axis=-1)


def _robust(values: np.ndarray) -> np.ndarray:
    median = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - median))
    return (values - median) / max(float(spread), 1e-6)


def _quantiles(values: np.ndarray) -> dict[str, float]:
    marks = {"min": 0, "5%": 5, "median": 50, "95%": 95, "max": 100}
    return {name: round(float(np.percentile(values, mark)), 5) for name, mark in marks.items()}


def _plot(figures: Statistics, scores: np.ndarray, path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise PriorError(f"'priors stats' draws with matplotlib ({error}): {install_command('data')}") from error
    figure = Figure(figsize=(15, 4.6), layout="constrained")
    face, places, odd = figure.subplots(1, 3)
    marks = face.scatter(*figures.mean.T, c=figures.deviation, cmap="viridis", s=22)
    figure.colorbar(marks, ax=face, label="deviation / face size")
    face.set(title="mean face", xlabel="x", ylabel="y", aspect="equal")
    face.invert_yaxis()
    places.scatter(*figures.centers.T, s=4 + 20 * figures.scales, c=np.minimum(scores, 2 * _OUTLIER), cmap="plasma")
    places.set(title="centres of the faces (size: face size, colour: score)", xlabel="x", ylabel="y")
    places.set_aspect("equal", adjustable="datalim")
    places.invert_yaxis()
    odd.hist(np.minimum(scores, 3 * _OUTLIER), bins=60, log=True)
    odd.axvline(_OUTLIER, color="black", linestyle="dashed")
    odd.set(title=f"{int((scores > _OUTLIER).sum())} faces beyond the line", xlabel="score", ylabel="images")
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=110)
