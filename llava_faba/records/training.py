"""Annotation files as training reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llava_faba.errors import RecordError
from llava_faba.records.reading import read_items_of


def read_records(path: str | Path) -> list[dict[str, Any]]:
    """The records of an annotation file.

    Raises RecordError when the file is missing, not JSON (naming line and column), no list or lines, or an empty one.
    """
    records = read_items_of(path)
    if not records:
        raise RecordError(f"{path}: holds no records.")
    return records
