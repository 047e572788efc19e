"""Answers in YAML, as models write it: nested maps and lists by indentation, scalars only.

Read by hand since no YAML library is required; anything but maps, lists and scalars is left to the other readers.
"""

# ruff: noqa: E501  (patterns read better on one line)
from __future__ import annotations

import re
from typing import Any

from faba_bench.strict.jsonlike import Pairs, read_value
from faba_bench.strict.structure import Labels, Structure

_LINE = re.compile(
    r"(?P<indent> *)(?P<items>(?:- +)*)(?:(?P<key>[\"']?[A-Za-z_][\w .#/()-]{0,60}?[\"']?)\s*:(?: +(?P<value>.*))?|(?P<scalar>.+))\Z"
)
_LONGEST = 400
_DEEPEST = 10


def read_yaml_like(text: str, labels: Labels) -> Structure | None:
    """What a YAML answer says; None for any other text, and for flat "label: value" lists, which need no nesting."""
    if ":" not in text or "\n" not in text:
        return None
    lines = [
        line.rstrip() for line in text.split("\n") if line.strip() and line.strip(" -'") and line.strip() != "yaml"
    ]
    if repeated := _as_list(text):
        return read_yaml_like(repeated, labels)
    if not 2 <= len(lines) <= _LONGEST or not any(line.startswith(" ") for line in lines):
        return None
    if not _NESTED.search(text):
        return None
    rows: list[tuple[int, str | None, str | None]] = []
    for line in lines:
        match = _LINE.match(line)
        if not match or len(line) > 300:
            return None
        column = len(match["indent"])
        for item in re.findall(r"- +", match["items"]):
            rows.append((column, None, None))
            column += len(item)
        rows.append((column, match["key"] or "", match["value"] if match["key"] else match["scalar"]))
    value, end = _block(rows, 0, rows[0][0], 0)
    if end < len(rows) or not isinstance(value, Pairs | list):
        return None
    return read_value(value, labels)


def _as_list(text: str) -> str | None:
    """Records set apart by blank lines ("au: 4", "intensity: 3", blank, "au: 12" ...) as a YAML list; None for others."""
    blocks = [block.split("\n") for block in re.split(r"\n[ \t]*\n", text.strip("\n"))]
    if not 2 <= len(blocks) <= _LONGEST or any(len(block) < 2 or len(block) > 20 for block in blocks):
        return None
    keys = [[match and match["key"] for match in map(_FLAT.match, block)] for block in blocks]
    if not all(all(own) and own[0] == keys[0][0] for own in keys):
        return None
    return "\n".join("- " + "\n  ".join(block) for block in blocks)


_FLAT = re.compile(r"(?P<key>[A-Za-z_][A-Za-z_ ]{0,30}):[ \t]+\S")
_NESTED = re.compile(r"(?m)^ *(?:- +)?[\w \"'.#/()-]{1,60}:[ ]*\n {1,12}(?:- +)?\S|^ *- +\w+ *:.*\n +\w+ *:")


def _block(rows: list[tuple[int, str | None, str | None]], at: int, column: int, depth: int) -> tuple[Any, int]:
    if depth > _DEEPEST:
        return None, at
    if rows[at][1] is None:
        return _list(rows, at, column, depth)
    pairs = Pairs()
    while at < len(rows) and rows[at][0] == column and rows[at][1]:
        _, key, value = rows[at]
        at += 1
        if value:
            pairs.append((str(key).strip("\"' "), _scalar(value)))
        elif at < len(rows) and (rows[at][0] > column or (rows[at][0] == column and rows[at][1] is None)):
            inner, at = _block(rows, at, rows[at][0], depth + 1)
            pairs.append((str(key).strip("\"' "), inner))
        else:
            pairs.append((str(key).strip("\"' "), None))
    if not pairs and at < len(rows) and rows[at][1] == "":
        return _scalar(rows[at][2] or ""), at + 1
    return pairs, at


def _list(rows: list[tuple[int, str | None, str | None]], at: int, column: int, depth: int) -> tuple[Any, int]:
    found: list[Any] = []
    while at + 1 < len(rows) and rows[at][0] == column and rows[at][1] is None:
        inner, behind = _block(rows, at + 1, rows[at + 1][0], depth + 1)
        if behind <= at:
            break
        found.append(inner)
        at = behind
    return found, at


def _scalar(value: str) -> Any:
    bare = re.sub(r"\s+#.*\Z", "", value.strip()).strip().strip("\"'")
    lowered = bare.lower()
    if lowered in ("true", "false"):
        return lowered == "true"
    if lowered in ("null", "~", ""):
        return None
    if bare.startswith("[") and bare.endswith("]"):
        return [_scalar(piece) for piece in bare[1:-1].split(",") if piece.strip()]
    if re.fullmatch(r"-?\d{1,9}(?:\.\d{1,9})?", bare):
        return float(bare) if "." in bare else int(bare)
    return bare
