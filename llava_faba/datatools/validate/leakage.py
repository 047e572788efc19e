"""Pictures that are in both the training and the evaluation data, whatever their files are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llava_faba.datatools.validate.media import ImageFacts

MAX_DIFFERENT_BITS = 6
MAX_GREY_DIFFERENCE = 4.0
_BANDS = 8


def same_pictures(train: Sequence[ImageFacts], evaluation: Sequence[ImageFacts]) -> dict[str, str]:
    """Evaluation path to a training path with equal pixels."""
    known: dict[str, str] = {}
    for facts in train:
        known.setdefault(facts.pixels, facts.path)
    return {facts.path: known[facts.pixels] for facts in evaluation if facts.pixels in known}


def near_pictures(
    train: Sequence[ImageFacts], evaluation: Sequence[ImageFacts], known: Mapping[str, str]
) -> dict[str, str]:
    """Evaluation path to the most similar training path, for those that look alike but are not in ``known``.

    Alike means at most 6 of 64 bits of the difference hash differ and the 16 x 16 grey thumbnails differ by
    at most 4 of 255 on average: a resized or newly compressed copy, not another frame of a moving face. Of
    8 bytes of the hash at least two are equal then, so only pictures that share a byte are compared.
    """
    import numpy as np

    if not train or not evaluation:
        return {}
    bits = np.frombuffer(b"".join(facts.bits for facts in train), np.uint8).reshape(len(train), _BANDS)
    greys = np.frombuffer(b"".join(facts.thumbnail for facts in train), np.uint8).reshape(len(train), -1)
    ones = np.array([bin(value).count("1") for value in range(256)], np.uint8)
    members = [
        {value: np.flatnonzero(bits[:, band] == value) for value in np.unique(bits[:, band])} for band in range(_BANDS)
    ]
    empty = np.zeros(0, np.int64)
    found: dict[str, str] = {}
    for facts in evaluation:
        if facts.path in known:
            continue
        own = np.frombuffer(facts.bits, np.uint8)
        candidates = np.unique(np.concatenate([members[b].get(own[b], empty) for b in range(_BANDS)]))
        if not candidates.size:
            continue
        candidates = candidates[ones[bits[candidates] ^ own].sum(axis=1) <= MAX_DIFFERENT_BITS]
        if not candidates.size:
            continue
        grey = np.frombuffer(facts.thumbnail, np.uint8).astype(np.int16)
        difference = np.abs(greys[candidates].astype(np.int16) - grey).mean(axis=1)
        best = int(difference.argmin())
        if difference[best] <= MAX_GREY_DIFFERENCE:
            found[facts.path] = train[int(candidates[best])].path
    return found
