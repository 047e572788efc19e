"""Evaluation records as questions, and answers as LLaVA writes them.

A question: {"question_id", "image", "text"}, the line of a LLaVA question file. An answer line: {"question_id",
"prompt", "text", "answer_id", "model_id", "metadata"}.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faba_bench.files.jsonfiles import iter_json_lines
from faba_bench.questions import QUESTIONS

from llava_faba.errors import RecordError, UserError
from llava_faba.records.vocabulary import IMAGE_TOKEN


def questions_of(records: Sequence[dict[str, Any]], task: str) -> list[dict[str, Any]]:
    """LLaVA question lines of evaluation records; ``question_id`` is the record's id, else its position.

    Raises RecordError for a record without an image and for two records with one id.
    """
    questions: list[dict[str, Any]] = []
    seen: set[str] = set()
    for position, record in enumerate(records):
        if not isinstance(record, dict):
            raise RecordError(f"record {position} is not an object but {type(record).__name__}.")
        question_id = position if record.get("id") is None else record["id"]
        if not isinstance(record.get("image"), str):
            raise RecordError(f"record {position} (id {question_id}): 'image' is not a path.")
        if str(question_id) in seen:
            raise RecordError(f"record {position}: the id {question_id} is used twice.")
        seen.add(str(question_id))
        questions.append({"question_id": question_id, "image": record["image"], "text": QUESTIONS[task]})
    return questions


def task_of(records: Sequence[Any]) -> str:
    """ "au" or "emotion", whichever the records' labels are of: "1, 4, 25" and "" are AUs, names and numbers emotions.

    Raises UserError when they leave it open (single numbers as text may be either) or are of both kinds.
    """
    labels = [record.get("label") for record in records if isinstance(record, dict)]
    texts = [label for label in labels if isinstance(label, str)]
    aus = [label for label in texts if not label.strip() or "," in label]
    emotions = [label for label in labels if isinstance(label, int) or (isinstance(label, str) and label.isalpha())]
    if bool(aus) == bool(emotions):
        what = "are of both tasks" if aus else "do not tell the task"
        raise UserError(f"the labels of these records {what}; pass --task au or --task emotion.")
    return "au" if aus else "emotion"


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file. Raises RecordError naming file and line, UserError when it cannot be read."""
    if not path.exists():
        raise UserError(f"{path}: cannot be read: No such file or directory")
    return [value for _, value in iter_json_lines(path, error=RecordError)]


def check_questions(questions: Sequence[Any]) -> None:
    """Raise RecordError when a question lacks its id, image or text, or two have the same id."""
    seen = set()
    for number, question in enumerate(questions, 1):
        if not isinstance(question, dict) or "question_id" not in question:
            raise RecordError(f"question {number} is not an object with a 'question_id'.")
        name = str(question["question_id"])
        for key in ("image", "text"):
            if not isinstance(question.get(key), str) or not question[key]:
                raise RecordError(f"question {number} (id {name}): '{key}' is missing or not text.")
        if IMAGE_TOKEN in question["text"]:
            raise RecordError(
                f"question {number} (id {name}): '{IMAGE_TOKEN}' in its text: the picture is put before every "
                "question, so leave it out."
            )
        if name in seen:
            raise RecordError(f"question {number}: the id {name} is used twice.")
        seen.add(name)
