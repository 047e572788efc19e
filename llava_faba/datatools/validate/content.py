"""Checks of one record that need no other file: layout, turns, image token, label, answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from llava_faba.datatools import answers
from llava_faba.errors import UserError
from llava_faba.packages import install_command
from llava_faba.records import annotation as records
from llava_faba.records.turns import faults
from llava_faba.records.vocabulary import AU_NAMES, au_protocol

Finding = tuple[str, str]
"""Kind and message."""


@lru_cache(maxsize=2)
def _validator(name: str) -> Any:
    try:
        from jsonschema import Draft202012Validator
    except ImportError as error:
        raise UserError(f"'data validate' needs jsonschema: {install_command('data')}") from error
    schema = json.loads((Path(__file__).parent / f"{name}.schema.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema)


def check_layout(record: Mapping[str, Any]) -> list[Finding]:
    """What the JSON schema of the record's kind says."""
    name = "training" if records.is_training(record) else "evaluation"
    findings = []
    for error in _validator(name).iter_errors(record):
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
        message = error.message if len(error.message) < 160 else error.message[:157] + "..."
        findings.append(("schema", f"{name} record{place}: {message}"))
    return findings


def check_record(
    record: Mapping[str, Any], task: str | None, file_task: str | None, protocol: str | None
) -> list[Finding]:
    """All checks of one record; those behind the layout only where the layout is sound.

    ``task`` is what the caller said, or None: then the record's question decides, then ``file_task``.
    """
    findings = check_layout(record)
    if findings:
        return findings
    if records.is_training(record):
        findings += [("schema" if kind == "layout" else kind, message) for kind, message in faults(record)]
    return [*findings, *check_label(record, task or records.task_of(record, file_task), protocol)]


def check_label(record: Mapping[str, Any], task: str | None, protocol: str | None) -> Iterator[Finding]:
    """Does the label parse, are its AUs known, does the answer agree? Nothing without a label or a task."""
    if task is None or "label" not in record:
        return
    try:
        if task == "emotion":
            yield from _check_emotion(records.parse_emotion_label(record["label"]), records.answer_of(record))
        else:
            yield from _check_aus(records.parse_au_label(record["label"]), records.answer_of(record), protocol)
    except ValueError as error:
        yield "label", str(error)


def _check_emotion(label: str, answer: str) -> Iterator[Finding]:
    read = answers.read_emotion(answer) if answer.strip() else None
    if read is not None and read != label:
        yield "emotion-differs", f"label {label}, the answer reads as {read}"


def _check_aus(label: list[int], answer: str, protocol: str | None) -> Iterator[Finding]:
    strangers = [au for au in label if au not in AU_NAMES]
    if strangers:
        yield "au-number", f"AU {_listing(strangers)} in label '{_listing(label)}'"
    if protocol is not None:
        outside = [au for au in label if au in AU_NAMES and au not in au_protocol(protocol).vocabulary]
        if outside:
            yield "au-protocol", f"AU {_listing(outside)} is not in the vocabulary of '{protocol}'"
    if not answer.strip():
        return
    reading = answers.read_aus(answer, frozenset(label))
    denied = [au for au in label if au in reading.denied]
    if denied:
        yield "contradiction", f"AU {_listing(denied)} is in the label and denied in the answer"
    elif label and reading.says_something and not reading.stated:
        yield "contradiction", f"label '{_listing(label)}', but the answer states no AU"
    unsaid = [au for au in label if au not in reading.stated | reading.denied]
    if unsaid and reading.stated:
        yield "label-unsaid", f"AU {_listing(unsaid)} is in the label, not in the answer"
    beyond = sorted(reading.stated - set(label))
    if beyond:
        yield "unlabelled-au", f"AU {_listing(beyond)} is in the answer, not in the label"


def _listing(aus: list[int]) -> str:
    return ", ".join(map(str, aus))
