"""Every checksum of a store, whether it covers a dataset, and whether its rows are of the pictures that are there."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from llava_faba.errors import PriorError
from llava_faba.priors.content import CONTENT, Sameness, in_threads
from llava_faba.priors.layout import (
    FEATURES,
    FLOAT,
    MOST_ROWS_AT_ONCE,
    REPLACES,
    STATUSES,
    blocks,
    encode,
    hash_of,
    is_sealed,
    size_of,
)
from llava_faba.priors.lookup import lookup_is_intact
from llava_faba.priors.reading import reading_settings
from llava_faba.priors.store import PriorStore

_SHOWN = 3


@dataclass(frozen=True)
class Identity:
    """How pictures compare with a store's rows: ``counts`` by ``Sameness``, and the names of each that is not SAME."""

    counts: Counter[Sameness] = field(default_factory=Counter)
    names: dict[Sameness, list[str]] = field(default_factory=dict)

    def shown(self, kind: Sameness) -> str:
        """The first names of a kind, for messages."""
        names = self.names.get(kind, [])
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return ", ".join(names[:_SHOWN]) + more


def compare_pictures(store: PriorStore, images: Iterable[str], image_folder: str | Path) -> Identity:
    """Compare each image's file below ``image_folder`` with the one that its row was made from.

    ``images`` must be in the store. Files are read where their size and times leave it open.
    """
    found = Identity()
    names = list(images)
    for name, same in zip(names, in_threads(lambda name: store.sameness(name, image_folder), names), strict=True):
        found.counts[same] += 1
        if same is not Sameness.SAME:
            found.names.setdefault(same, []).append(name)
    return found


def check_pictures(
    store: PriorStore, images: Iterable[str], image_folder: str | Path, *, at_most: int | None = None
) -> Identity:
    """Raise PriorError when pictures are not those that the store's priors were made from.

    ``at_most``: so many of the images, spread evenly over them, are compared; None: all. Images that the store does not
    have are passed over.
    """
    names = [name for name in dict.fromkeys(images) if name in store]
    if at_most is not None and len(names) > at_most:
        names = [names[number * len(names) // at_most] for number in range(at_most)]
    found = compare_pictures(store, names, image_folder)
    changed = found.counts[Sameness.CHANGED]
    if changed:
        raise PriorError(
            f"{store.path}: {changed} of {len(names)} pictures that were compared are not those that its priors were "
            f"made from: {found.shown(Sameness.CHANGED)}. The store belongs to other pictures, or these were replaced: "
            "run 'llava-faba priors extract' on them again."
        )
    return found


def verify(path: str | Path, images: Iterable[str] | None = None, image_folder: str | Path | None = None) -> list[str]:
    """Read the whole store; returns what is wrong with it, one sentence each, nothing when it is sound.

    ``images``: these must be in the store, and where ``image_folder`` is given the files of those names must be the
    ones that the rows were made from. Raises PriorError for a store that cannot even be opened.
    """
    store = PriorStore.open(path)
    problems = []
    for part in blocks(store.rows, 4096):
        entries, features = np.array(store.index[part]), np.array(store.features[part])
        for row in range(part.start, part.stop):
            problem = _row_problem(store, row, entries[row - part.start], features[row - part.start])
            if problem:
                problems.append(f"row {row}: {problem}")
    if not lookup_is_intact(store.path, store.id, np.array(store.index["hash"])):
        problems.append("lookup.bin is damaged: delete it, it is made again by the next extraction or merge")
    behind = size_of(store.path / FEATURES) - store.rows * store.size * FLOAT.itemsize
    if behind > (MOST_ROWS_AT_ONCE * store.size * FLOAT.itemsize if store.rows else 0):
        problems.append(
            f"{FEATURES} holds {behind // (store.size * FLOAT.itemsize)} rows more than the index: it has lost entries"
        )
    if images is not None:
        try:
            problems += _picture_problems(store, list(images), image_folder)
        except PriorError as error:  # a damaged entry, which has a line of its own
            problems = problems or [str(error)]
    return problems


def _picture_problems(store: PriorStore, images: list[str], folder: str | Path | None) -> list[str]:
    problems = [f"image '{image}' is not in the store" for image in images if image not in store]
    if folder is None:
        return problems
    if store.reading is not None and store.reading != reading_settings():
        problems.append(
            f"its pictures were read as {store.reading}, this llava-faba reads them as {reading_settings()}"
        )
    found = compare_pictures(store, [image for image in images if image in store], folder)
    for kind, what in (
        (Sameness.CHANGED, "is not the picture that its prior was made from"),
        (Sameness.GONE, f"is no longer below {folder}"),
    ):
        problems += [f"image '{image}' {what}" for image in found.names.get(kind, [])]
    return problems


def untold(store: PriorStore, images: Iterable[str]) -> int:
    """Of how many images the store cannot tell which file they were: rows of an older llava-faba."""
    return sum(image in store and store.content(image) is None for image in images)


def _row_problem(store: PriorStore, row: int, entry: np.void, feature: np.ndarray) -> str | None:
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
    try:
        earlier = [other for other in store.rows_of(image) if other < row]
    except PriorError:  # a damaged row, which has a line of its own
        earlier = []
    if earlier and not entry["flags"] & REPLACES:
        return f"image '{image}' is in the store twice"
    try:
        store.content_of(row)
    except PriorError:
        return f"which file image '{image}' was fails its checksum in {CONTENT}"
    return None
