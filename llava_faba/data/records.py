"""Annotation files of training records, and every problem in them at once.

A training record: {"conversations": [{"from": "human" | "gpt", "value"}, ...]} with, optionally, "image" and
"landmark" (paths relative to the image folder), "id" and "source".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_faba.data.priors import PriorSource
from llava_faba.errors import PriorError
from llava_faba.records.vocabulary import IMAGE_TOKEN

_SHOWN = 20


@dataclass(frozen=True)
class Problem:
    """What is wrong with one record."""

    position: int
    record: str
    message: str

    def __str__(self) -> str:
        return f"record {self.position} ({self.record}): {self.message}"


def find_problems(records: Sequence[Any], image_folder: Path, priors: PriorSource) -> list[Problem]:
    """Everything that would stop training, one entry per faulty record: layout, missing images, broken priors."""
    problems = []
    for position, record in enumerate(records):
        message = _problem(record, image_folder, priors)
        if message is not None:
            name = record.get("id", record.get("image", "no id")) if isinstance(record, dict) else "no object"
            problems.append(Problem(position, str(name), message))
    return problems


def report(path: str | Path, problems: Sequence[Problem]) -> str:
    """The problems as text, the first twenty in full."""
    lines = [f"{path}: {len(problems)} records have problems:"]
    lines += [f"  {problem}" for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"  ... and {len(problems) - _SHOWN} more")
    return "\n".join(lines)


def _problem(record: Any, image_folder: Path, priors: PriorSource) -> str | None:
    if not isinstance(record, dict):
        return f"not an object but {type(record).__name__}"
    layout = _layout_problem(record.get("conversations"), "image" in record)
    if layout is not None:
        return layout
    if "image" in record:
        if not isinstance(record["image"], str) or not record["image"]:
            return "'image' is not a path"
        image = image_folder / record["image"]
        if not image.is_file():
            return f"image not found: {image}"
    try:
        priors.get(record)
    except PriorError as error:
        return str(error)
    return None


def _layout_problem(conversations: Any, has_image: bool) -> str | None:
    if not isinstance(conversations, list) or len(conversations) < 2:
        return "'conversations' is not a list of at least two turns"
    for turn in conversations:
        if not isinstance(turn, dict) or not isinstance(turn.get("value"), str):
            return "a turn has no text under 'value'"
        if turn.get("from") not in ("human", "gpt"):
            return f"a turn is from {turn.get('from')!r}, not 'human' or 'gpt'"
    tokens = sum(turn["value"].count(IMAGE_TOKEN) for turn in conversations)
    if has_image and tokens != 1:
        return f"has an image and {tokens} times '{IMAGE_TOKEN}' in its text, not once"
    if not has_image and tokens:
        return f"has no image but '{IMAGE_TOKEN}' in its text"
    return None
