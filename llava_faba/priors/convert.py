"""Priors in and out of a store: the .npy files of FABA-Instruct, and landmarks for the report."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from faba_bench.files.atomic import replacing

from llava_faba.errors import PriorError
from llava_faba.experts import PriorExpert, PriorStatus, create_expert
from llava_faba.priors.content import Content
from llava_faba.priors.npy import read_npy_prior
from llava_faba.priors.pairs import pairs_of_annotations
from llava_faba.priors.problems import write_problems
from llava_faba.priors.reading import image_size
from llava_faba.priors.store import PriorStore
from llava_faba.priors.writer import PriorStoreWriter, Row

_ROWS_AT_ONCE = 1024


def import_npy(
    pairs: Sequence[tuple[str, str]], image_folder: Path, out: Path, *, expert: str = "precomputed"
) -> PriorStore:
    """A store of priors that lie in .npy files: (image, file) pairs, relative to ``image_folder``; resumable.

    ``expert``: who made them; "precomputed" says that nobody knows. A vector of zeros is "not_found"; a broken file
    is "unreadable" with a note. An image that ``out`` has already is read again, and its row replaced where the picture
    or the numbers are other ones. Raises PriorError when no file is readable, or of the expert's size.
    """
    made = create_expert(expert)
    size = made.size or _first_size(pairs, image_folder)
    settings = {"size": size} if expert == "precomputed" else made.settings
    with PriorStoreWriter(out, expert=expert, version=made.version, settings=settings, size=size) as writer:
        waiting: list[Row] = []
        for image, file in pairs:
            row = _imported(image, file, image_folder, size)
            if image not in writer or _differs(writer.before, row):
                waiting.append(row)
            if len(waiting) == _ROWS_AT_ONCE:
                writer.append(waiting, replacing=True)
                waiting = []
        writer.append(waiting, replacing=True)
    store = PriorStore.open(out)
    write_problems(store)
    return store


def _differs(held: PriorStore, row: Row) -> bool:
    """Whether the store's row of an image is of another picture, or holds other numbers."""
    entry, prior = held.entry(row.image), held.get(row.image)
    if entry.content and row.content and not entry.content.is_same_picture(row.content):
        return True
    numbers = np.zeros_like(prior) if row.feature is None else row.feature
    return entry.status != row.status or not np.array_equal(prior, numbers)


def export_npy(store: PriorStore, folder: Path, annotations: Iterable[Path] = ()) -> int:
    """Write each prior as a float32 .npy file below ``folder``; returns how many.

    A record of ``annotations`` with a "landmark" gets its file there; without annotations the file is named like the
    image. Unreadable images have no file. Raises PriorError, before anything is written, where two images would get one
    file, however its name is spelled, or a file would lie outside of ``folder``.
    """
    pairs = pairs_of_annotations(annotations).pairs or [
        (image, str(Path(image).with_suffix(".npy"))) for image in store
    ]
    targets: dict[Path, str] = {}
    for image, file in pairs:
        if image not in store or store.status(image) == PriorStatus.UNREADABLE.value:
            continue
        target = Path(os.path.realpath(folder / file))
        if not target.is_relative_to(os.path.realpath(folder)):
            raise PriorError(f"image '{image}': its file {file} would lie outside of {folder}.")
        other = targets.setdefault(target, image)
        if other != image and not np.array_equal(store.get(other), store.get(image)):
            raise PriorError(f"images '{other}' and '{image}' would both be written to {file}.")
    for target, image in targets.items():
        with replacing(target) as partial, partial.open("wb") as stream:
            np.save(stream, store.get(image))
    return len(targets)


def export_landmarks(store: PriorStore, file: Path, expert: str | None = None) -> tuple[int, ...]:
    """Write ``images``, ``landmarks`` float32 (n, points, 2) and ``status`` to an .npz file; returns the shape.

    Landmarks are in pixels of each image; without a face they are NaN. ``expert``: how to read the priors, when the
    store only says "precomputed". Raises PriorError for priors that are no landmarks.
    """
    reader = expert_of(store, expert)
    images, statuses, points = [], [], []
    for image, status, found in landmarks_of(store, reader):
        images.append(image)
        statuses.append(status)
        points.append(found)
    shape = next((one.shape for one in points if one is not None), (reader.size // 2, 2))
    landmarks = np.full((len(images), *shape), np.nan, dtype=np.float32)
    for row, one in enumerate(points):
        if one is not None:
            landmarks[row] = one
    names = np.array(images, dtype=str) if images else np.zeros(0, dtype="<U1")
    with replacing(file) as partial, partial.open("wb") as target:  # np.savez adds a suffix to a name, not to a file
        np.savez_compressed(target, images=names, landmarks=landmarks, status=np.array(statuses, dtype=str))
    return landmarks.shape


def expert_of(store: PriorStore, name: str | None = None) -> PriorExpert:
    """The expert that can read a store's priors: the one that made them, or ``name``."""
    expert = create_expert(name or store.expert, {} if name else store.settings, size=store.size)
    if expert.landmarks(np.ones(store.size, dtype=np.float32), (1, 1)) is None:
        raise PriorError(
            f"{store.path}: its priors come from '{expert.name}' and are not known to be landmarks; name the expert "
            "that they come from (--expert), such as emola-106 for FABA-Instruct's."
        )
    return expert


def landmarks_of(store: PriorStore, expert: PriorExpert) -> Iterator[tuple[str, str, np.ndarray | None]]:
    """(image, status, landmarks (points, 2) in pixels or None), in the order of the rows."""
    for entry in store.entries():
        size = (entry.width, entry.height)
        found = expert.landmarks(np.array(store.features[entry.row]), size) if all(size) else None
        yield entry.image, entry.status, None if found is None else found[:, :2]


def _imported(image: str, file: str, folder: Path, size: int) -> Row:
    content = Content.of(folder / image)
    try:
        prior = read_npy_prior(folder / file, size)
    except PriorError as error:
        reason = str(error).replace(str(folder / file), file)  # a store names no places of one machine
        return Row(image, None, PriorStatus.UNREADABLE.value, note=reason, content=content)
    dimensions, note = image_size(folder / image)
    status = PriorStatus.FOUND if np.any(prior) else PriorStatus.NOT_FOUND
    return Row(image, prior, status.value, dimensions, note, content)


def _first_size(pairs: Sequence[tuple[str, Any]], folder: Path) -> int:
    problem = "no record names an image and a .npy file"
    for _, file in pairs:
        try:
            return len(read_npy_prior(folder / file))
        except PriorError as error:
            problem = str(error)
    raise PriorError(f"nothing to import: {problem}")
