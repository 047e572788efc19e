"""Finding one's way in a dataset's folder: what is missing is named, first things first."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from llava_faba.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


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


def numbered_images(folder: Path) -> dict[int, Path]:
    """Images by the last number in their file name, so that ``0032.jpg``, ``32.jpg`` and ``x_00032.png``
    agree.
    """
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        digits = re.findall(r"\d+", path.stem)
        if not digits:
            continue
        number = int(digits[-1])
        if number in found:
            raise UserError(f"frame {number} of {folder} exists twice: {found[number].name} and {path.name}")
        found[number] = path
    return found


def csv_rows(path: Path, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Line numbers (from 1) and stripped cells of all lines that are not blank."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        for number, row in enumerate(csv.reader(stream, delimiter=delimiter), start=1):
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield number, cells


def sheets(path: Path) -> Iterator[tuple[str, Iterator[tuple[int, list[str]]]]]:
    """The sheets of an Excel file: title, and line numbers (from 1) with the cells of all lines that are not blank.

    Raises ``UserError`` when openpyxl is not installed or the file cannot be read.
    """
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise UserError(
            f"{path}: reading Excel files needs openpyxl: pip install 'llava-faba[data]', or save it as CSV"
        ) from error
    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except Exception as error:
        # A damaged or protected file fails in the zip reader, the XML parser or openpyxl itself.
        raise UserError(
            f"{path} is no readable Excel file ({type(error).__name__}: {error}); if it has a password, save it without"
        ) from error
    for sheet in book.worksheets:
        yield sheet.title, _sheet_rows(sheet.iter_rows(values_only=True))
    book.close()


def _sheet_rows(rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[int, list[str]]]:
    for number, row in enumerate(rows, start=1):
        cells = ["" if cell is None else str(cell).strip() for cell in row]
        if any(cells):
            yield number, cells


def to_int(cell: str, path: Path | str, line: int, what: str) -> int:
    """An integer, also when written ``3.0``; anything else is an error with file and line."""
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if value != value or value != int(value):
        raise UserError(f"{path}, line {line}: {what} is '{cell}', expected a whole number")
    return int(value)


def load_folds(name: str) -> dict[str, list[str]]:
    """The evaluation subjects of each fold, from ``folds/<name>.json`` beside this module."""
    content: dict[str, Any] = json.loads((Path(__file__).parent / "folds" / f"{name}.json").read_text(encoding="utf-8"))
    folds: dict[str, list[str]] = content["folds"]
    return folds
