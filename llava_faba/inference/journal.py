"""An answers file that survives kill -9: every answer is appended and synced, and known again by its key.

The key covers all that an answer depends on (image content, prompt, generation settings, model), so a run never takes
over an answer of another model or setting.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from llava_faba.errors import UserError
from llava_faba.inference.questions import read_jsonl

_LARGE = 64 * 2**20
_SAMPLE = 2**20


class AnswerJournal:
    """The answers file of one run, opened for appending.

    ``keys``: question id (as text) to key, for every question of this run. ``done``: ids that are answered already.
    Raises UserError when the file holds an answer of another run.
    """

    def __init__(self, path: Path, keys: dict[str, str]) -> None:
        self.path, self._keys = path, keys
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = read_jsonl(path, allow_cut=True) if path.exists() else []
        for answer in kept:
            question = str(answer.get("question_id"))
            if answer.get("metadata", {}).get("key") != keys.get(question, ""):
                raise UserError(
                    f"{path} holds an answer to question {question} by another model, prompt, setting or image; choose "
                    "another file, or pass --overwrite to start it anew."
                )
        if path.exists():
            _cut_last_line(path)
        self.done = {str(answer["question_id"]) for answer in kept}
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> AnswerJournal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, question: dict[str, Any], text: str, model_id: str, metadata: dict[str, Any]) -> None:
        """Add one answer; it is on disk when this returns."""
        key = self._keys[str(question["question_id"])]
        line = {
            "question_id": question["question_id"],
            "prompt": question["text"],
            "text": text,
            "answer_id": key[:22],
            "model_id": model_id,
            "metadata": {**metadata, "key": key},
        }
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def sort(self, order: Sequence[str]) -> None:
        """Put the answers into the order of the questions, atomically, once all are there."""
        position = {question: index for index, question in enumerate(order)}
        answers = sorted(read_jsonl(self.path), key=lambda answer: position[str(answer["question_id"])])
        temporary = self.path.with_name(self.path.name + ".tmp")
        temporary.write_text(
            "".join(json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers), encoding="utf-8"
        )
        temporary.replace(self.path)


def fingerprint(folders: Iterable[Path]) -> str:
    """A hash of model folders: configs and weights, of files over 64 MiB their size, first and last MiB."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.iterdir()):
            if path.suffix in (".json", ".bin", ".safetensors", ".model") and path.is_file():
                if path.name in ("trainer_state.json", "training_args.bin"):
                    continue
                digest.update(path.name.encode())
                digest.update(_content(path))
    return digest.hexdigest()


def answer_key(image: Path, parts: Sequence[Any]) -> str:
    """The key of one answer: the image's content and everything else that it depends on."""
    digest = hashlib.sha256(image.read_bytes() if image.is_file() else b"")
    digest.update(json.dumps(parts, sort_keys=True).encode())
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    size = path.stat().st_size
    if size <= _LARGE:
        return path.read_bytes()
    with path.open("rb") as file:
        head = file.read(_SAMPLE)
        file.seek(-_SAMPLE, os.SEEK_END)
        return str(size).encode() + head + file.read()


def _cut_last_line(path: Path) -> None:
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        os.truncate(path, whole)
