"""Evaluation records as questions, and answers as LLaVA writes them.

A question: {"question_id", "image", "text"}, the line of a LLaVA question file. An answer line: {"question_id",
"prompt", "text", "answer_id", "model_id", "metadata"}.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llava_faba.errors import RecordError

# The paper's questions (FABA-Instruct, and what the authors' evaluation asks).
PROMPTS = {
    "au": "What AUs are conveyed by this face?",
    "emotion": "What emotions are conveyed by this face?",
}


def questions_of(records: Sequence[dict[str, Any]], task: str) -> list[dict[str, Any]]:
    """LLaVA question lines of evaluation records; ``question_id`` is the record's id, else its position.

    Raises RecordError for a record without an image and for two records with one id.
    """
    questions, seen = [], set()
    for position, record in enumerate(records):
        question_id = record.get("id", position)
        if not isinstance(record.get("image"), str):
            raise RecordError(f"record {position} (id {question_id}): 'image' is not a path.")
        if str(question_id) in seen:
            raise RecordError(f"record {position}: the id {question_id} is used twice.")
        seen.add(str(question_id))
        questions.append({"question_id": question_id, "image": record["image"], "text": PROMPTS[task]})
    return questions


def read_jsonl(path: Path, *, allow_cut: bool = False) -> list[dict[str, Any]]:
    """The objects of a JSONL file; ``allow_cut`` forgives a last line that a crash cut short.

    Raises RecordError naming file and line.
    """
    values = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if allow_cut and not line.endswith("\n"):
                break
            if not line.strip():
                continue
            try:
                values.append(json.loads(line))
            except ValueError as error:
                raise RecordError(f"{path}, line {number}: not JSON: {error}") from error
    return values
