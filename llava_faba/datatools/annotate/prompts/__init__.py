"""The prompts that answers are asked for with: one file for each task and version, never changed once
released.

A better prompt is a new version; the version and the hash of its text are kept with every answer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from faba_bench.files.paths import regular_file

from llava_faba.errors import UserError, nearest

_FOLDER = Path(__file__).parent
_LIMIT = 1 << 20  # bytes


@dataclass(frozen=True)
class Prompt:
    """A prompt's name (``au-v1``, or a file's path), its text and the hash of its text."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def prompt_names(task: str) -> list[str]:
    """The versions for a task, oldest first."""
    return sorted((path.stem for path in _FOLDER.glob(f"{task}-v*.txt")), key=lambda name: (len(name), name))


def load_prompt(task: str, name: str | None = None) -> Prompt:
    """A prompt by version, the newest one by default, or from a file of one's own when ``name`` ends in .txt.

    Raises ``UserError`` for an unknown version and an unreadable or empty file.
    """
    known = prompt_names(task)
    name = name or known[-1]
    path = Path(name) if name.endswith(".txt") else _FOLDER / f"{name}.txt"
    if not name.endswith(".txt") and name not in known:
        raise UserError(f"no prompt '{name}' for {task}: known are {', '.join(known)}.{nearest(name, known)}")
    try:
        text = regular_file(path, limit=_LIMIT, error=UserError).read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the prompt {path}: {error}") from error
    if not text:
        raise UserError(f"the prompt {path} is empty")
    return Prompt(name, text)
