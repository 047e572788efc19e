"""The photographs that the portraits are made of: where they come from, and where the face lies in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
