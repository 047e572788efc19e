"""An answers file that survives kill -9: every answer is appended and synced, and known again by its key.

The key (``keys``) covers all that an answer depends on, so a run never takes over an answer of another model, prompt,
image or setting.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from faba_bench.files.atomic import replacing
from faba_bench.files.jsonfiles import parse_json
from faba_bench.files.oserrors import naming
from faba_bench.files.paths import regular_file

from llava_faba.errors import RecordError, UserError


class AnswerJournal:
    """The answers file of one run, opened for appending and locked against other runs.

    ``keys``: question id (as text) to key, for every question of this run. ``done``: ids that are answered already.
    ``overwrite``: forget what the file holds. Answer lines are LLaVA's; the key is in their ``metadata``.
    Raises UserError when the file holds an answer of another run or another process writes to it (nothing is changed
    then), RecordError for a line that is not JSON.
    """

    def __init__(self, path: Path, keys: dict[str, str], *, overwrite: bool = False) -> None:
        self.path, self._keys = path, keys
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            regular_file(path, error=UserError)
        self._file = path.open("a+b")
        try:
            self._lock()
            if overwrite:
                self._file.truncate(0)
            content, whole = self._content()
            self.done = self._known(content)
            self._file.truncate(whole)  # a line that a crash cut short
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> AnswerJournal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(
        self,
        question: dict[str, Any],
        text: str,
        model_id: str,
        metadata: dict[str, Any],
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Add one answer; it is on disk when this returns. ``more``: further keys of the line."""
        key = self._keys[str(question["question_id"])]
        line = {
            "question_id": question["question_id"],
            "prompt": question["text"],
            "text": text,
            "answer_id": key[:22],
            "model_id": model_id,
            **(more or {}),
            "metadata": {**metadata, "key": key},
        }
        self._file.write(_line(line))
        self._sync()

    def sort(self, order: Sequence[str]) -> list[str]:
        """Put the answers into the order of the questions, atomically. The journal takes no more answers then.

        Returns the questions whose answers were cut off.
        """
        position = {question: index for index, question in enumerate(order)}
        answers, _ = self._content()
        answers.sort(key=lambda answer: position[str(answer["question_id"])])
        with replacing(self.path) as partial, partial.open("wb") as file:
            file.writelines(_line(answer) for answer in answers)
        return [str(one["question_id"]) for one in answers if one["metadata"].get("finish_reason") == "length"]

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(
                f"{self.path}: another process is writing to this file (or its file system knows no locks: {error})."
            ) from error

    def _content(self) -> tuple[list[Any], int]:
        """The whole lines of the file, parsed, and how many bytes they are."""
        self._file.seek(0)
        content = self._file.read()
        whole = content.rfind(b"\n") + 1
        lines = []
        for number, line in enumerate(content[:whole].split(b"\n"), 1):
            if not line.strip():
                continue
            lines.append(parse_json(line, f"{self.path}, line {number}", error=RecordError))
        return lines, whole

    def _known(self, answers: Sequence[Any]) -> set[str]:
        done = set()
        for answer in answers:
            metadata = answer.get("metadata") if isinstance(answer, dict) else None
            key = metadata.get("key") if isinstance(metadata, dict) else None
            question = str(answer.get("question_id")) if isinstance(answer, dict) else "?"
            if key is None or key != self._keys.get(question):
                raise UserError(
                    f"{self.path} holds an answer to question {question} by another model, prompt, setting or image; "
                    "choose another file, or pass --overwrite to start it anew."
                )
            done.add(question)
        return done

    def _sync(self) -> None:
        with naming(self.path):
            self._flush()

    def _flush(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


def _line(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
