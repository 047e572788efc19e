"""Which picture a row belongs to: the SHA-256 of the file that it was made from, in ``content.bin`` of the store.

A name is no identity: a file can be replaced, two exchanged, another dataset can have the same names. So each row has a
``Content``, and whoever takes a prior for a picture asks ``compare``. The file's size and times are kept beside the
hash, and spare reading it again; where they differ (also after a copy to another machine) the hash decides.

Rows of stores that were made before this was written down have none: of those nobody can tell.
"""

from __future__ import annotations

import os
import stat
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from faba_bench.files.digests import sha256_stream

CONTENT = "content.bin"
CONTENT_ENTRY = np.dtype(
    [
        ("sha256", "u1", (32,)),
        ("bytes", "<u8"),
        ("mtime_ns", "<i8"),
        ("ctime_ns", "<i8"),  # 0 where the file was too fresh for its times to be trusted
        ("inode", "<u8"),
        ("kind", "u1"),  # 0: nothing is known (the whole entry is zeros), 1: a file, 2: there was no file
        ("reserved", "u1", (3,)),
        ("crc", "<u4"),  # CRC-32 of the store's id, the row's entry_crc in index.bin, and the 68 bytes before
    ]
)
_SEALED = CONTENT_ENTRY.itemsize - 4
_FILE, _NO_FILE = 1, 2
_FRESH_NS = 2_000_000_000
"""A file that changed less than this before it was read may change again without its times telling."""
_THREADS = 8
_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class Content:
    """What one image file was: its SHA-256 and, to spare hashing it again, its size in bytes, times and inode.

    ``sha256`` None: there was no such file.
    """

    sha256: bytes | None
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    inode: int = 0

    @classmethod
    def of(cls, path: str | Path) -> Content | None:
        """The content of a file now; None when it cannot be read, or is no regular file."""
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - two million Path objects are not free
                return None
            with open(path, "rb") as file:  # noqa: PTH123
                return cls.of_open(file)
        except (FileNotFoundError, NotADirectoryError):
            return NO_FILE
        except (OSError, ValueError):
            return None

    @classmethod
    def of_open(cls, file: BinaryIO) -> Content:
        """The content of an open file, which stands at its beginning before and after. Raises OSError."""
        status = os.fstat(file.fileno())
        digest = bytes.fromhex(sha256_stream(file))
        file.seek(0)
        fresh = time.time_ns() - status.st_ctime_ns < _FRESH_NS
        return cls(digest, status.st_size, status.st_mtime_ns, 0 if fresh else status.st_ctime_ns, status.st_ino)

    @property
    def name(self) -> str:
        """The hash for people and JSON; "no file" without one."""
        return "no file" if self.sha256 is None else self.sha256.hex()

    def is_same_picture(self, other: Content) -> bool:
        return self.sha256 == other.sha256


NO_FILE = Content(None)


class Sameness(Enum):
    """Whether the file of a name is still the one that a row was made from."""

    SAME = "same"
    CHANGED = "changed"
    GONE = "gone"
    UNKNOWN = "unknown"


def compare(content: Content | None, path: str | Path) -> Sameness:
    """Whether the file ``path`` is what ``content`` was taken of; reads it only where size and times leave it open.

    UNKNOWN: there is no content to compare with, or the file cannot be read.
    """
    if content is None:
        return Sameness.UNKNOWN
    try:
        now = os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return Sameness.SAME if content.sha256 is None else Sameness.GONE
    except (OSError, ValueError):
        return Sameness.UNKNOWN
    if content.sha256 is None or now.st_size != content.size:
        return Sameness.CHANGED
    times = (now.st_mtime_ns, now.st_ctime_ns, now.st_ino)
    if content.ctime_ns and times == (content.mtime_ns, content.ctime_ns, content.inode):
        return Sameness.SAME
    found = Content.of(path)
    if found is None:
        return Sameness.UNKNOWN
    return Sameness.SAME if content.is_same_picture(found) else Sameness.CHANGED


def in_threads(function: Callable[[_In], _Out], items: Iterable[_In]) -> Iterator[_Out]:
    """``map`` in order, several at a time: asking a file system and hashing leave Python to others."""
    source = iter(items)
    with ThreadPoolExecutor(_THREADS) as pool:
        while part := list(islice(source, 4096)):
            yield from pool.map(function, part)


def to_entries(contents: list[Content | None], entry_crcs: np.ndarray, identity: str) -> np.ndarray:
    """The lines of ``content.bin`` for new rows; ``entry_crcs``: those of the rows' entries in index.bin."""
    entries = np.zeros(len(contents), dtype=CONTENT_ENTRY)
    for position, content in enumerate(contents):
        if content is None:
            continue
        entry = entries[position : position + 1]
        entry["kind"] = _NO_FILE if content.sha256 is None else _FILE
        if content.sha256 is not None:
            entry["sha256"] = np.frombuffer(content.sha256, dtype="u1")
        entry["bytes"], entry["inode"] = content.size, content.inode
        entry["mtime_ns"], entry["ctime_ns"] = content.mtime_ns, content.ctime_ns
        entry["crc"] = _crc(entry.tobytes(), int(entry_crcs[position]), identity)
    return entries


def from_entry(entry: np.void, entry_crc: int, identity: str) -> Content | None:
    """What a line of ``content.bin`` says; None for a row of which nothing is known.

    Raises ValueError for a line that fails its checksum.
    """
    data = entry.tobytes()
    if not any(data):
        return None
    if _crc(data, entry_crc, identity) != int(entry["crc"]) or entry["kind"] not in (_FILE, _NO_FILE):
        raise ValueError("its entry in content.bin fails its checksum")
    if entry["kind"] == _NO_FILE:
        return NO_FILE
    return Content(
        entry["sha256"].tobytes(),
        int(entry["bytes"]),
        int(entry["mtime_ns"]),
        int(entry["ctime_ns"]),
        int(entry["inode"]),
    )


def _crc(data: bytes, entry_crc: int, identity: str) -> int:
    return zlib.crc32(data[:_SEALED], zlib.crc32(identity.encode() + entry_crc.to_bytes(4, "little")))
