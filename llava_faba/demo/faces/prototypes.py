"""Which action units a face shows: emotions as combinations (EMFACS prototypes), and free combinations."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.random import Generator

from .action_units import clashes


@dataclass(frozen=True)
class Prototype:
    """The units of one emotion.

    Attributes:
        cores: combinations of which one is always there.
        optional: unit -> how often it is added, where it doesn't clash.
    """

    cores: tuple[tuple[int, ...], ...]
    optional: tuple[tuple[int, float], ...] = ()


# After the combinations that EMFACS and the FACS Investigator's Guide list for each emotion (W. V. Friesen
# and P. Ekman, 1983; P. Ekman, W. V. Friesen and J. C. Hager, 2002), as far as the units that the demo can
# show go: 7, 9, 16, 23 and 27 are left out, so anger has its pressed lips, disgust its raised upper lip,
# surprise its dropped jaw. Optional units are the variants, and closed eyes, which go with several emotions.
PROTOTYPES: dict[str, Prototype] = {
    "Happiness": Prototype(((6, 12), (6, 12, 25)), ((26, 0.25), (43, 0.25))),
    "Sadness": Prototype(((1, 4, 15), (1, 15, 17), (1, 4, 15, 17)), ((43, 0.35),)),
    "Surprise": Prototype(((1, 2, 5, 25, 26), (1, 2, 25, 26), (1, 2, 5)), ()),
    "Anger": Prototype(((4, 5, 24), (4, 24), (4, 17, 24)), ((5, 0.2), (17, 0.25))),
    "Disgust": Prototype(((10, 17), (4, 10), (4, 10, 17), (10, 25)), ((6, 0.25), (43, 0.2))),
    "Fear": Prototype(((1, 2, 4, 5, 20, 25), (1, 2, 4, 20, 25), (1, 2, 4, 5)), ((26, 0.2),)),
    "Neutral": Prototype(((),)),
}

FREE: dict[int, float] = {
    1: 0.22, 2: 0.26, 4: 0.26, 5: 0.26, 6: 0.36, 10: 0.36, 12: 0.42, 15: 0.16, 17: 0.34, 20: 0.18, 24: 0.52,
    25: 0.34, 26: 0.44, 43: 0.40,
}  # fmt: skip
"""How often each unit is proposed for a free combination; clashes thin them out."""
_MOST = 5


def draw_prototype(emotion: str, rng: Generator) -> frozenset[int]:
    """Units of a face with this emotion; none for a neutral one."""
    prototype = PROTOTYPES[emotion]
    units = set(prototype.cores[int(rng.integers(len(prototype.cores)))])
    for unit, share in prototype.optional:
        wanted = rng.random() < share
        extra = {26, 25} if unit == 26 else {unit}
        if wanted and not clashes(units | extra):
            units |= extra
    return frozenset(units)


def draw_units(rng: Generator) -> frozenset[int]:
    """A free combination of one to five units; a dropped jaw parts the lips."""
    units: set[int] = set()
    numbers = list(FREE)
    while not units:
        for i in rng.permutation(len(numbers)):
            unit = numbers[int(i)]
            wanted = rng.random() < FREE[unit]
            extra = {26, 25} if unit == 26 else {unit}
            if wanted and len(units | extra) <= _MOST and not clashes(units | extra):
                units |= extra
    return frozenset(units)
