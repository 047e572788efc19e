"""Annotation files of training records, and every problem in them at once.

A training record: {"conversations": [{"from": "human" | "gpt", "value"}, ...]} with, optionally, "image" and
"landmark" (paths relative to the image folder), "id" and "source".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faba_bench.files.terminal import printable

from llava_faba.data.priors import PriorSource
from llava_faba.errors import PriorError, RecordError
from llava_faba.images import ImageFolder
from llava_faba.records.turns import faults

_SHOWN = 20


@dataclass(frozen=True)
class Problem:
    """What is wrong with one record."""

    position: int
    record: str
    message: str

    def __str__(self) -> str:
        return f"record {self.position} ({self.record}): {self.message}"


def find_problems(
    records: Sequence[Any], image_folder: Path, priors: PriorSource, *, allow_outside: bool = False
) -> list[Problem]:
    """Everything that would stop training, one entry per faulty record: turns, missing images, broken priors.

    An image is a regular file inside ``image_folder``, after links, unless ``allow_outside``.
    """
    folder = ImageFolder(image_folder, allow_outside=allow_outside)
    problems = []
    for position, record in enumerate(records):
        message = _problem(record, folder, priors)
        if message is not None:
            name = record.get("id", record.get("image", "no id")) if isinstance(record, dict) else "no object"
            problems.append(Problem(position, printable(str(name))[:200], message))
    return problems


def report(path: str | Path, problems: Sequence[Problem]) -> str:
    """The problems as text, the first twenty in full."""
    lines = [f"{path}: {len(problems)} records have problems:"]
    lines += [f"  {problem}" for problem in problems[:_SHOWN]]
    if len(problems) > _SHOWN:
        lines.append(f"  ... and {len(problems) - _SHOWN} more")
    return "\n".join(lines)


def _problem(record: Any, folder: ImageFolder, priors: PriorSource) -> str | None:
    if not isinstance(record, dict):
        return f"not an object but {type(record).__name__}"
    fault = next(faults(record), None)
    if fault is not None:
        return fault.message
    if "image" in record:
        if not isinstance(record["image"], str) or not record["image"]:
            return "'image' is not a path"
        try:
            folder.check(record["image"])
        except RecordError as error:
            return str(error)
    try:
        priors.get(record)
    except PriorError as error:
        return str(error)
    return None
