"""The files of a priors store, format versions 1 and 2. docs/priors.md describes them for readers in other languages.

A store is a folder:

``meta.json``     {"format": "llava-faba-priors", "version", "id", "expert", "expert_version", "settings", "size"} and,
                  in stores made since 0.2, "reading" (how files become pixels) and "checksum" (of all the others)
``features.f32``  little-endian float32, row after row of ``size`` numbers: one flat array of shape (n, size)
``index.bin``     one ``ENTRY`` of 48 bytes per row, in the same order
``strings.txt``   per row the image's path (relative to the image folder, with "/"), the note, and a line feed
``content.bin``   which picture each row is of (``content``); absent in older stores
``lookup.bin``    derived: the entries' hashes sorted, and their rows, so that nothing need be read to open a store
``lock``          held by the process that writes

Rows are appended: first features and strings, synced to the disk, then the index entries that name them. So every
entry has its row, whatever the moment of a crash, and an entry that a crash cut short or tore fails its checksum and
does not count. ``id`` is random and takes part in the checksums, so files of two stores cannot be mixed up.

Nothing that was synced is cut off or written over. A picture that changed gets a new row, whose entry has the flag
``REPLACES``; the last row of a path counts. A store that holds such rows has version 2, which older readers refuse.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from faba_bench.files.atomic import write_bytes
from faba_bench.files.digests import sha256_json
from faba_bench.files.jsonfiles import parse_json

from llava_faba.errors import PriorError
from llava_faba.experts.base import PriorStatus

FORMAT, VERSION, VERSION_WITH_REPLACED = "llava-faba-priors", 1, 2
META, FEATURES, INDEX, STRINGS = "meta.json", "features.f32", "index.bin", "strings.txt"
LOOKUP, LOCK = "lookup.bin", "lock"

_META_LIMIT = 1 << 20
_LARGEST_PRIOR = 1 << 24
_SECTOR = 512

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
        ("flags", "u1"),  # REPLACES, IN_APPEND
        ("in_append", "<u2"),  # with IN_APPEND: how many rows of the same append come before it
        ("row_crc", "<u4"),  # CRC-32 of the row's bytes in features.f32
        ("text_crc", "<u4"),  # CRC-32 of path and note
        ("entry_crc", "<u4"),  # CRC-32 of the store's id and the 44 bytes before
    ]
)
REPLACES, IN_APPEND = 1, 2
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
    if path.exists() and not path.is_file():
        raise PriorError(f"{path} is not a regular file.")
    try:
        with path.open("rb") as file:
            text = file.read(_META_LIMIT)
    except OSError as error:
        raise PriorError(
            f"{folder} is not a priors store ({META} cannot be read: {error.strerror}); "
            "'llava-faba priors extract' makes one."
        ) from error
    meta = parse_json(text, f"{path} is damaged", error=PriorError)
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise PriorError(f"{folder} is not a priors store: {path} does not name the format '{FORMAT}'.")
    if meta.get("version") not in (VERSION, VERSION_WITH_REPLACED):
        raise PriorError(
            f"{folder} has format version {meta.get('version')}, this llava-faba reads {VERSION} and "
            f"{VERSION_WITH_REPLACED}; update llava-faba."
        )
    types: dict[str, type] = {"id": str, "expert": str, "expert_version": str, "settings": dict, "size": int}
    for key, kind in types.items():
        value: Any = meta.get(key)
        if type(value) is not kind or (key == "size" and value not in range(1, _LARGEST_PRIOR + 1)):
            raise PriorError(f"{path} is damaged: '{key}' is {value!r}.")
    if not re.fullmatch("[0-9a-f]{32}", meta["id"]):
        raise PriorError(f"{path} is damaged: 'id' is {meta['id']!r}, not 32 hexadecimal digits.")
    if "checksum" in meta and meta["checksum"] != _meta_checksum(meta):
        raise PriorError(f"{path} is damaged: its checksum is not that of its content. Copy the store again.")
    return meta


def write_meta(folder: Path, meta: dict[str, Any]) -> dict[str, Any]:
    """Write the header with its checksum; returns what was written."""
    meta = {**meta, "checksum": _meta_checksum(meta)}
    write_atomically(folder / META, (json.dumps(meta, indent=2) + "\n").encode())
    return meta


def _meta_checksum(meta: dict[str, Any]) -> str:
    return sha256_json({key: value for key, value in meta.items() if key != "checksum"})[:16]


def count_rows(folder: Path, meta: dict[str, Any], closed: int = 0) -> int:
    """How many rows the store holds, not counting what a crash left behind them.

    ``closed``: rows that a writer had finished with, which no crash can have torn. Of the others the last append may
    be torn anywhere, for a disk writes its pages in any order; what follows the first torn entry does not count.
    Raises PriorError when the index names rows that the other files do not hold, is not this store's, or is damaged in
    a way that no crash explains.
    """
    whole = size_of(folder / INDEX) // ENTRY.itemsize
    entries = mapped(folder / INDEX, ENTRY, (whole,))
    before_last_append = max(whole - MOST_ROWS_AT_ONCE - 1, 0)
    first = min(max(closed if closed <= whole else 0, before_last_append), max(whole - 1, 0))
    rows = next((row for row in range(first, whole) if not is_sealed(entries[row : row + 1], meta["id"])), whole)
    if rows < whole:
        _check_torn(folder, entries, rows, meta["id"])
        if rows == before_last_append > 0:
            raise _damaged(folder, rows, "no crash reaches so far back")
    rows_held = size_of(folder / FEATURES) // (meta["size"] * FLOAT.itemsize)
    if rows_held < rows:
        raise _truncated(folder / FEATURES, f"the index names {rows} rows, it holds {rows_held}")
    last = entries[rows - 1] if rows else None
    if last is not None:
        needed = int(last["offset"]) + int(last["path_bytes"]) + int(last["note_bytes"]) + 1
        if size_of(folder / STRINGS) < needed:
            raise _truncated(folder / STRINGS, f"the index names {needed} bytes of it")
    return rows


def _check_torn(folder: Path, entries: np.ndarray, rows: int, identity: str) -> None:
    """Raise PriorError when a crash cannot have left the entries from ``rows`` on.

    A crash tears the last append: its pages are there or not, and no disk writes less than a sector. So an entry that
    lies within one sector is whole or zeros, and no append follows.
    """
    for row in range(rows, len(entries)):
        entry = entries[row : row + 1]
        if is_sealed(entry, identity):
            began = row - int(entry["in_append"][0])
            if entry["flags"][0] & IN_APPEND and began > rows:
                raise _damaged(folder, rows, f"entry {row} was written after it had been synced")
        elif row * ENTRY.itemsize // _SECTOR == ((row + 1) * ENTRY.itemsize - 1) // _SECTOR and any(entry.tobytes()):
            raise _damaged(folder, row, "a crash leaves an entry whole or empty")


def _damaged(folder: Path, row: int, why: str) -> PriorError:
    return PriorError(
        f"{folder / INDEX} is damaged or belongs to another store (or the id in {META} is damaged): entry {row} fails "
        f"its checksum, and {why}. Nothing was changed. Copy the store again, or extract the priors again to another "
        "folder."
    )


MOST_ROWS_AT_ONCE = 8192
"""Rows of one append; a crash can tear no more entries than that."""


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file so that a crash leaves the old one or the new one."""
    write_bytes(path, data, through_links=False)  # a stranger's store may hold links to what is not its own


def blocks(count: int, size: int = 65536) -> Iterator[slice]:
    """Slices that cover ``count`` rows, so that whole columns need not be in memory."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _truncated(path: Path, what: str) -> PriorError:
    return PriorError(f"{path} is truncated: {what}. Copy it again, or extract the priors again.")
