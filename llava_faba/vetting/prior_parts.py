"""How the vector of several experts is cut, and what its normalization is called.

A config says ``facial_prior_sizes`` (numbers of each expert, in their order) and one method of normalization for each,
joined by "+", or one for all. No sizes: one expert.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SIZES_KEY = "facial_prior_sizes"
MOST_PARTS = 8
METHOD_KEYS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "standardize": ("mean", "scale"),
    "pose": ("shape", "mean", "scale"),
}
"""Each method of normalization, and the statistics that it needs."""


def methods(text: str, parts: int) -> list[str]:
    """The method of each of ``parts`` experts. Raises ValueError for words that are none, and for another number."""
    named = text.split("+")
    unknown = next((one for one in named if one not in METHOD_KEYS), None)
    if unknown is not None:
        raise ValueError(f"'{unknown}' is unknown; this version knows {', '.join(METHOD_KEYS)}")
    if len(named) not in (1, parts):
        raise ValueError(f"'{text}' has {len(named)} methods for {parts} experts")
    return named * parts if len(named) == 1 else named


def joined_methods(named: Sequence[str]) -> str:
    """The shortest text that says the method of each expert."""
    return named[0] if len(set(named)) == 1 else "+".join(named)


def needed_statistics(named: Sequence[str]) -> list[str]:
    """The statistics that some of these methods need."""
    return [key for key in ("shape", "mean", "scale") if any(key in METHOD_KEYS[one] for one in named)]


def sizes_of(config: Mapping[str, Any], size: int) -> list[int]:
    """Numbers of each expert. Raises ValueError where they do not add up to ``size``."""
    sizes = config.get(SIZES_KEY) or [size]
    if sum(sizes) != size:
        raise ValueError(f"{SIZES_KEY} {sizes} add up to {sum(sizes)}, not to {size}")
    return list(sizes)
