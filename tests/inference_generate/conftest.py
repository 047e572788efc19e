"""One tiny EmoLA with its own expert, pictures of a face, and a question for each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tiny import make_emola, make_faces, make_questions


@dataclass(frozen=True)
class Bench:
    """``model``: a LoRA folder. ``file``: the question file of ``questions``."""

    root: Path
    model: Path
    images: Path
    questions: list[dict[str, Any]]
    file: Path


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    root = tmp_path_factory.mktemp("bench")
    model = make_emola(root / "model")
    names = make_faces(root / "images", 18)
    file = root / "questions.jsonl"
    return Bench(root, model, root / "images", make_questions(file, names), file)
