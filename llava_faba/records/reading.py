"""The one reader of annotation and question files: a JSON list, or one object per line, told apart by content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from faba_bench.files.jsonfiles import is_lone_object, kind_of, read_items
from faba_bench.files.terminal import printable

from llava_faba.errors import RecordError

_RECORD_KEYS = {"image", "conversations", "question_id"}


def read_items_of(path: str | Path) -> list[Any]:
    """The items of an annotation file, whatever they are; objects in a sound file.

    A byte order mark is passed over, lines of JSON lines end at LF or CRLF only. Raises RecordError naming file and
    line: no such file, not UTF-8, not JSON, NaN, a key twice in one object, or an object where a list was expected.
    """
    path = Path(path)
    if not path.exists():
        raise RecordError(f"{printable(str(path))}: cannot be read: No such file or directory")
    items: list[Any] = read_items(path, error=RecordError)
    if is_lone_object(path, items) and not _RECORD_KEYS & set(items[0]):
        raise RecordError(f"{printable(str(path))}: expected a list of records, found an object without 'image'")
    return items


def read_objects(path: str | Path) -> list[dict[str, Any]]:
    """As ``read_items_of``, and every item is an object, else RecordError names the first that is none."""
    items = read_items_of(path)
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise RecordError(
                f"{printable(str(path))}: element {index} is {kind_of(item)}, "
                "expected an object with keys such as 'image'"
            )
    return items
