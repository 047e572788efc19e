"""Annotation files: lists of training records or of evaluation records, as FABA-Instruct has them.

Training record: ``source``, ``image``, ``id``, ``conversations``, optionally ``landmark``. Evaluation
record: ``image``, ``label``, ``gpt4``, optionally ``id`` and ``landmark``. What this package writes carries
two more keys in both kinds, which trainers ignore: ``label`` (so that answers can be checked against it)
and ``subject`` (so that splits can keep people apart).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from faba_bench.files.atomic import write_json
from faba_bench.files.digests import sha256_file

from llava_faba.records.reading import read_objects
from llava_faba.records.vocabulary import CONTEMPT, EMOTIONS, IMAGE_TOKEN

Record = dict[str, Any]

_ASKS_AUS = re.compile(r"\bAUs?\b|action units?\b|facial action coding", re.IGNORECASE)
_ASKS_EMOTION = re.compile(r"\bemotions?\b", re.IGNORECASE)
_AU_LABEL = re.compile(r"\s*(\d+(\s*,\s*\d+)*)?\s*\Z")


def load_records(path: Path | str) -> list[Record]:
    """The objects of an annotation file, see ``llava_faba.records.reading``. Raises ``RecordError``."""
    return read_objects(path)


def save_json(path: Path, value: Any) -> None:
    """Write JSON so that equal content gives equal bytes, whole or not at all."""
    write_json(path, value)


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    return sha256_file(path)


def training_record(
    *,
    source: str,
    image: str,
    record_id: str,
    question: str,
    answer: str,
    label: str,
    subject: str | None = None,
) -> Record:
    """One question and answer about one image; the image token stands behind the question."""
    record: Record = {
        "source": source,
        "image": image,
        "id": record_id,
        "conversations": [
            {"from": "human", "value": f"{question}\n{IMAGE_TOKEN}"},
            {"from": "gpt", "value": answer},
        ],
        "label": label,
    }
    if subject is not None:
        record["subject"] = subject
    return record


def evaluation_record(
    *, source: str, image: str, record_id: str, answer: str, label: str, subject: str | None = None
) -> Record:
    """One image with its label and reference text."""
    record: Record = {"source": source, "image": image, "id": record_id, "label": label, "gpt4": answer}
    if subject is not None:
        record["subject"] = subject
    return record


def is_training(record: Mapping[str, Any]) -> bool:
    return "conversations" in record


def question_of(record: Mapping[str, Any]) -> str:
    """The first question without image token and surrounding space; empty for evaluation records."""
    for turn in _turns(record):
        if turn.get("from") == "human":
            return str(turn.get("value", "")).replace(IMAGE_TOKEN, "").strip()
    return ""


def answer_of(record: Mapping[str, Any]) -> str:
    """The answers of a training record, line by line, or an evaluation record's reference text."""
    if is_training(record):
        return "\n".join(str(turn.get("value", "")) for turn in _turns(record) if turn.get("from") == "gpt")
    return str(record.get("gpt4", ""))


def _turns(record: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    turns = record.get("conversations")
    return [turn for turn in turns if isinstance(turn, dict)] if isinstance(turns, list) else []


def au_label(aus: Iterable[int]) -> str:
    """``"1, 4, 25"``, the form that the benchmark splits."""
    return ", ".join(str(au) for au in sorted(aus))


def parse_au_label(label: object) -> list[int]:
    """AU numbers of a label such as ``"1, 4, 25"``; an empty label names none. Raises ``ValueError``
    otherwise.
    """
    if isinstance(label, bool) or not isinstance(label, str) or not _AU_LABEL.match(label):
        raise ValueError(f"AU label {label!r} is not a comma-separated list of numbers such as '1, 4, 25'")
    return [int(part) for part in label.split(",") if part.strip()]


def parse_emotion_label(label: object) -> str:
    """The class name of a name or an index into ``EMOTIONS``. Raises ``ValueError`` otherwise."""
    known = {name.lower(): name for name in (*EMOTIONS, CONTEMPT)}
    text = str(label).strip()
    if not isinstance(label, bool) and isinstance(label, (int, str)):
        if text.lower() in known:
            return known[text.lower()]
        if text.isdecimal() and int(text) < len(EMOTIONS):
            return EMOTIONS[int(text)]
    raise ValueError(
        f"emotion label {label!r} is neither one of {', '.join(EMOTIONS)} nor an index from 0 to {len(EMOTIONS) - 1}"
    )


def task_of(record: Mapping[str, Any], otherwise: str | None) -> str | None:
    """The task that a training record's question is about, so that a mixture may hold both; else ``otherwise``."""
    question = question_of(record)
    about_aus, about_emotion = _ASKS_AUS.search(question), _ASKS_EMOTION.search(question)
    if bool(about_aus) == bool(about_emotion):
        return otherwise
    return "au" if about_aus else "emotion"


def guess_task(records: Sequence[Mapping[str, Any]], name: str = "") -> str | None:
    """``"au"``, ``"emotion"`` or None, from the labels, then the questions and answers, then the file's name.

    A lone number is an AU as well as a class index, so the whole file decides: one class name makes it
    emotion, one list or one number above the class indices makes it AUs.
    """
    labels = [record["label"] for record in records if "label" in record]
    known = {emotion.lower() for emotion in (*EMOTIONS, CONTEMPT)}
    for label in labels:
        if isinstance(label, str) and label.strip().lower() in known:
            return "emotion"
        if isinstance(label, str) and ("," in label or (label.strip().isdecimal() and int(label) >= len(EMOTIONS))):
            return "au"
    if any(isinstance(label, int) for label in labels):
        return "emotion"
    sample = records[:50]
    texts = " ".join(question_of(record) + " " + answer_of(record) for record in sample)
    if re.search(r"\bAUs?\s*\d|\bAUs\b|action unit", texts, re.IGNORECASE):
        return "au"
    if re.search(r"\bemotions?\b", texts, re.IGNORECASE):
        return "emotion"
    lowered = name.lower()
    if "emotion" in lowered:
        return "emotion"
    return "au" if re.search(r"(^|[_\W])aus?([_\W]|$)", lowered) else None
