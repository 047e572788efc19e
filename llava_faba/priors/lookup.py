"""From an image's hash to its row: sorted arrays on the disk, and in memory what was added since they were written."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from llava_faba.priors.layout import LOOKUP, mapped, write_atomically

_MAGIC = b"LFLOOKUP"
_HEADER = struct.Struct("<8s32sQI12x")  # magic, the store's id, number of rows, CRC-32 of what follows
_HASH, _ROW = np.dtype("<u8"), np.dtype("<u4")


class Lookup:
    """Rows by hash. Several rows can share one: the caller compares the paths."""

    def __init__(self, hashes: np.ndarray, rows: np.ndarray, tail: np.ndarray, first: int) -> None:
        """``hashes`` sorted, with their ``rows``; ``tail``: hashes of the rows from ``first`` on, in their order."""
        self._hashes, self._rows = hashes, rows
        self.covered = len(hashes)
        order = np.argsort(tail, kind="stable")
        self._tail_hashes = np.ascontiguousarray(tail[order])
        self._tail_rows = order + first

    @classmethod
    def of(cls, folder: Path, identity: str, index: np.ndarray) -> Lookup:
        """The lookup of a store whose entries are ``index``; a missing, foreign or damaged file only costs memory."""
        covered, hashes, rows = _read(folder / LOOKUP, identity)
        if covered > len(index) or not _is_intact(folder / LOOKUP, hashes, rows):
            covered, hashes, rows = 0, hashes[:0], rows[:0]
        return cls(hashes, rows, np.array(index["hash"][covered:]), covered)

    def rows(self, hash_: int) -> Iterator[int]:
        """All rows with this hash."""
        wanted = np.uint64(hash_)
        for hashes, rows in ((self._hashes, self._rows), (self._tail_hashes, self._tail_rows)):
            at = int(np.searchsorted(hashes, wanted))
            while at < len(hashes) and hashes[at] == wanted:
                yield int(rows[at])
                at += 1


def covered_rows(folder: Path, identity: str) -> int:
    """How many rows the file on the disk knows; 0 without a file of this store."""
    return _read(folder / LOOKUP, identity)[0]


def write_lookup(folder: Path, identity: str, hashes: np.ndarray) -> None:
    """Write the lookup file of rows 0, 1, ... with these ``hashes``."""
    order = np.argsort(hashes, kind="stable")
    payload = hashes[order].astype(_HASH).tobytes() + order.astype(_ROW).tobytes()
    header = _HEADER.pack(_MAGIC, identity.encode(), len(hashes), zlib.crc32(payload))
    write_atomically(folder / LOOKUP, header + payload)


def lookup_is_intact(folder: Path, identity: str, hashes: np.ndarray) -> bool:
    """Whether the file, if there is one of this store, says what the entries say."""
    covered, sorted_hashes, rows = _read(folder / LOOKUP, identity)
    if covered > len(hashes):
        return False
    if covered == 0:
        return True
    if not _is_intact(folder / LOOKUP, sorted_hashes, rows) or int(rows.max()) >= covered:
        return False
    return bool(np.array_equal(hashes[rows], sorted_hashes) and np.array_equal(np.sort(rows), np.arange(covered)))


def _is_intact(path: Path, hashes: np.ndarray, rows: np.ndarray) -> bool:
    """Whether the checksum holds: a few milliseconds for a million rows."""
    if len(hashes) == 0:
        return True
    with path.open("rb") as file:
        checksum = _HEADER.unpack(file.read(_HEADER.size))[3]
    return bool(checksum == zlib.crc32(rows.data, zlib.crc32(hashes.data)))


def _read(path: Path, identity: str) -> tuple[int, np.ndarray, np.ndarray]:
    none = 0, np.zeros(0, dtype=_HASH), np.zeros(0, dtype=_ROW)
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
            size = file.seek(0, 2)
    except FileNotFoundError:
        return none
    if len(header) < _HEADER.size:
        return none
    magic, owner, count, _ = _HEADER.unpack(header)
    width = _HASH.itemsize + _ROW.itemsize
    if magic != _MAGIC or owner != identity.encode() or size != _HEADER.size + count * width:
        return none
    hashes = mapped(path, _HASH, (count,), _HEADER.size)
    return count, hashes, mapped(path, _ROW, (count,), _HEADER.size + count * _HASH.itemsize)
