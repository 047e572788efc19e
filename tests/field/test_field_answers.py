"""Field cases about answers (docs/field-cases.md): what people's models write, and what strict mode must read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faba_bench

FIELD = Path(__file__).resolve().parents[1] / "data" / "field"


def scored(task: str, folder: str, answers: str = "answers.jsonl") -> dict[str, Any]:
    return faba_bench.score(task, "faba", FIELD / folder / "eval.json", FIELD / folder / answers, bootstrap=0)


def test_thoughts_are_no_part_of_a_strict_answer_and_are_counted() -> None:
    result = scored("au", "score-think")
    clean = scored("au", "score-think", "clean.jsonl")
    assert result["modes"]["strict"] == clean["modes"]["strict"]
    assert result["modes"]["strict"]["s_re"] == 100
    assert (result["n_with_thoughts"], clean["n_with_thoughts"]) == (2, 0)
    assert any("2 of 3 answers held a model's thoughts" in text for text in result["warnings"])
