"""The files of a priors store, format version 1. docs/priors.md describes them for readers in other languages.

A store is a folder:

``meta.json``     {"format": "llava-faba-priors", "version": 1, "id", "expert", "expert_version", "settings", "size"}
``features.f32``  little-endian float32, row after row of ``size`` numbers: one flat array of shape (n, size)
``index.bin``     one ``ENTRY`` of 48 bytes per row, in the same order
``strings.txt``   per row the image's path (relative to the image folder, with "/"), the note, and a line feed
``lookup.bin``    derived: the entries' hashes sorted, and their rows, so that nothing need be read to open a store
``lock``          held by the process that writes

Rows are appended: first features and strings, synced to the disk, then the index entries that name them. So every
entry has its row, whatever the moment of a crash, and an entry that a crash cut short or tore fails its checksum and
does not count. ``id`` is random and takes part in the checksums, so files of two stores cannot be mixed up.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from llava_faba.errors import PriorError
from llava_faba.experts.base import PriorStatus

FORMAT, VERSION = "llava-faba-priors", 1
META, FEATURES, INDEX, STRINGS = "meta.json", "features.f32", "index.bin", "strings.txt"
LOOKUP, LOCK = "lookup.bin", "lock"

FLOAT = np.dtype("<f4")
ENTRY = np.dtype(
    [
        ("hash", "<u8"),  # of the image's path: BLAKE2b with 8 bytes
        ("offset", "<u8"),  # of its path in strings.txt
        ("path_bytes", "<u4"),
        ("note_bytes", "<u4"),
        ("width", "<u4"),  # of the original image, in pixels; 0 where unknown
        ("height", "<u4"),
        ("status", "u1"),  # position in STATUSES
        ("reserved", "u1", (3,)),
        ("row_crc", "<u4"),  # CRC-32 of the row's bytes in features.f32
        ("text_crc", "<u4"),  # CRC-32 of path and note
        ("entry_crc", "<u4"),  # CRC-32 of the store's id and the 44 bytes before
    ]
)
_SEALED = ENTRY.itemsize - 4
STATUSES = (
    PriorStatus.FOUND.value,
    PriorStatus.NOT_FOUND.value,
    PriorStatus.SEVERAL_FACES.value,
    PriorStatus.UNREADABLE.value,
)


def encode(text: str) -> bytes:
    """UTF-8; file names that are not UTF-8 keep their bytes."""
    return text.encode("utf-8", "surrogateescape")


def decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def key_of(image: str | Path) -> str:
    """An image's key: its path relative to the image folder, with "/"."""
    return str(image).replace(os.sep, "/")


def hash_of(path: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(path, digest_size=8).digest(), "little")


def seal(entry: np.ndarray, identity: str) -> None:
    """Set the checksum of one entry (a view of shape (1,))."""
    entry["entry_crc"] = zlib.crc32(entry.tobytes()[:_SEALED], zlib.crc32(identity.encode()))


def is_sealed(entry: np.ndarray, identity: str) -> bool:
    """Whether one entry (a view of shape (1,)) is whole and of this store."""
    data = entry.tobytes()
    return zlib.crc32(data[:_SEALED], zlib.crc32(identity.encode())) == int.from_bytes(data[_SEALED:], "little")


def mapped(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int = 0) -> np.ndarray:
    """A read-only memory map; nothing cannot be mapped, so that is an array."""
    if 0 in shape:
        return np.zeros(shape, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r", shape=shape, offset=offset)


def read_meta(folder: Path) -> dict[str, Any]:
    """The header. Raises PriorError for what is no store, is damaged, or has another version."""
    path = folder / META
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PriorError(
            f"{folder} is not a priors store ({META} cannot be read: {error.strerror}); "
            "'llava-faba priors extract' makes one."
        ) from error
    except ValueError as error:
        raise PriorError(f"{path} is damaged: {error}") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise PriorError(f"{folder} is not a priors store: {path} does not name the format '{FORMAT}'.")
    if meta.get("version") != VERSION:
        raise PriorError(
            f"{folder} has format version {meta.get('version')}, this llava-faba reads {VERSION}; update llava-faba."
        )
    types = {"id": str, "expert": str, "expert_version": str, "settings": dict, "size": int}
    for key, kind in types.items():
        if not isinstance(meta.get(key), kind) or (key == "size" and meta[key] <= 0):
            raise PriorError(f"{path} is damaged: '{key}' is {meta.get(key)!r}.")
    return meta


def count_rows(folder: Path, meta: dict[str, Any], closed: int = 0) -> int:
    """How many rows the store holds, not counting what a crash left behind them.

    ``closed``: rows that a writer had finished with, which no crash can have torn. Of the others the last append may
    be torn anywhere, for a disk writes its pages in any order; what follows the first torn entry does not count.
    Raises PriorError when the index names rows that the other files do not hold, or is not this store's.
    """
    whole = _size(folder / INDEX) // ENTRY.itemsize
    entries = mapped(folder / INDEX, ENTRY, (whole,))
    before_last_append = max(whole - MOST_ROWS_AT_ONCE - 1, 0)
    first = min(max(closed if closed <= whole else 0, before_last_append), max(whole - 1, 0))
    rows = next((row for row in range(first, whole) if not is_sealed(entries[row : row + 1], meta["id"])), whole)
    if rows < whole and rows == before_last_append > 0:
        raise PriorError(
            f"{folder / INDEX} is damaged or belongs to another store: entry {rows} fails its checksum, and no crash "
            "reaches so far back. Copy the store again, or extract the priors again."
        )
    rows_held = _size(folder / FEATURES) // (meta["size"] * FLOAT.itemsize)
    if rows_held < rows:
        raise _truncated(folder / FEATURES, f"the index names {rows} rows, it holds {rows_held}")
    last = entries[rows - 1] if rows else None
    if last is not None:
        needed = int(last["offset"]) + int(last["path_bytes"]) + int(last["note_bytes"]) + 1
        if _size(folder / STRINGS) < needed:
            raise _truncated(folder / STRINGS, f"the index names {needed} bytes of it")
    return rows


MOST_ROWS_AT_ONCE = 8192
"""Rows of one append; a crash can tear no more entries than that."""


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file so that a crash leaves the old one or the new one."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and new files in ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def blocks(count: int, size: int = 65536) -> Iterator[slice]:
    """Slices that cover ``count`` rows, so that whole columns need not be in memory."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _truncated(path: Path, what: str) -> PriorError:
    return PriorError(f"{path} is truncated: {what}. Copy it again, or extract the priors again.")
