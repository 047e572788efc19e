"""Made-up people: a portrait with other proportions, perhaps mirrored, with another complexion."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.random import Generator

from .warp import FloatArray

# name -> standard deviation of the proportion (a share, or face units for those named "shift" and "height")
SPREAD: dict[str, float] = {
    "face_width": 0.05,
    "face_length": 0.045,
    "forehead_length": 0.06,
    "jaw_taper": 0.06,
    "chin_height": 0.04,
    "eye_shift": 0.025,
    "eye_size": 0.10,
    "brow_height": 0.022,
    "brow_tilt": 0.018,
    "brow_shift": 0.018,
    "nose_length": 0.03,
    "nose_width": 0.10,
    "mouth_width": 0.08,
    "mouth_height": 0.025,
    "upper_lip": 0.18,
    "lower_lip": 0.18,
    "mouth_tilt": 0.014,
}


@dataclass(frozen=True)
class Identity:
    """One made-up person.

    Attributes:
        name: unique in a data set, e.g. ``train-0007``.
        portrait: whose photograph it is made from.
        mirrored: whether the photograph is mirrored.
        proportions: name of :data:`SPREAD` -> amount.
        waves: a smooth random deformation, (3, 5): wave numbers in x and y, phase, amplitude in x and y.
        complexion: factors on R, G and B.
        brow_darkness: 0..1, how much the brows are darkened.
    """

    name: str
    portrait: str
    mirrored: bool
    proportions: dict[str, float]
    waves: tuple[tuple[float, ...], ...]
    complexion: tuple[float, float, float]

    def as_record(self) -> dict[str, object]:
        """Plain values for a JSON file."""
        record = asdict(self)
        record["proportions"] = {k: round(v, 4) for k, v in self.proportions.items()}
        return record


def draw_identity(name: str, portrait: str, rng: Generator) -> Identity:
    """A random person made from ``portrait``; amounts are cut off at two standard deviations."""
    proportions = {key: float(np.clip(rng.normal(), -2, 2) * spread) for key, spread in SPREAD.items()}
    waves = tuple(
        (
            *map(float, rng.uniform(-2.2, 2.2, 2)),
            float(rng.uniform(0, 6.28)),
            *map(float, rng.normal(0, 0.010, 2)),
        )
        for _ in range(3)
    )
    depth = float(rng.uniform(0.72, 1.06))
    warm = float(rng.normal(0, 0.03))
    complexion = (depth**0.7 * (1 + warm), depth, depth**1.15 * (1 - warm))
    return Identity(name, portrait, bool(rng.random() < 0.5), proportions, waves, complexion)


def reshape(identity: Identity, points: FloatArray) -> FloatArray:
    """Landmarks and added points (n, 2), with the identity's proportions; the rest of the face follows
    them."""
    a = identity.proportions
    rest = points
    p = points.copy()
    _inner_proportions(p, a)
    y = rest[:, 1]
    p[:, 0] *= 1 + a["face_width"] + a["jaw_taper"] * np.clip((y - 0.4) / 1.1, -0.4, 1)
    p[:, 1] *= np.where(y > 0, 1 + a["face_length"], 1 + a["forehead_length"])
    p[:, 1] += a["chin_height"] * np.clip((y - 1.15) / 0.4, 0, 1)
    for wx, wy, phase, ax, ay in identity.waves:
        wave = np.sin(wx * rest[:, 0] + wy * y + phase)
        p += wave[:, None] * (ax, ay)
    return p


def _inner_proportions(p: FloatArray, a: dict[str, float]) -> None:
    for eye, side in ((slice(36, 42), -1), (slice(42, 48), 1)):
        centre = p[eye].mean(axis=0)
        p[eye] = centre + (p[eye] - centre) * (1 + a["eye_size"]) + (side * a["eye_shift"], 0)
    for brow, side in (([*range(17, 22), *range(76, 80)], -1), ([*range(22, 27), *range(80, 84)], 1)):
        outward = (p[brow, 0] - p[brow, 0].mean()) * side
        p[brow, 1] -= a["brow_height"] + a["brow_tilt"] * outward / 0.3
        p[brow, 0] += side * a["brow_shift"]
    p[28:36, 1] += a["nose_length"] * np.clip(p[28:36, 1] / 0.6, 0, 1)
    p[31:36, 0] = p[33, 0] + (p[31:36, 0] - p[33, 0]) * (1 + a["nose_width"])
    line = (p[62] + p[66]) / 2
    mouth = p[48:68]
    mouth[:, 0] = line[0] + (mouth[:, 0] - line[0]) * (1 + a["mouth_width"])
    above = mouth[:, 1] < line[1]
    lip = np.where(above, a["upper_lip"], a["lower_lip"])
    middle = np.abs(mouth[:, 0] - line[0]) < 0.33
    mouth[:, 1] = line[1] + (mouth[:, 1] - line[1]) * np.where(middle, 1 + lip, 1)
    mouth[:, 1] += a["mouth_height"] + 0.6 * a["nose_length"] + a["mouth_tilt"] * (mouth[:, 0] - line[0]) / 0.4
