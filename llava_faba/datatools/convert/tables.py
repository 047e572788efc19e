"""The one reader of label tables: text files as tools and people write them, spreadsheets, cells, codes, headers.

What it takes as it comes: a byte order mark, UTF-16 with one, Windows-1252, CRLF and CR, blank lines, Excel's
``sep=;`` line, commas, semicolons, tabs or blanks between cells, blanks and stray quotes around them, ``1.0`` for 1.
What it does not take: a table that is no text, a row with fewer cells than its header, a code that the dataset does not
know. Each is an error that names file and line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from faba_bench.files.paths import regular_file
from faba_bench.files.terminal import printable

from llava_faba.errors import UserError
from llava_faba.packages import install_command

Cells = list[str]
Fits = Callable[[Cells], bool]

WHITESPACE = " "
"""The delimiter that stands for any run of blanks and tabs."""
DELIMITERS = ("\t", ";", ",", WHITESPACE)
NO_VALUE = frozenset({"", "nan", "na", "n/a", "null", "none", "-", "--", "?", "."})
"""What stands in a cell where nobody coded anything, whatever the dataset; in small letters."""

_AROUND = " \t\r\n\u00a0\u200b\ufeff'\"`\u2018\u2019\u201c\u201d\u201e"
_NUMBER = re.compile(r"[+-]?\d{1,12}(?:[.,]\d*)?(?:[eE][+-]?\d{1,2})?\Z", re.ASCII)
_BOMS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def rows(path: Path, fits: Fits, delimiters: Collection[str] = DELIMITERS) -> Iterator[tuple[int, Cells]]:
    """Line numbers (from 1) and clean cells of all lines that are not blank.

    The delimiter is the first of ``delimiters`` that cuts the first line (or one of the two after it) into cells that
    ``fits`` takes (it gets them without empty ones at the end); where none does, the one that gives most cells, so that
    the caller names the line. Raises ``UserError`` for what is no text file.
    """
    regular_file(path, error=UserError)
    with path.open(encoding=_encoding(path), errors="surrogateescape", newline=None) as stream:
        lines = _lines(stream, path)
        head: list[tuple[int, str]] = []
        delimiter = None
        for number, line in lines:
            if number == 1 and (named := re.match(r"\s*[\"']?sep=(.)[\"']?\s*\Z", line, re.IGNORECASE)):
                delimiter = named.group(1)
                continue
            head.append((number, line))
            if len(head) == 3:
                break
        delimiter = delimiter or _delimiter([line for _, line in head], fits, delimiters)
        for source in (head, lines):
            for number, line in source:
                cells = [clean(cell) for cell in split(line, delimiter)]
                if any(cells):
                    yield number, cells


def split(line: str, delimiter: str) -> Cells:
    """The raw cells of one line. A quote that is never closed is a stray one, not the start of a cell of many lines."""
    if delimiter == WHITESPACE:
        return line.split()
    if line.count('"') % 2 == 0:
        try:
            return next(csv.reader([line], delimiter=delimiter, strict=True), [])
        except csv.Error:
            pass
    return line.split(delimiter)


def clean(cell: str) -> str:
    """A cell without the blanks and quotes around it; bytes that are not UTF-8 are read as Windows-1252."""
    cell = cell.strip(_AROUND)
    if any("\udc80" <= letter <= "\udcff" for letter in cell):
        raw = cell.encode("utf-8", "surrogateescape")
        cell = raw.decode("cp1252", "replace")
    return cell


def trimmed(cells: Iterable[str]) -> Cells:
    """Without the empty cells at the end, which spreadsheets add."""
    kept = list(cells)
    while kept and not kept[-1]:
        kept.pop()
    return kept


def _encoding(path: Path) -> str:
    with path.open("rb") as stream:
        return _BOMS.get(stream.read(2), "utf-8-sig")


def _lines(stream: TextIO, path: Path) -> Iterator[tuple[int, str]]:
    number = 0
    while True:
        number += 1
        try:
            line = stream.readline(1 << 20)
        except UnicodeError as error:
            raise UserError(f"{path}, line {number}: cannot be read as text ({error}); save it as UTF-8") from error
        if not line:
            return
        if len(line) >= 1 << 20 and not line.endswith("\n"):
            raise UserError(f"{path}, line {number}: longer than a million characters, so this is no label table")
        if "\0" in line:
            raise UserError(f"{path}, line {number}: holds NUL characters, so this is no text file")
        if line.strip(_AROUND):
            yield number, line.rstrip("\n")


def _delimiter(head: list[str], fits: Fits, delimiters: Collection[str]) -> str:
    for line in head:
        for delimiter in delimiters:
            if fits(trimmed(map(clean, split(line, delimiter)))):
                return delimiter
    first = head[0] if head else ""
    return max(delimiters, key=lambda delimiter: len(split(first, delimiter)))


def sheets(path: Path) -> Iterator[tuple[str, Iterator[tuple[int, Cells]]]]:
    """The sheets of an Excel file: title, and line numbers (from 1) with the cells of all lines that are not blank.

    Raises ``UserError`` when openpyxl is not installed or the file cannot be read.
    """
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise UserError(
            f"{path}: reading Excel files needs openpyxl; save it as CSV, or {install_command('data')}"
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


def _sheet_rows(source: Iterator[tuple[Any, ...]]) -> Iterator[tuple[int, Cells]]:
    for number, row in enumerate(source, start=1):
        cells = ["" if cell is None else clean(str(cell)) for cell in row]
        if any(cells):
            yield number, cells


def number(cell: str) -> int | None:
    """The whole number that a cell holds, also as ``3.0``, ``3,0`` or ``3.0e+00``; None for anything else."""
    if not _NUMBER.match(cell):
        return None
    value = float(cell.replace(",", "."))
    return int(value) if value == int(value) else None


def to_int(cell: str, path: Path | str, line: int, what: str) -> int:
    """A whole number; anything else is an error with file and line."""
    value = number(cell)
    if value is None:
        raise UserError(f"{path}, line {line}: {what} is '{printable(cell)[:80]}', expected a whole number")
    return value


def check_width(cells: Cells, width: int, where: Path | str, line: int) -> None:
    """Raises ``UserError`` for a row that was cut short, and for one that says more than the header has names for."""
    if len(cells) < width:
        raise UserError(f"{where}, line {line}: {len(cells)} columns, the table has {width}: was the line cut?")
    if len(trimmed(cells)) > width:
        raise UserError(
            f"{where}, line {line}: {len(trimmed(cells))} columns, the table has {width}: a stray delimiter?"
        )


def column_named(header: Cells, name: re.Pattern[str], otherwise: int) -> int:
    """The column that ``header`` calls so, such as the frame number behind a spreadsheet's row numbers."""
    return next((position for position, cell in enumerate(header) if name.match(cell)), otherwise)


def au_columns(
    header: Cells, wanted: Iterable[int], name: re.Pattern[str], where: Path | str, *, required: Iterable[int] = ()
) -> dict[int, int]:
    """Columns by AU for those of ``wanted`` that ``header`` names; group 1 of ``name`` is the AU's number.

    Raises ``UserError`` where one of ``required`` has no column, or one of ``wanted`` has two.
    """
    found: dict[int, list[int]] = {}
    for position, cell in enumerate(header):
        if match := name.match(cell):
            found.setdefault(int(match.group(1)), []).append(position)
    missing = [au for au in required if au not in found]
    if missing:
        raise UserError(f"{where}: the first line heads no column for AU {', '.join(map(str, missing))}")
    for au in wanted:
        if len(found.get(au, ())) > 1:
            named = " and ".join(f"'{printable(header[position])}' (column {position + 1})" for position in found[au])
            raise UserError(f"{where}: the first line heads two columns for AU {au}: {named}")
    return {au: found[au][0] for au in wanted if au in found}


def au_codes(
    cells: Cells, columns: Mapping[int, int], width: int, not_coded: Collection[int], where: Path | str, line: int
) -> dict[int, int | None]:
    """The codes of one row: 1 active, 0 not, None not coded (``not_coded``, or nothing in the cell).

    ``width`` is how many columns the table has, so that a row that was cut short, or holds more than that, is an error
    and not a missing or shifted code.
    """
    check_width(cells, width, where, line)
    codes: dict[int, int | None] = {}
    wrong: dict[int, Any] = {}
    for au, column in columns.items():
        cell = cells[column]
        if cell.lower() in NO_VALUE:
            codes[au] = None
            continue
        value = number(cell)
        if value in (0, 1):
            codes[au] = value
        elif value is not None and value in not_coded:
            codes[au] = None
        else:
            wrong[au] = cell[:20] if value is None else value
    if wrong:
        known = ", ".join(map(str, sorted(not_coded)))
        raise UserError(f"{where}, line {line}: AU code {printable(str(wrong))}, expected 0, 1 or {known} (not coded)")
    return codes
