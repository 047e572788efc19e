"""The portraits: where they come from, and how each becomes a neutral face on a common canvas."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .canvas import CANVAS, FloatImage, canvas_units, to_canvas
from .landmarks import LANDMARKS
from .mattes import MATTES, matte
from .warp import FloatArray


@dataclass(frozen=True)
class Source:
    """A photograph that a package ships."""

    name: str
    person: str
    package: str
    file: str
    credit: str
    licence: str
    traits: tuple[str, ...]
    """What a caption may say of it; nothing that an expression could change."""


SOURCES: tuple[Source, ...] = (
    Source(
        name="collins",
        person="Eileen Collins, astronaut",
        package="scikit-image (skimage.data.astronaut)",
        file="skimage/data/astronaut.png",
        credit="NASA, Great Images in NASA database",
        licence="public domain (NASA work)",
        traits=("short brown hair", "a young woman with short hair", "an orange flight suit"),
    ),
    Source(
        name="hopper",
        person="Grace Hopper, rear admiral",
        package="matplotlib (mpl-data/sample_data)",
        file="matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        credit="James S. Davis, US Navy",
        licence="public domain (US Navy work)",
        traits=("a dark cap and glasses", "an old woman with glasses", "a navy uniform"),
    ),
)


@dataclass(frozen=True)
class Portrait:
    """A neutral face: lips closed, brows at rest, eyes open.

    Attributes:
        texture: (CANVAS, CANVAS, 4) float32, RGB in 0..255 and in the fourth plane the share of the person
            (1) against the background (0).
        points: (68, 2) landmarks in face units.
        pins: (n, 2) points of the face that no expression moves, in face units: of glasses the upper
            rim, of a cap the brim.
        skin_above: how much skin there is between eye and brow, or eye and glasses, in face units.
        teeth: the row of teeth, (h, w, 3) in 0..255; see :mod:`.mouth`.
    """

    name: str
    texture: FloatImage
    points: FloatArray
    pins: FloatArray
    skin_above: float
    teeth: FloatImage


_RIM_AND_BRIM = [
    (-0.97, -0.16), (-0.80, -0.215), (-0.60, -0.22), (-0.40, -0.18), (-0.22, -0.11), (0.0, -0.03),
    (0.22, -0.11), (0.38, -0.18), (0.56, -0.24), (0.76, -0.27), (0.93, -0.24),
    (-0.95, -0.55), (-0.60, -0.64), (-0.28, -0.67), (0.0, -0.67), (0.28, -0.67), (0.60, -0.64), (0.97, -0.54),
]  # fmt: skip
PINS: dict[str, FloatArray] = {"collins": np.zeros((0, 2)), "hopper": np.array(_RIM_AND_BRIM)}
SKIN_ABOVE: dict[str, float] = {"collins": 0.17, "hopper": 0.055}


class PortraitMissing(RuntimeError):
    """The package that ships a portrait is not installed, or no longer ships it."""


def read_source(name: str) -> NDArray[np.uint8]:
    """The photograph as its package ships it, (h, w, 3).

    Raises:
        PortraitMissing: with the package to install.
    """
    from PIL import Image

    source = next((s for s in SOURCES if s.name == name), None)
    if source is None:
        raise PortraitMissing(f"no portrait {name!r}; there are: {', '.join(s.name for s in SOURCES)}")
    path = _installed(source.file)
    if path is None:
        raise PortraitMissing(
            f"the portrait {name!r} ({source.person}) is read from {source.file} of the package "
            f"{source.package.split()[0]}, which is not there; install that package"
        )
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def _installed(file: str) -> Path | None:
    from importlib.util import find_spec

    package, _, rest = file.partition("/")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / rest
    return path if path.is_file() else None


def frame(points: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Origin and 2x2 matrix that take face units to the portrait's pixels."""
    left, right = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    axis = right - left
    return (left + right) / 2, np.array([[axis[0], -axis[1]], [axis[1], axis[0]]])


@lru_cache(maxsize=4)
def load_portrait(name: str) -> Portrait:
    """The portrait on the canvas, made neutral. Takes about a second; kept for the process."""
    from .mouth import teeth_strip
    from .neutral import close_lips, strengthen_brows

    picture = read_source(name).astype(np.float32)
    pixels = LANDMARKS[name]
    origin, matrix = frame(pixels)
    points = (pixels - origin) @ np.linalg.inv(matrix).T
    where = canvas_units() @ matrix.T + origin
    colour = _enlarge(picture, where)
    teeth = teeth_strip()
    if name == "collins":
        colour, points = close_lips(colour, points)
    if name == "hopper":
        colour = strengthen_brows(colour, points)
    person = matte(MATTES[name], CANVAS, to_canvas)
    texture = np.concatenate([colour, person[..., None]], axis=2).astype(np.float32)
    return Portrait(name, np.ascontiguousarray(texture), points, PINS[name], SKIN_ABOVE[name], teeth)


def _enlarge(picture: FloatImage, where: FloatArray) -> FloatImage:
    from scipy.ndimage import map_coordinates

    planes = [map_coordinates(picture[..., c], [where[:, 1], where[:, 0]], order=3, mode="nearest") for c in range(3)]
    return np.clip(np.stack(planes, axis=-1).reshape(CANVAS, CANVAS, 3), 0, 255).astype(np.float32)
