"""Reading a priors store. The format is in ``layout``, writing in ``writer``."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from llava_faba.errors import PriorError
from llava_faba.priors.content import CONTENT, CONTENT_ENTRY, Content, Sameness, compare, from_entry
from llava_faba.priors.layout import (
    ENTRY,
    FEATURES,
    FLOAT,
    INDEX,
    REPLACES,
    STATUSES,
    STRINGS,
    VERSION_WITH_REPLACED,
    blocks,
    count_rows,
    decode,
    encode,
    hash_of,
    is_sealed,
    key_of,
    mapped,
    read_meta,
    size_of,
)
from llava_faba.priors.lookup import Lookup, covered_rows
from llava_faba.priors.reading import image_size

__all__ = ["Entry", "PriorStore"]


@dataclass(frozen=True)
class Entry:
    """What the index says of one image.

    ``width`` and ``height`` are those of the original image in pixels, 0 where they are not known; ``note``: what is
    worth knowing of how it was read, or why not; ``crc32``: that of the prior's bytes; ``content``: which file it was
    made from, None where an older llava-faba did not say.
    """

    image: str
    row: int
    status: str
    width: int
    height: int
    note: str
    crc32: int
    content: Content | None = None


class PriorStore:
    """A store opened for reading.

    Opening maps the files and reads next to nothing, so every data-loader worker can have its own; a pickled store
    is opened again where it is unpickled. Any number of processes and threads can read, also while one writes: a
    store shows the rows that were there when it was opened.

    ``features``: the priors of all rows, float32 (rows, size), a read-only map; ``index``: their entries. ``replaced``:
    the rows among them that a later one of the same image has replaced, sorted, mostly none: they count nowhere else.
    Iteration gives the images in the order of the rows.
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
        known = min(size_of(path / CONTENT) // CONTENT_ENTRY.itemsize, rows)
        self._content = mapped(path / CONTENT, CONTENT_ENTRY, (known,))
        self.reading: dict[str, Any] | None = meta.get("reading")
        self._lookup = Lookup.of(path, self.id, self.index)
        self.replaced = self._replaced_rows() if meta["version"] == VERSION_WITH_REPLACED else np.zeros(0, np.int64)

    def _replaced_rows(self) -> np.ndarray:
        found: set[int] = set()
        for row in np.flatnonzero(self.index["flags"] & REPLACES):
            path = self._text(int(self.index[row]["offset"]), int(self.index[row]["path_bytes"]))
            found.update(other for other in self._rows(path) if other < row)
        return np.array(sorted(found), dtype=np.int64)

    @property
    def rows(self) -> int:
        """How many rows the files hold, those that were replaced included."""
        return len(self.index)

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
        return cls(folder, read_meta(folder), rows)  # again, for it is set before the first row is replaced

    def __reduce__(self) -> tuple[Any, ...]:
        return PriorStore.open, (self.path,)

    def __enter__(self) -> PriorStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The maps go with the last reference to them."""

    def __len__(self) -> int:
        return len(self.index) - len(self.replaced)

    def __contains__(self, image: object) -> bool:
        return self._row(str(image)) is not None

    def __iter__(self) -> Iterator[str]:
        for row in self._live_rows():
            yield self.image_of(self._sealed(row))

    def entries(self) -> Iterator[Entry]:
        """All entries, in the order of the rows."""
        for row in self._live_rows():
            yield self._entry(row)

    def _live_rows(self) -> Iterator[int]:
        replaced = set(self.replaced.tolist())
        return (row for row in range(self.rows) if row not in replaced)

    def entry(self, image: str) -> Entry:
        """The index entry of an image. Raises PriorError when the store does not have it."""
        return self._entry(self._known_row(image))

    def content(self, image: str) -> Content | None:
        """Which file the image's prior was made from; None when the store does not say. Raises PriorError."""
        return self.content_of(self._known_row(image))

    def sameness(self, image: str, image_folder: str | Path) -> Sameness:
        """Whether the image's file below ``image_folder`` is the one that its prior was made from.

        Where the store does not say which file it was, the picture's size decides, as far as it can: another one is
        CHANGED, the same is UNKNOWN. Raises PriorError for an image that the store does not have.
        """
        row = self._known_row(image)
        entry, path = self._sealed(row), os.path.join(image_folder, image)  # noqa: PTH118
        content = self.content_of(row)
        if content is not None:
            return compare(content, path)
        if not os.path.exists(path):  # noqa: PTH110
            return Sameness.GONE
        size = image_size(path)[0] if entry["width"] else (0, 0)
        return Sameness.UNKNOWN if size == (entry["width"], entry["height"]) else Sameness.CHANGED

    def status(self, image: str) -> str:
        """ "found", "not_found", "several_faces" or "unreadable". Raises PriorError for an image it does not have."""
        return self._status(self._sealed(self._known_row(image)))

    def get(self, image: str) -> np.ndarray:
        """The prior of an image, float32 (size,); zeros when no face was found or the image is unreadable.

        Raises PriorError for an image that the store does not have, and for a row that fails its checksum.
        """
        row = self._known_row(image)
        prior = np.array(self.features[row])
        if zlib.crc32(prior.tobytes()) != self._sealed(row)["row_crc"]:
            raise PriorError(
                f"{self.path}: the prior of image '{image}' (row {row}) is damaged; "
                "run 'llava-faba priors verify', then copy the store again or extract the priors again."
            )
        return prior

    def counts(self) -> dict[str, int]:
        """Images per status."""
        counted = np.zeros(len(STATUSES), dtype=np.int64)
        for part in blocks(self.rows):
            counted += np.bincount(self.index["status"][part], minlength=len(STATUSES))[: len(STATUSES)]
        if len(self.replaced):
            counted -= np.bincount(self.index["status"][self.replaced], minlength=len(STATUSES))[: len(STATUSES)]
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
        return max(self._rows(encode(key_of(image))), default=None)

    def rows_of(self, image: str) -> list[int]:
        """All rows of an image, those that were replaced included."""
        return sorted(self._rows(encode(key_of(image))))

    def _rows(self, path: bytes) -> Iterator[int]:
        """All rows of a path; the last one counts."""
        for row in self._lookup.rows(hash_of(path)):
            if row < len(self.index):
                entry = self._sealed(row)
                if self._text(int(entry["offset"]), int(entry["path_bytes"])) == path:
                    yield row

    def _sealed(self, row: int) -> np.void:
        """A row's entry. Raises PriorError when it is damaged."""
        if not is_sealed(self.index[row : row + 1], self.id):
            raise self._damage(row, "its entry in index.bin fails its checksum")
        return self.index[row]

    def _damage(self, row: int, what: str) -> PriorError:
        return PriorError(
            f"{self.path}: row {row} is damaged ({what}); run 'llava-faba priors verify', then copy the store again or "
            "extract the priors again."
        )

    def _status(self, entry: np.void) -> str:
        if entry["status"] >= len(STATUSES):
            raise PriorError(f"{self.path / INDEX} is damaged: it names the unknown status {entry['status']}.")
        return STATUSES[entry["status"]]

    def content_of(self, row: int) -> Content | None:
        """``content`` of a row."""
        if row >= len(self._content):
            return None
        try:
            return from_entry(self._content[row], int(self._sealed(row)["entry_crc"]), self.id)
        except ValueError as error:
            raise self._damage(row, str(error)) from error

    def image_of(self, entry: np.void) -> str:
        """The image's path that an entry of ``index`` names."""
        return decode(self._text(int(entry["offset"]), int(entry["path_bytes"])))

    def text_of(self, entry: np.void) -> bytes:
        """Path and note of an entry of ``index``, as they are stored."""
        return self._text(int(entry["offset"]), int(entry["path_bytes"]) + int(entry["note_bytes"]))

    def _entry(self, row: int) -> Entry:
        entry = self._sealed(row)
        text = self.text_of(entry)
        if zlib.crc32(text) != entry["text_crc"]:
            raise self._damage(row, "its path or note in strings.txt fails its checksum")
        return Entry(
            image=decode(text[: int(entry["path_bytes"])]),
            row=row,
            status=self._status(entry),
            width=int(entry["width"]),
            height=int(entry["height"]),
            note=decode(text[int(entry["path_bytes"]) :]),
            crc32=int(entry["row_crc"]),
            content=self.content_of(row),
        )

    def _text(self, offset: int, length: int) -> bytes:
        return self._strings[offset : offset + length].tobytes()
