"""Writing a priors store: appended rows, durable in an order that no crash can upset."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import uuid
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from faba_bench.files.locks import exclusive

from llava_faba.errors import PriorError
from llava_faba.priors.content import CONTENT, CONTENT_ENTRY, Content, to_entries
from llava_faba.priors.layout import (
    ENTRY,
    FEATURES,
    FLOAT,
    FORMAT,
    IN_APPEND,
    INDEX,
    LOCK,
    LOOKUP,
    META,
    MOST_ROWS_AT_ONCE,
    REPLACES,
    STATUSES,
    STRINGS,
    VERSION,
    VERSION_WITH_REPLACED,
    count_rows,
    encode,
    hash_of,
    key_of,
    read_meta,
    seal,
    write_meta,
)
from llava_faba.priors.leftovers import cut_off
from llava_faba.priors.lookup import covered_rows, write_lookup
from llava_faba.priors.store import PriorStore

_WHAT = "writing of this priors store (give each process its own folder by '--shard', and merge them)"


@dataclass(frozen=True)
class Row:
    """One image's line: its path, its prior (None: zeros), status, (width, height) in pixels, a note, and which file
    the prior was made from (None: not known)."""

    image: str
    feature: np.ndarray | None
    status: str
    size: tuple[int, int] = (0, 0)
    note: str = ""
    content: Content | None = None


class PriorStoreWriter:
    """A store opened for writing: made when absent, continued when it was made by the same expert and settings.

    ``reading``: how the pictures are read (``reading_settings``), None when nobody knows.
    One process writes at a time; the lock goes with the process, also when it is killed. Raises PriorError when the
    store is in use, belongs to another expert, or is damaged; then nothing in it was changed.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        expert: str,
        version: str,
        settings: dict[str, Any],
        size: int,
        reading: dict[str, Any] | None = None,
    ) -> None:
        self.path, self.size = Path(path), size
        meta = {
            "format": FORMAT,
            "version": VERSION,
            "id": uuid.uuid4().hex,
            "expert": expert,
            "expert_version": version,
            "settings": json.loads(json.dumps(settings)),
            "size": size,
            **({} if reading is None else {"reading": reading}),
        }
        if self.path.exists() and not self.path.is_dir():
            raise PriorError(f"{self.path} is a file; a priors store is a folder.")
        self.path.mkdir(parents=True, exist_ok=True)
        self._meta: dict[str, Any]
        self._before: PriorStore
        self._files: dict[str, BinaryIO] = {}
        with contextlib.ExitStack() as stack:
            stack.enter_context(exclusive(self.path / LOCK, _WHAT, error=PriorError))
            self._open(meta)
            self._lock = stack.pop_all()
        self._is_open = True

    def __enter__(self) -> PriorStoreWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self._rows

    def __contains__(self, image: object) -> bool:
        return key_of(str(image)) in self._added or image in self._before

    @property
    def before(self) -> PriorStore:
        """The store as it was when this writer opened it."""
        return self._before

    def append(self, rows: Iterable[Row], *, replacing: bool = False) -> None:
        """Add rows; when this returns they are on the disk.

        ``replacing``: a row of an image that the store held when it was opened takes the place of the old one.
        Raises PriorError for a prior of another size or that is not finite, an unknown status, an image that the
        store has already, and a full disk; then none of the rows is added.
        """
        batch = list(rows)
        self._check(batch, replacing)
        if self._meta["version"] == VERSION and any(row.image in self._before for row in batch):
            self._meta = write_meta(self.path, {**self._meta, "version": VERSION_WITH_REPLACED})
        for start in range(0, len(batch), MOST_ROWS_AT_ONCE):
            self._append(batch[start : start + MOST_ROWS_AT_ONCE])

    def close(self) -> None:
        """Write the lookup file and let go of the store."""
        if not self._is_open:
            return
        self._is_open = False
        with self._lock:
            for file in self._files.values():
                file.close()
            with PriorStore.open(self.path) as store:
                if store.rows != self._covered:
                    write_lookup(self.path, self._id, np.array(store.index["hash"]))

    def _open(self, meta: dict[str, Any]) -> None:
        for name in (META, LOOKUP):  # what a process left that was killed while replacing the file
            for stale in self.path.glob(f"{name}.*.tmp"):
                stale.unlink(missing_ok=True)
        if (self.path / META).exists():
            found = read_meta(self.path)
            _check_same(self.path, found, meta)
            meta = found
            _check_own(self.path)
        else:
            _check_empty(self.path)
            for name in (FEATURES, STRINGS, CONTENT, INDEX):
                (self.path / name).touch()
            meta = write_meta(self.path, meta)
        self._meta, self._id = meta, meta["id"]
        self._rows = count_rows(self.path, meta, covered_rows(self.path, meta["id"]))
        self._before = PriorStore(self.path, meta, self._rows)
        self._added: set[str] = set()
        self._covered = self._before.looked_up
        self._text_end = self._before.text_bytes
        try:
            for name in (FEATURES, STRINGS, CONTENT, INDEX):
                self._files[name] = _opened(self.path / name)
            cut_off(self.path, self._files, self._ends(), self.size * FLOAT.itemsize)
        except BaseException:
            for file in self._files.values():
                file.close()
            raise

    def _ends(self) -> dict[str, int]:
        """Where each file's part of the rows ends. content.bin of an older store may end earlier."""
        return {
            FEATURES: self._rows * self.size * FLOAT.itemsize,
            STRINGS: self._text_end,
            CONTENT: self._rows * CONTENT_ENTRY.itemsize,
            INDEX: self._rows * ENTRY.itemsize,
        }

    def _check(self, batch: list[Row], replacing: bool) -> None:
        seen: set[str] = set()
        for row in batch:
            key = key_of(row.image)
            if row.feature is not None and row.feature.shape != (self.size,):
                raise PriorError(f"prior of '{key}' has the shape {row.feature.shape}, the store takes ({self.size},).")
            if row.feature is not None and not np.isfinite(row.feature).all():
                raise PriorError(f"prior of '{key}' holds values that are not finite.")
            if row.status not in STATUSES:
                raise PriorError(f"prior of '{key}' has the status '{row.status}', not one of {', '.join(STATUSES)}.")
            if key in seen or key in self._added or (key in self._before and not replacing):
                raise PriorError(f"{self.path} already has a prior for image '{key}'.")
            seen.add(key)

    def _append(self, batch: list[Row]) -> None:
        features = np.zeros((len(batch), self.size), dtype=FLOAT)
        entries = np.zeros(len(batch), dtype=ENTRY)
        text = bytearray()
        for position, row in enumerate(batch):
            if row.feature is not None:
                features[position] = row.feature
            path, note = encode(key_of(row.image)), encode(row.note.replace("\n", " "))
            entry = entries[position : position + 1]
            entry["hash"], entry["offset"] = hash_of(path), self._text_end + len(text)
            entry["path_bytes"], entry["note_bytes"] = len(path), len(note)
            entry["width"], entry["height"] = row.size
            entry["status"] = STATUSES.index(row.status)
            entry["flags"] = IN_APPEND | (REPLACES if key_of(row.image) in self._before else 0)
            entry["in_append"] = position
            entry["row_crc"] = zlib.crc32(features[position].tobytes())
            entry["text_crc"] = zlib.crc32(path + note)
            seal(entry, self._id)
            text += path + note + b"\n"
        contents = to_entries([row.content for row in batch], entries["entry_crc"], self._id)
        ends = self._ends()
        try:
            self._write(FEATURES, ends[FEATURES], features.tobytes())
            self._write(STRINGS, ends[STRINGS], bytes(text))
            self._write(CONTENT, ends[CONTENT], contents.tobytes())
            self._write(INDEX, ends[INDEX], entries.tobytes())
        except BaseException:
            # Entries that were written by half of a failed append must not name what the next one writes there.
            with contextlib.suppress(OSError):
                self._files[INDEX].truncate(ends[INDEX])
            raise
        self._rows += len(batch)
        self._text_end += len(text)
        self._added.update(key_of(row.image) for row in batch)

    def _write(self, name: str, position: int, data: bytes) -> None:
        """Write and sync at a place, so that a write that failed half-way is simply written over."""
        file = self._files[name]
        view = memoryview(data)
        try:
            while view:
                written = os.pwrite(file.fileno(), view, position)
                view, position = view[written:], position + written
            os.fsync(file.fileno())
        except OSError as error:
            raise PriorError(
                f"{self.path / name} cannot be written: {error.strerror}. The store is whole up to here: make room "
                "and run the same command again."
            ) from error


def _opened(path: Path) -> BinaryIO:
    """A file of the store, to be written; never one that lies elsewhere."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT if path.name == CONTENT else 0))
    except OSError as error:
        raise PriorError(f"{path} cannot be written: {error.strerror}.") from error
    return os.fdopen(handle, "r+b", buffering=0)


def _check_own(folder: Path) -> None:
    """Refuse files that are links: rows would be written to, and cut off, whatever they lead to."""
    for name in (FEATURES, STRINGS, CONTENT, INDEX):
        try:
            found = (folder / name).lstat()
        except FileNotFoundError:
            if name == CONTENT:  # of an older store
                continue
            raise PriorError(
                f"{folder / name} is missing: copy the store again, or extract to another folder."
            ) from None
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise PriorError(
                f"{folder / name} is a link, or another file's second name: what it leads to would be overwritten. "
                "Copy the store ('cp -rL') and go on with the copy."
            )


def _check_empty(folder: Path) -> None:
    for name in (FEATURES, STRINGS, CONTENT, INDEX):
        if (folder / name).is_symlink() or ((folder / name).exists() and (folder / name).stat().st_size):
            raise PriorError(f"{folder} holds {name} but no {META}: a damaged store. Choose another folder.")


def _check_same(folder: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key in ("expert", "expert_version", "settings", "size", "reading"):
        if key == "reading" and "reading" not in found:  # a store of an older llava-faba, which cannot tell
            continue
        if _comparable(found, key) != _comparable(wanted, key):
            raise PriorError(
                f"{folder} was made with {key} {found[key]!r}, not {wanted.get(key)!r}; choose another folder or "
                "remove this one."
            )


def comparable_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without the paths of files of weights whose checksums they hold: those may lie anywhere."""
    return {name: value for name, value in settings.items() if f"{name}_sha256" not in settings}


def _comparable(meta: dict[str, Any], key: str) -> Any:
    return comparable_settings(meta[key]) if key == "settings" else meta.get(key)


def open_like(path: str | Path, store: PriorStore) -> PriorStoreWriter:
    """A writer for a store of the same expert as ``store``."""
    return PriorStoreWriter(
        path,
        expert=store.expert,
        version=store.expert_version,
        settings=store.settings,
        size=store.size,
        reading=store.reading,
    )
