"""Finding one's way in a dataset's folder: what is missing is named, first things first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llava_faba.errors import UserError


def require_root(root: Path, dataset: str) -> Path:
    """``root`` if it is a folder, else an error."""
    if not root.is_dir():
        raise UserError(f"{dataset}: --root {root} is not a folder")
    return root


def require_folder(root: Path, candidates: Sequence[str], dataset: str, what: str) -> Path:
    """The first of ``candidates`` (relative to ``root``) that is a folder; else an error naming them all."""
    for candidate in candidates:
        if (root / candidate).is_dir():
            return root / candidate
    raise UserError(f"{dataset}: no {what} below {root}: expected the folder {_alternatives(candidates)}")


def require_file(root: Path, candidates: Sequence[str], dataset: str, what: str) -> Path:
    """The first of ``candidates`` (relative to ``root``) that is a file; else an error naming them all."""
    for candidate in candidates:
        if (root / candidate).is_file():
            return root / candidate
    raise UserError(f"{dataset}: no {what} below {root}: expected the file {_alternatives(candidates)}")


def _alternatives(candidates: Sequence[str]) -> str:
    quoted = [f"'{candidate}'" for candidate in candidates]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def load_folds(name: str) -> dict[str, list[str]]:
    """The evaluation subjects of each fold, from ``folds/<name>.json`` beside this module."""
    content: dict[str, Any] = json.loads((Path(__file__).parent / "folds" / f"{name}.json").read_text(encoding="utf-8"))
    folds: dict[str, list[str]] = content["folds"]
    return folds
