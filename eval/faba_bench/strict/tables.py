"""Answers in tables: Markdown, pipes, HTML, CSV and tabs, upright or lying down."""

from __future__ import annotations

import re
from collections.abc import Sequence

from faba_bench.strict.pairs import line_pairs
from faba_bench.strict.structure import Labels, Structure
from faba_bench.strict.values import Value, cell_value

_HTML = re.compile(r"<\s*(?:table|tr)\b.*?(?:<\s*/\s*table\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_ROW = re.compile(r"<\s*tr\b[^<>]*>(.*?)(?=<\s*tr\b|<\s*/\s*tr\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_CELL = re.compile(r"<\s*t[dh]\b[^<>]*>(.*?)(?=<\s*/?\s*t[dh]\b|<\s*/?\s*tr\b|\Z)", re.IGNORECASE | re.DOTALL)
_TAGS = re.compile(r"<[^<>]*>")
_RULE = re.compile(r"\s*:?-{2,}:?\s*|\s*:-+:?\s*|\s*=+\s*|\s*-+\s*\Z")
_BORDER = re.compile(r"^[\s+|=:─━┌┬┐├┼┤└┴┘-]*$")
_STATE_HEAD = re.compile(
    r"(?i)\b(?:present|presence|active|activated|activation|status|state|detected|visible|observed|occurrence|shown|yes/no|"
    r"exists?|found|decision|verdict|coded|result|value|prediction|answer|on/off)\b|^\?$|存在|状态|是否|présent|vorhanden|presente"
)
_ABSENT_HEAD = re.compile(
    r"(?i)\b(?:absent|inactive|not\s+(?:present|active|visible|detected|observed|shown)|missing|undetected|no)\b|不存在"
)
_PRESENT_HEAD = re.compile(r"(?i)^\W*(?:present|active|visible|detected|observed|activated|shown|yes)\b")
_INTENSITY_HEAD = re.compile(
    r"(?i)\b(?:intensity|level|score|strength|probability|prob|likelihood|percent(?:age)?|%)\b|%|分数|强度|score"
)
_CONFIDENCE_HEAD = re.compile(r"(?i)\b(?:confidence|certainty|conf)\b")
_NUMERIC = re.compile(r"-?\d*\.?\d+%?")
_RANK_HEAD = re.compile(r"(?i)^\W*(?:rank(?:ing)?|place|position|order|#)\W*$")
_SIDE_HEAD = re.compile(r"(?i)^\W*(?:left|right|l|r)(?:\s+(?:side|half|face))?\W*$")
_UNIT_HEAD = re.compile(
    r"(?i)^\W*(?:aus?|action\s*units?|units?|code|number|no\.?|#|facs(?:\s*code)?|au\s*(?:number|code|no\.?|#|id))\W*$"
)


def find_rows(text: str) -> tuple[list[list[str]], str] | None:
    """The rows of the table in a text and what kind it is, None when there is none."""
    if "<" in text:
        match = _HTML.search(text)
        if match:
            rows = [[_TAGS.sub("", cell).strip() for cell in _CELL.findall(row)] for row in _ROW.findall(match.group())]
            return [row for row in rows if row], "html"
    if "\n" not in text.strip() and text.count(";") >= 1 and "," in text and "|" not in text and "\t" not in text:
        text = text.replace(";", "\n")  # "happiness,0.9;sadness,0.1"
    lines = text.split("\n")
    piped = [line for line in lines if line.count("|") >= 1 or "│" in line]
    if piped and sum(line.count("|") + line.count("│") for line in piped) >= 1:
        rows = [_pipe_cells(line) for line in piped if not _BORDER.match(line)]
        if rows and (len(rows) > 1 or len(rows[0]) >= 2):
            return rows, "pipe"
    tabbed = [line for line in lines if "\t" in line.strip()]
    if tabbed and len(tabbed) * 2 >= sum(bool(line.strip()) for line in lines):
        return [[cell.strip() for cell in line.strip().split("\t")] for line in tabbed], "tab"
    spaced = [line.split() for line in lines if line.strip()]
    if 2 <= len(spaced) <= 4 and len(spaced[0]) >= 3:
        head, body = spaced[0], spaced[1:]
        if not any(_NUMERIC.fullmatch(cell) for cell in head) and all(
            len(row) - len(head) in (0, 1) and all(_NUMERIC.fullmatch(cell) for cell in row) for row in body
        ):
            return [head, *(row[len(row) - len(head) :] for row in body)], "tab"
    filled = [line.strip() for line in lines if line.strip() and not line.strip().startswith("'''")]
    for separator in (",", ";"):
        widths = {line.count(separator) for line in filled}
        if len(filled) >= 2 and len(widths) == 1 and widths != {0}:
            return [[cell.strip().strip('"') for cell in line.split(separator)] for line in filled], "csv"
    return None


def _pipe_cells(line: str) -> list[str]:
    bare = line.replace("│", "|").strip()
    cells = [cell.strip() for cell in bare.split("|")]
    if bare.startswith("|"):
        cells = cells[1:]
    if bare.endswith("|"):
        cells = cells[:-1]
    return cells


def read_table(text: str, labels: Labels) -> Structure | None:
    """What the table in a text says, None when it has none or the table names no label."""
    found = find_rows(text)
    if found is None:
        return None
    rows, kind = found
    rows = [row for row in rows if any(cell for cell in row) and not all(_RULE.fullmatch(cell or "-") for cell in row)]
    if not rows:
        return None
    if kind == "csv" and any(":" in cell and labels.spans(cell) for row in rows for cell in row):
        return None  # "present: AU20, AU25"
    structure = Structure()
    if kind == "pipe" and len(rows) == 1:
        cells = [cell for cell in rows[0] if cell]
        named = [labels.cell(cell) for cell in cells]
        valued = [any(line_pairs(cell, labels.spans(cell))) for cell in cells]
        if all(found or value for found, value in zip(named, valued, strict=True)) and any(valued):
            return None  # "AU4: absent | AU12: present" is a list of pairs
        if not any(valued) and all(named) and len(cells) > 1:
            for found_ in named:
                structure.list(found_ or ())
            return structure
    for read in (_lying, _one_line, _by_heading, _upright):
        if read(rows, labels, structure, kind):
            structure.found = True
            return structure
    return None


def _one_line(rows: Sequence[Sequence[str]], labels: Labels, into: Structure, kind: str) -> bool:
    """``AU4 | No | AU12 | Yes``: labels and values take turns."""
    if kind == "csv":
        return False
    cells = [cell for row in rows for cell in row if cell]
    if len(cells) < 2 or len(cells) % 2 or len(rows) > 1:
        return False
    pairs = [(labels.cell(cells[i]), cell_value(cells[i + 1])) for i in range(0, len(cells), 2)]
    if not all(named and value for named, value in pairs):
        return False
    for named, value in pairs:
        if named and value:
            into.add(named, value)
    return True


def _lying(rows: Sequence[Sequence[str]], labels: Labels, into: Structure, kind: str) -> bool:
    """Labels in the first row, values below."""
    if len(rows) < 2:
        return False
    head = [labels.cell(cell) for cell in rows[0]]
    if sum(item is not None for item in head) < 2:
        return False
    below = [row for row in rows[1:] if len(row) == len(head) or len(row) >= len(rows[0]) - 1]
    filled = [
        [cell_value(row[column]) if column < len(row) else None for column in range(len(head))]
        for row in below
        if not any(labels.cell(cell) for cell in row)
    ]
    columns = [column for column, item in enumerate(head) if item]
    filled = [row for row in filled if sum(row[column] is not None for column in columns) * 2 > len(columns)]
    if not filled:
        return False
    for column in columns:
        named = head[column]
        values = [row[column] for row in filled]
        if named is None:
            continue
        first = next((value for value in values if value is not None), None)
        if first is None:
            continue
        if any(value is not None and value.state != first.state for value in values):
            into.ambiguous = "a table with several rows of values that differ"
        into.add(named, first, _source(rows[0][column]))
    into.intensities = any(_INTENSITY_HEAD.search(cell) for row in rows for cell in row[:1])
    return True


def _by_heading(rows: Sequence[Sequence[str]], labels: Labels, into: Structure, kind: str) -> bool:
    """Lists of labels under "Present" and "Absent"; or a row for each: "Present | AU6, AU12"."""
    if kind == "csv" and any(":" in cell for row in rows for cell in row):
        return False
    if len(rows) >= 2:
        signs = [_heading_sign(cell) if not labels.spans(cell) else None for cell in rows[0]]
        if any(sign is not None for sign in signs) and not any(labels.cell(cell) for cell in rows[0]):
            hits = 0
            cells: list[tuple[Sequence[object], bool]] = []
            for row in rows[1:]:
                for column, cell in enumerate(row):
                    sign = signs[column] if column < len(signs) else None
                    if sign is None:
                        if labels.spans(cell):
                            return False  # the label has a column of its own
                        continue
                    for _, _, named in labels.spans(cell):
                        cells.append((named, sign))
                        hits += 1
            if hits:
                for named_, sign_ in cells:
                    into.list(named_, sign_)
                return True
    signs = [_heading_sign(row[0]) if row else None for row in rows]
    body = [(sign, row) for sign, row in zip(signs, rows, strict=True) if sign is not None and not labels.spans(row[0])]
    listed = [(sign, labels.spans(" , ".join(row[1:]))) for sign, row in body]
    if any(found for _, found in listed):
        for sign, spans in listed:
            for _, _, named in spans:
                into.list(named, bool(sign))
        return True
    return False


def _heading_sign(cell: str) -> bool | None:
    if _ABSENT_HEAD.search(cell) and not re.search(r"(?i)yes\s*/\s*no|present\s*/\s*absent", cell) and len(cell) < 40:
        return False
    return True if _PRESENT_HEAD.search(cell) and len(cell) < 40 and "?" not in cell else None


def _upright(rows: Sequence[Sequence[str]], labels: Labels, into: Structure, kind: str) -> bool:
    """One label a row, with its state in another column."""
    width = max(len(row) for row in rows)
    head = list(rows[0])
    heads_units = [bool(_UNIT_HEAD.match(cell)) for cell in head]
    column, hits = -1, 0
    for bare in (False, True):  # "#" may head a column of counters beside that of the units
        for number in range(width):
            if bare and not (number < len(heads_units) and heads_units[number]):
                continue
            count = sum(
                1 for row in rows if number < len(row) and labels.cell(row[number], bare=bare and row is not rows[0])
            )
            if count > hits:
                column, hits = number, count
        if hits * 2 > len(rows) - 1:
            break
    if column < 0 or (kind == "csv" and hits < 2 and hits < len(rows) - 1):
        return False
    headed = labels.cell(head[column]) is None if column < len(head) else True
    bare = headed and column < len(heads_units) and heads_units[column]
    body = rows[1:] if headed else rows
    if not body or not any(len(row) > 1 for row in body):
        return False
    order = _state_columns(head if headed else [], column, width, body)
    into.intensities = headed and any("intensity" in cell.lower() for cell in head)
    good = 0
    sides = [number for number, cell in enumerate(head) if headed and number != column and _SIDE_HEAD.match(cell)]
    for row in body:
        named = labels.cell(row[column], bare=bare) if column < len(row) else None
        if not named:
            continue
        value = _either_side(row, sides) or _row_value(row, order, head if headed else [])
        if value is None and kind == "csv" and len(row) > 1:
            return False
        good += 1
        source = _source(row[column])
        into.add(named, value if value is not None else _described(row, column), source)
    return good > 0


def _described(row: Sequence[str], column: int) -> Value:
    from faba_bench.strict.explain import explained

    rest = [cell for number, cell in enumerate(row) if number != column and len(cell.split()) > 2]
    return Value(not any(explained(cell) < 0 for cell in rest))


def _state_columns(
    head: Sequence[str], column: int, width: int, body: Sequence[Sequence[str]]
) -> list[tuple[int, bool]]:
    """Columns in the order in which they decide, each with whether it says what is present or what is absent."""
    ranked: list[tuple[int, int, bool]] = []
    for number in range(width):
        if number == column:
            continue
        name = head[number] if number < len(head) else ""
        if _CONFIDENCE_HEAD.search(name):
            rank = 8
        elif _ABSENT_HEAD.search(name) and not re.search(r"(?i)/", name):
            rank = 1
        elif _STATE_HEAD.search(name):
            rank = 0
        elif _INTENSITY_HEAD.search(name):
            rank = 3
        else:
            rank = 5
        ranked.append((rank, number, rank != 1))
    return [(number, positive) for _, number, positive in sorted(ranked)]


def _row_value(row: Sequence[str], order: Sequence[tuple[int, bool]], head: Sequence[str]) -> Value | None:
    for number, positive in order:
        value = cell_value(row[number]) if number < len(row) else None
        if value is not None and value.number and number < len(head) and _RANK_HEAD.match(head[number]):
            value = Value(True, 1.0 / value.number)  # the first is the strongest
        if value is None and number < len(row) and row[number].strip().lower() in ("x", "•", "*"):
            value = Value(True)
        if value is None:
            continue
        if not positive:
            if value.state:
                return Value(False, strength=0.0)
            continue
        confidence = number < len(head) and _CONFIDENCE_HEAD.search(head[number])
        if confidence and any("emotion" not in cell.lower() for cell in head[:1]) and value.state:
            return Value(True, value.number, value.percent)
        return value
    if any(not positive for _, positive in order) and any(positive for _, positive in order):
        return None
    return None


def _either_side(row: Sequence[str], sides: Sequence[int]) -> Value | None:
    """The value of the stronger side of the face; None without a column and a value for each of the two."""
    values = [cell_value(row[number]) for number in sides if number < len(row)]
    if len(sides) != 2 or len(values) != 2 or None in values:
        return None
    return max(
        (value for value in values if value is not None), key=lambda value: (bool(value.state), value.number or 0)
    )


def _source(cell: str) -> str:
    match = re.search(r"_([cr])\b\s*$", cell.strip(), re.IGNORECASE)
    return match.group(1).lower() if match else ""
