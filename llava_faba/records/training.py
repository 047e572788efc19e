"""Annotation files as training reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from llava_faba.errors import RecordError


def read_records(path: str | Path) -> list[dict[str, Any]]:
    """The records of an annotation file.

    Raises RecordError when the file is missing, not JSON (naming line and column), not a list, or an empty one.
    """
    try:
        records = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: not UTF-8: {error}") from error
    except json.JSONDecodeError as error:
        raise RecordError(f"{path}, line {error.lineno}, column {error.colno}: {error.msg}") from error
    if not isinstance(records, list):
        raise RecordError(f"{path}: expected a list of records, found {type(records).__name__}.")
    if not records:
        raise RecordError(f"{path}: holds no records.")
    return records
