"""Reading a priors store. The format is in ``layout``, writing in ``writer``."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from llava_faba.errors import PriorError
from llava_faba.priors.layout import (
    ENTRY,
    FEATURES,
    FLOAT,
    INDEX,
    STATUSES,
    STRINGS,
    blocks,
    count_rows,
    decode,
    encode,
    hash_of,
    key_of,
    mapped,
    read_meta,
)
from llava_faba.priors.lookup import Lookup, covered_rows

__all__ = ["Entry", "PriorStore"]


@dataclass(frozen=True)
class Entry:
    """What the index says of one image.

    ``width`` and ``height`` are those of the original image in pixels, 0 where they are not known; ``note``: what is
    worth knowing of how it was read, or why not; ``crc32``: that of the prior's bytes.
    """

    image: str
    row: int
    status: str
    width: int
    height: int
    note: str
    crc32: int


class PriorStore:
    """A store opened for reading.

    Opening maps the files and reads next to nothing, so every data-loader worker can have its own; a pickled store
    is opened again where it is unpickled. Any number of processes and threads can read, also while one writes: a
    store shows the rows that were there when it was opened.

    ``features``: all priors, float32 (n, size), a read-only map. Iteration gives the images in the order of the rows.
    """

    def __init__(self, path: Path, meta: dict[str, Any], rows: int) -> None:
        self.path = path
        self.id: str = meta["id"]
        self.expert: str = meta["expert"]
        self.expert_version: str = meta["expert_version"]
        self.settings: dict[str, Any] = meta["settings"]
        self.size: int = meta["size"]
        self.features: np.ndarray = mapped(path / FEATURES, FLOAT, (rows, self.size))
        self.index: np.ndarray = mapped(path / INDEX, ENTRY, (rows,))
        last = self.index[rows - 1] if rows else None
        self.text_bytes = (
            0 if last is None else int(last["offset"]) + int(last["path_bytes"]) + int(last["note_bytes"]) + 1
        )
        self._strings = mapped(path / STRINGS, np.dtype("u1"), (self.text_bytes,))
        self._lookup = Lookup.of(path, self.id, self.index)

    @property
    def looked_up(self) -> int:
        """How many rows the lookup file covers."""
        return self._lookup.covered

    @classmethod
    def open(cls, path: str | Path) -> PriorStore:
        """Open a store. Raises PriorError when it is absent, of another kind or version, damaged or truncated."""
        folder = Path(path)
        meta = read_meta(folder)
        covered = covered_rows(folder, meta["id"])  # before counting, for a writer may be adding rows
        rows = count_rows(folder, meta, covered)
        if covered > rows:
            raise PriorError(
                f"{folder / INDEX} is truncated: it holds {rows} of at least {covered} entries. Copy it again, or "
                "extract the priors again (what is left of the store is continued)."
            )
        return cls(folder, meta, rows)

    def __reduce__(self) -> tuple[Any, ...]:
        return PriorStore.open, (self.path,)

    def __enter__(self) -> PriorStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The maps go with the last reference to them."""

    def __len__(self) -> int:
        return len(self.index)

    def __contains__(self, image: object) -> bool:
        return self._row(str(image)) is not None

    def __iter__(self) -> Iterator[str]:
        for part in blocks(len(self)):
            for entry in np.array(self.index[part]):
                yield self.image_of(entry)

    def entries(self) -> Iterator[Entry]:
        """All entries, in the order of the rows."""
        for part in blocks(len(self)):
            for row, entry in enumerate(np.array(self.index[part]), start=part.start):
                yield self._entry(row, entry)

    def entry(self, image: str) -> Entry:
        """The index entry of an image. Raises PriorError when the store does not have it."""
        row = self._known_row(image)
        return self._entry(row, self.index[row])

    def status(self, image: str) -> str:
        """ "found", "not_found", "several_faces" or "unreadable". Raises PriorError for an image it does not have."""
        return STATUSES[self.index["status"][self._known_row(image)]]

    def get(self, image: str) -> np.ndarray:
        """The prior of an image, float32 (size,); zeros when no face was found or the image is unreadable.

        Raises PriorError for an image that the store does not have, and for a row that fails its checksum.
        """
        row = self._known_row(image)
        prior = np.array(self.features[row])
        if zlib.crc32(prior.tobytes()) != self.index["row_crc"][row]:
            raise PriorError(
                f"{self.path}: the prior of image '{image}' (row {row}) is damaged; "
                "run 'llava-faba priors verify', then copy the store again or extract the priors again."
            )
        return prior

    def counts(self) -> dict[str, int]:
        """Images per status."""
        counted = np.zeros(len(STATUSES), dtype=np.int64)
        for part in blocks(len(self)):
            counted += np.bincount(self.index["status"][part], minlength=len(STATUSES))[: len(STATUSES)]
        return {status: int(count) for status, count in zip(STATUSES, counted, strict=True)}

    def _known_row(self, image: str) -> int:
        row = self._row(image)
        if row is None:
            raise PriorError(
                f"{self.path} has no prior for image '{image}' (keys are paths relative to the image folder, such as "
                f"'{next(iter(self), '')}'); run 'llava-faba priors extract' on its folder."
            )
        return row

    def _row(self, image: str) -> int | None:
        path = encode(key_of(image))
        for row in self._lookup.rows(hash_of(path)):
            entry = self.index[row]
            if self._text(int(entry["offset"]), int(entry["path_bytes"])) == path:
                return row
        return None

    def image_of(self, entry: np.void) -> str:
        """The image's path that an entry of ``index`` names."""
        return decode(self._text(int(entry["offset"]), int(entry["path_bytes"])))

    def text_of(self, entry: np.void) -> bytes:
        """Path and note of an entry of ``index``, as they are stored."""
        return self._text(int(entry["offset"]), int(entry["path_bytes"]) + int(entry["note_bytes"]))

    def _entry(self, row: int, entry: np.void) -> Entry:
        note = self._text(int(entry["offset"]) + int(entry["path_bytes"]), int(entry["note_bytes"]))
        return Entry(
            image=self.image_of(entry),
            row=row,
            status=STATUSES[entry["status"]],
            width=int(entry["width"]),
            height=int(entry["height"]),
            note=decode(note),
            crc32=int(entry["row_crc"]),
        )

    def _text(self, offset: int, length: int) -> bytes:
        return self._strings[offset : offset + length].tobytes()
