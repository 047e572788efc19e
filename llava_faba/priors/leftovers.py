"""What a crash left behind the last whole row of a store: kept in a folder of its own, then cut off."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from faba_bench.files.atomic import replacing

from llava_faba.errors import PriorError
from llava_faba.priors.layout import FEATURES, MOST_ROWS_AT_ONCE

CUT = "cut"
"""Below it a folder for each cut; no reader looks at them, and they can be removed."""


def cut_off(folder: Path, files: Mapping[str, BinaryIO], ends: Mapping[str, int], row_bytes: int) -> None:
    """Shorten each of a store's open ``files`` to its end in bytes; what is cut is copied to ``folder/cut/`` first.

    ``row_bytes``: of one row in features.f32.

    Raises PriorError, and cuts nothing, when more is there than one append can have left, or it cannot be copied.
    """
    sizes = {name: file.seek(0, os.SEEK_END) for name, file in files.items()}
    left = {name: sizes[name] - end for name, end in ends.items() if sizes[name] > end}
    if not left:
        return
    if left.get(FEATURES, 0) > MOST_ROWS_AT_ONCE * row_bytes:
        raise PriorError(
            f"{folder / FEATURES} holds far more rows than the {ends[FEATURES] // row_bytes} that index.bin names: the "
            "index has lost entries, and no crash explains it. Nothing was changed. Copy the store again, or extract "
            "to another folder."
        )
    if any(_holds_something(files[name], ends[name]) for name in left):
        place = folder / CUT / f"{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}-{time.monotonic_ns()}"
        try:
            for name in left:
                _copy(files[name], ends[name], place / f"{name}.from-{ends[name]}")
        except OSError as error:
            raise PriorError(f"{place}: what a crash left cannot be copied there: {error.strerror}.") from error
    for name in left:
        files[name].truncate(ends[name])


def _holds_something(file: BinaryIO, start: int) -> bool:
    """Whether there is more than zeros: room that a file system had made."""
    file.seek(start)
    return any(any(block) for block in iter(lambda: file.read(1 << 20), b""))


def _copy(file: BinaryIO, start: int, target: Path) -> None:
    file.seek(start)
    with replacing(target) as partial, partial.open("wb") as copy:
        for block in iter(lambda: file.read(1 << 20), b""):
            copy.write(block)
