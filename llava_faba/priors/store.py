"""The priors store: one memory-mapped file of vectors, an index, and a header.

A store is a folder of three files:

``meta.json``       {"format": "llava-faba-priors", "version": 1, "expert", "expert_version", "settings", "size"}
``features.f32``    little-endian float32, row after row of ``size`` numbers
``index.jsonl``     per row {"image", "status", "width", "height", "crc32"}; line k describes row k; ``image`` is the
                    path relative to the image folder, with "/"; ``crc32`` is that of the row's bytes

Rows are written and synced before the index lines that name them, so whatever the moment of a crash, every line of
the index has its row; what lies behind the last whole line is cut off when the store is opened for writing again.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from llava_faba.errors import PriorError

FORMAT, VERSION = "llava-faba-priors", 1
META, FEATURES, INDEX = "meta.json", "features.f32", "index.jsonl"
_DTYPE = np.dtype("<f4")


@dataclass(frozen=True)
class Entry:
    """What the index says of one image. ``width`` and ``height`` are those of the original image, in pixels."""

    image: str
    row: int
    status: str
    width: int
    height: int
    crc32: int


class PriorStore:
    """A store opened for reading. Cheap to pickle and to open in every data-loader worker (the file is mapped)."""

    def __init__(self, path: Path, meta: dict[str, Any], entries: dict[str, Entry]) -> None:
        self.path, self._entries = path, entries
        self.expert: str = meta["expert"]
        self.expert_version: str = meta["expert_version"]
        self.settings: dict[str, Any] = meta["settings"]
        self.size: int = meta["size"]
        rows = len(entries)
        self.features: np.ndarray = (
            np.memmap(path / FEATURES, dtype=_DTYPE, mode="r", shape=(rows, self.size))
            if rows
            else np.zeros((0, self.size), dtype=_DTYPE)
        )

    @classmethod
    def open(cls, path: str | Path) -> PriorStore:
        """Open a store. Raises PriorError when it is absent, of another kind or version, or truncated."""
        folder = Path(path)
        meta = _read_meta(folder)
        entries = {entry.image: entry for entry in _read_index(folder)}
        available = (folder / FEATURES).stat().st_size // (meta["size"] * _DTYPE.itemsize)
        if available < len(entries):
            raise PriorError(
                f"{folder / FEATURES} is truncated: the index names {len(entries)} rows, the file holds {available}. "
                "Copy it again, or extract the priors again."
            )
        return cls(folder, meta, entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, image: str) -> bool:
        return _key(image) in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def entry(self, image: str) -> Entry:
        """The index entry of an image. Raises PriorError when the store does not have it."""
        try:
            return self._entries[_key(image)]
        except KeyError:
            raise PriorError(
                f"{self.path} has no prior for image '{image}' (keys are paths relative to the image folder, such as "
                f"'{next(iter(self._entries), '')}'); run 'llava-faba priors extract' on its folder."
            ) from None

    def status(self, image: str) -> str:
        return self.entry(image).status

    def get(self, image: str) -> np.ndarray:
        """The prior of an image, float32 (size,); zeros when no face was found."""
        return np.array(self.features[self.entry(image).row])


class PriorStoreWriter:
    """A store opened for writing: made when absent, continued when it was made by the same expert and settings.

    Only one process may write a store.
    """

    def __init__(
        self, path: str | Path, *, expert: str, version: str, settings: dict[str, Any], size: int
    ) -> None:
        self.path = Path(path)
        meta = {
            "format": FORMAT,
            "version": VERSION,
            "expert": expert,
            "expert_version": version,
            "settings": settings,
            "size": size,
        }
        self.path.mkdir(parents=True, exist_ok=True)
        if (self.path / META).exists():
            _check_same(self.path, _read_meta(self.path), meta)
        else:
            _write_atomically(self.path / META, json.dumps(meta, indent=2) + "\n")
        self.size = size
        self.known = self._cut_to_whole_rows()
        self._features = (self.path / FEATURES).open("ab")
        self._index = (self.path / INDEX).open("a", encoding="utf-8")

    def __enter__(self) -> PriorStoreWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._features.close()
        self._index.close()

    def append(self, rows: Iterable[tuple[str, np.ndarray, str, tuple[int, int]]]) -> None:
        """Add (image, feature (size,), status, (width, height)) rows, durable when this returns."""
        lines, data = [], []
        for image, feature, status, (width, height) in rows:
            vector = np.ascontiguousarray(feature, dtype=_DTYPE)
            if vector.shape != (self.size,):
                raise PriorError(
                    f"prior of '{image}' has shape {vector.shape}, the store takes ({self.size},)."
                )
            key = _key(image)
            if key in self.known:
                raise PriorError(f"{self.path} already has a prior for image '{image}'.")
            self.known.add(key)
            data.append(vector.tobytes())
            line = {
                "image": key,
                "status": status,
                "width": width,
                "height": height,
                "crc32": zlib.crc32(data[-1]),
            }
            lines.append(json.dumps(line, ensure_ascii=False) + "\n")
        for file, content in ((self._features, b"".join(data)), (self._index, "".join(lines))):
            file.write(content)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())

    def _cut_to_whole_rows(self) -> set[str]:
        """Remove what a crash left behind the last whole row and line; returns the images that are there."""
        index, features = self.path / INDEX, self.path / FEATURES
        features.touch()
        content = index.read_bytes() if index.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) != len(content):
            os.truncate(index, len(whole))
        images = [json.loads(line)["image"] for line in whole.splitlines()]
        os.truncate(features, len(images) * self.size * _DTYPE.itemsize)
        return set(images)


def _key(image: str) -> str:
    return str(image).replace(os.sep, "/")


def _read_meta(folder: Path) -> dict[str, Any]:
    path = folder / META
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PriorError(
            f"{folder} is not a priors store ({META} cannot be read: {error.strerror})."
        ) from error
    except ValueError as error:
        raise PriorError(f"{path} is damaged: {error}") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise PriorError(f"{folder} is not a priors store: {path} does not name the format '{FORMAT}'.")
    if meta.get("version") != VERSION:
        raise PriorError(
            f"{folder} has format version {meta.get('version')}, this llava-faba reads {VERSION}; update llava-faba."
        )
    return meta


def _read_index(folder: Path) -> Iterator[Entry]:
    path = folder / INDEX
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for row, line in enumerate(file):
            if not line.endswith("\n"):
                return  # cut short by a crash: its row is not promised
            try:
                value = json.loads(line)
                yield Entry(row=row, **value)
            except (ValueError, TypeError) as error:
                raise PriorError(f"{path}, line {row + 1}: not an index entry: {error}") from error


def _check_same(folder: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key in ("expert", "expert_version", "settings", "size"):
        if found.get(key) != wanted[key]:
            raise PriorError(
                f"{folder} was made with {key} {found.get(key)!r}, not {wanted[key]!r}; choose another folder or remove "
                "this one."
            )


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
