"""Every checksum of a store, and whether it covers a dataset."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from llava_faba.priors.layout import STATUSES, blocks, encode, hash_of, is_sealed
from llava_faba.priors.lookup import lookup_is_intact
from llava_faba.priors.store import PriorStore


def verify(path: str | Path, images: Iterable[str] | None = None) -> list[str]:
    """Read the whole store; returns what is wrong with it, one sentence each, nothing when it is sound.

    ``images``: these must be in the store. Raises PriorError for a store that cannot even be opened.
    """
    store = PriorStore.open(path)
    problems = []
    seen: set[int] = set()
    for part in blocks(len(store), 4096):
        entries, features = np.array(store.index[part]), np.array(store.features[part])
        for row in range(part.start, part.stop):
            problem = _row_problem(store, row, entries[row - part.start], features[row - part.start], seen)
            if problem:
                problems.append(f"row {row}: {problem}")
    if not lookup_is_intact(store.path, store.id, np.array(store.index["hash"])):
        problems.append("lookup.bin is damaged: delete it, it is made again by the next extraction or merge")
    problems += [f"image '{image}' is not in the store" for image in images or () if image not in store]
    return problems


def _row_problem(store: PriorStore, row: int, entry: np.void, feature: np.ndarray, seen: set[int]) -> str | None:
    if not is_sealed(np.array([entry]), store.id):
        return "its index entry fails its checksum"
    text = store.text_of(entry)
    if zlib.crc32(text) != entry["text_crc"]:
        return "its path or note in strings.txt fails its checksum"
    image = store.image_of(entry)
    if zlib.crc32(feature.tobytes()) != entry["row_crc"]:
        return f"the prior of image '{image}' fails its checksum"
    if entry["status"] >= len(STATUSES):
        return f"image '{image}' has the unknown status {entry['status']}"
    if hash_of(encode(image)) != entry["hash"]:
        return f"image '{image}' has a wrong hash"
    if int(entry["hash"]) in seen and store.entry(image).row != row:
        return f"image '{image}' is in the store twice"
    seen.add(int(entry["hash"]))
    return None
