"""Lists whose items have their value on a line of its own below: "- AU25", then "  - status: not visible"."""

from __future__ import annotations

import re

from faba_bench.strict.structure import Labels
from faba_bench.strict.values import cell_value

_ITEM = re.compile(r"(?P<indent>[ \t]*)(?P<bullet>(?:[-*•#+]+|\(?\d{1,3}[.)])[ \t]+)?(?P<body>.*?)[ \t]*:?[ \t]*\Z")
_FIELD = re.compile(
    r"(?i)(?:(?P<key>status|state|present|presence|active|activation|visible|detected|observed|value|score|intensity|level|probability)\s*[:=]\s*)?"
    r"(?P<value>[^:=]{1,40})\Z"
)
_LONGEST = 400


def joined(text: str, labels: Labels) -> str:
    """The text with such a value behind its label; other lines stay as they are."""
    lines = text.split("\n")
    if 4 <= len(lines) <= _LONGEST and (taken := _in_turn(lines, labels)):
        return taken
    if not 2 <= len(lines) <= _LONGEST or not any(line[:1] in (" ", "\t") for line in lines[1:]):
        return text
    found: list[str] = []
    label: tuple[int, int] | None = None  # its place in `found` and how far it is indented
    for line in lines:
        item = _ITEM.fullmatch(line)
        if item is None or not item["body"]:
            found.append(line)
            continue
        indent = len(item["indent"].expandtabs(4))
        if len(item["body"]) <= 60 and labels.cell(item["body"]):
            label = len(found), indent
        elif label and indent > label[1] and not labels.spans(line):
            field = _FIELD.fullmatch(item["body"])
            if field and cell_value(field["value"]) is not None:
                found[label[0]] = f"{found[label[0]].rstrip(' :')}: {field['value']}"
                label = None
                continue
        else:
            label = None
        found.append(line)
    return "\n".join(found)


def _in_turn(lines: list[str], labels: Labels) -> str:
    """Labels and values that take turns, a line each, as "label: value" lines; "" for anything else."""
    filled = [line.strip() for line in lines if line.strip()]
    if len(filled) < 4 or len(filled) % 2 or any(line.startswith(("- ", "* ", "• ")) for line in filled):
        return ""
    pairs = list(zip(filled[::2], filled[1::2], strict=True))
    if not all(
        len(name) <= 60 and labels.cell(name) and not labels.cell(value) and cell_value(value) is not None
        for name, value in pairs
    ):
        return ""
    return "\n".join(f"{name.rstrip(' :')}: {value}" for name, value in pairs)
