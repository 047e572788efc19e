"""The regions of a face in the layouts of points that are known here, and which columns of a prior they are.

The nine regions are those of Face-LLaVA (arXiv 2504.07198), which cuts the 68 points so; the other layouts have the
same nine. "1" is the left one in an upright picture, which is the right one of the person in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llava_faba.errors import ExpertError
from llava_faba.experts.base import LandmarkExpert, PriorExpert

Regions = Mapping[str, Sequence[int]]

POINTS_68: Regions = {
    "face": range(17),
    "eyebrow1": range(17, 22),
    "eyebrow2": range(22, 27),
    "nose": range(27, 31),
    "nostril": range(31, 36),
    "eye1": range(36, 42),
    "eye2": range(42, 48),
    "lips": range(48, 60),
    "teeth": range(60, 68),
}
"""iBUG's 68 points; "teeth" is the inner edge of the lips."""

POINTS_106: Regions = {
    "face": range(33),
    "eyebrow1": range(43, 52),
    "eyebrow2": range(97, 106),
    "nose": (72, 73, 74, 86),
    "nostril": range(75, 86),
    "eye1": range(33, 43),
    "eye2": range(87, 97),
    "lips": (52, 53, 55, 56, 58, 59, 61, 63, 64, 67, 68, 71),
    "teeth": (54, 57, 60, 62, 65, 66, 69, 70),
}
"""The order of InsightFace's 2d106det."""

MESH_478: Regions = {
    "face": (
        10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
        150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
    ),
    "eyebrow1": (46, 53, 52, 65, 55, 70, 63, 105, 66, 107),
    "eyebrow2": (276, 283, 282, 295, 285, 300, 293, 334, 296, 336),
    "nose": (168, 6, 197, 195, 5, 4),
    "nostril": (1, 19, 94, 2, 98, 97, 326, 327, 294, 278, 344, 440, 275, 45, 220, 115, 48, 64),
    "eye1": (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173, 468, 469, 470, 471, 472),
    "eye2": (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398, 473, 474, 475, 476, 477),
    "lips": (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    "teeth": (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415),
}  # fmt: skip
"""MediaPipe's outlines of the face's parts, and the irises with their eyes; the cheeks and the forehead are in none."""


def expert_regions(names: Sequence[str], classes: Sequence[type[PriorExpert]], sizes: Sequence[int]) -> list[Any]:
    """One region for each expert: all of its numbers. Raises ExpertError for one expert alone."""
    if len(names) < 2:
        raise ExpertError(
            f"--facial_prior_tokens experts is one token for each of several experts, and '{names[0]}' is one expert: "
            "leave the flag out."
        )
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    return [
        _region(_word(name), range(start, start + size), _placed(cls))
        for name, cls, size, start in zip(names, classes, sizes, starts, strict=True)
    ]


def face_regions(names: Sequence[str], classes: Sequence[type[PriorExpert]], sizes: Sequence[int]) -> list[Any]:
    """The regions of the face in the vectors of one or several experts, as config.json holds them: each a name, the
    columns of the prior, and the numbers of a point ("dimensions"; 0 for numbers that say no place in the picture:
    those that are no points, and the reference expert's, whose frame is a stretched picture).

    Of several experts, one without regions is a region by itself. Raises ExpertError where none has any.
    """
    found: list[Any] = []
    start = 0
    for name, cls, size in zip(names, classes, sizes, strict=True):
        prefix = f"{_word(name)}_" if len(names) > 1 else ""
        width = getattr(cls, "dimensions", 2)
        for region, points in cls.regions.items():
            columns = [start + point * width + axis for point in points for axis in range(width)]
            found.append(_region(prefix + region, columns, _placed(cls)))
        if not cls.regions:
            found.append(_region(_word(name), range(start, start + size), 0))
        start += size
    if not any(cls.regions for cls in classes):
        raise ExpertError(
            f"'{'+'.join(names)}' has no regions of a face, which --facial_prior_tokens asks for: choose an expert of "
            "68, 106 or 478 points, or --facial_prior_tokens global."
        )
    return found


def _region(name: str, columns: Sequence[int], dimensions: int) -> dict[str, Any]:
    return {"name": name, "columns": list(columns), "dimensions": dimensions}


def _placed(cls: type[PriorExpert]) -> int:
    """Numbers of a point whose place in the picture is known."""
    return cls.dimensions if issubclass(cls, LandmarkExpert) else 0


def _word(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name.lower())
