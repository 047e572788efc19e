"""Writing a priors store: appended rows, durable in an order that no crash can upset."""

from __future__ import annotations

import fcntl
import json
import os
import uuid
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from llava_faba.errors import PriorError
from llava_faba.priors.layout import (
    ENTRY,
    FEATURES,
    FLOAT,
    FORMAT,
    INDEX,
    LOCK,
    LOOKUP,
    META,
    MOST_ROWS_AT_ONCE,
    STATUSES,
    STRINGS,
    VERSION,
    count_rows,
    encode,
    hash_of,
    key_of,
    read_meta,
    seal,
    write_atomically,
)
from llava_faba.priors.lookup import covered_rows, write_lookup
from llava_faba.priors.store import PriorStore


@dataclass(frozen=True)
class Row:
    """One image's line: its path, its prior (None: zeros), status, (width, height) in pixels, and a note."""

    image: str
    feature: np.ndarray | None
    status: str
    size: tuple[int, int] = (0, 0)
    note: str = ""


class PriorStoreWriter:
    """A store opened for writing: made when absent, continued when it was made by the same expert and settings.

    One process writes at a time; the lock goes with the process, also when it is killed. Raises PriorError when the
    store is in use, belongs to another expert, or is damaged.
    """

    def __init__(self, path: str | Path, *, expert: str, version: str, settings: dict[str, Any], size: int) -> None:
        self.path, self.size = Path(path), size
        meta = {
            "format": FORMAT,
            "version": VERSION,
            "id": uuid.uuid4().hex,
            "expert": expert,
            "expert_version": version,
            "settings": json.loads(json.dumps(settings)),
            "size": size,
        }
        if self.path.exists() and not self.path.is_dir():
            raise PriorError(f"{self.path} is a file; a priors store is a folder.")
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.path)
        self._files: dict[str, BinaryIO] = {}
        try:
            self._open(meta)
        except BaseException:
            self._lock.close()
            raise

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

    def append(self, rows: Iterable[Row]) -> None:
        """Add rows; when this returns they are on the disk.

        Raises PriorError for a prior of another size or that is not finite, an unknown status, an image that the
        store has already, and a full disk; then none of the rows is added.
        """
        batch = list(rows)
        self._check(batch)
        for start in range(0, len(batch), MOST_ROWS_AT_ONCE):
            self._append(batch[start : start + MOST_ROWS_AT_ONCE])

    def close(self) -> None:
        """Write the lookup file and let go of the store."""
        if self._lock.closed:
            return
        for file in self._files.values():
            file.close()
        with PriorStore.open(self.path) as store:
            if len(store) != self._covered:
                write_lookup(self.path, self._id, np.array(store.index["hash"]))
        self._lock.close()

    def _open(self, meta: dict[str, Any]) -> None:
        for name in (META, LOOKUP):  # what a process left that was killed while replacing the file
            for stale in self.path.glob(f"{name}.*.tmp"):
                stale.unlink(missing_ok=True)
        if (self.path / META).exists():
            found = read_meta(self.path)
            _check_same(self.path, found, meta)
            meta = found
        else:
            _check_empty(self.path)
            for name in (FEATURES, STRINGS, INDEX):
                (self.path / name).touch()
            write_atomically(self.path / META, (json.dumps(meta, indent=2) + "\n").encode())
        self._id: str = meta["id"]
        self._rows = count_rows(self.path, meta, covered_rows(self.path, meta["id"]))
        self._before = PriorStore(self.path, meta, self._rows)
        self._added: set[str] = set()
        self._covered = self._before.looked_up
        self._text_end = self._before.text_bytes
        for name in (FEATURES, STRINGS, INDEX):
            self._files[name] = (self.path / name).open("r+b", buffering=0)
        self._cut()

    def _cut(self) -> None:
        """Drop what a crash left behind the last whole row."""
        ends = {
            FEATURES: self._rows * self.size * FLOAT.itemsize,
            STRINGS: self._text_end,
            INDEX: self._rows * ENTRY.itemsize,
        }
        for name, end in ends.items():
            if self._files[name].seek(0, os.SEEK_END) != end:
                self._files[name].truncate(end)

    def _check(self, batch: list[Row]) -> None:
        seen: set[str] = set()
        for row in batch:
            key = key_of(row.image)
            if row.feature is not None and row.feature.shape != (self.size,):
                raise PriorError(f"prior of '{key}' has the shape {row.feature.shape}, the store takes ({self.size},).")
            if row.feature is not None and not np.isfinite(row.feature).all():
                raise PriorError(f"prior of '{key}' holds values that are not finite.")
            if row.status not in STATUSES:
                raise PriorError(f"prior of '{key}' has the status '{row.status}', not one of {', '.join(STATUSES)}.")
            if key in seen or key in self:
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
            entry["row_crc"] = zlib.crc32(features[position].tobytes())
            entry["text_crc"] = zlib.crc32(path + note)
            seal(entry, self._id)
            text += path + note + b"\n"
        self._write(FEATURES, self._rows * self.size * FLOAT.itemsize, features.tobytes())
        self._write(STRINGS, self._text_end, bytes(text))
        self._write(INDEX, self._rows * ENTRY.itemsize, entries.tobytes())
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


def _locked(folder: Path) -> BinaryIO:
    lock = (folder / LOCK).open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise PriorError(
            f"{folder} is being written by another process; wait for it, or give each process its own folder "
            "('--shard') and merge them with 'llava-faba priors merge'."
        ) from error
    return lock


def _check_empty(folder: Path) -> None:
    for name in (FEATURES, STRINGS, INDEX):
        if (folder / name).exists() and (folder / name).stat().st_size:
            raise PriorError(f"{folder} holds {name} but no {META}: a damaged store. Choose another folder.")


def _check_same(folder: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key in ("expert", "expert_version", "settings", "size"):
        if _comparable(found, key) != _comparable(wanted, key):
            raise PriorError(
                f"{folder} was made with {key} {found[key]!r}, not {wanted[key]!r}; choose another folder or remove "
                "this one."
            )


def comparable_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without the paths of files of weights whose checksums they hold: those may lie anywhere."""
    return {name: value for name, value in settings.items() if f"{name}_sha256" not in settings}


def _comparable(meta: dict[str, Any], key: str) -> Any:
    return comparable_settings(meta[key]) if key == "settings" else meta[key]


def open_like(path: str | Path, store: PriorStore) -> PriorStoreWriter:
    """A writer for a store of the same expert as ``store``."""
    return PriorStoreWriter(
        path, expert=store.expert, version=store.expert_version, settings=store.settings, size=store.size
    )
