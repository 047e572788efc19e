"""The model card of a checkpoint: what it says of itself, and results of its own answers only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from faba_bench.cli import main as faba_bench
from tiny import make_emola

from llava_faba.cli.main import main


@pytest.fixture(scope="module")
def measured(bench: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with questions of two pictures, their answers, labels, and the result."""
    folder = tmp_path_factory.mktemp("measured")
    chosen = [{**one, "question_id": number} for number, one in enumerate(bench.questions[:2])]
    (folder / "questions.jsonl").write_text("".join(json.dumps(one) + "\n" for one in chosen))
    records = [
        {"image": one["image"], "label": label, "gpt4": "AU1 is active."}
        for one, label in zip(chosen, ("1, 4", "12"), strict=True)
    ]
    (folder / "labels.json").write_text(json.dumps(records))
    words = ["--question-file", folder / "questions.jsonl", "--image-folder", bench.images, "--max-new-tokens", 8]
    run = ["bench", "generate", "--model-path", bench.model, *words, "--answers-file", folder / "answers.jsonl"]
    assert main([str(word) for word in run]) == 0
    score(folder, folder / "answers.jsonl", folder / "result.json")
    return folder


def score(folder: Path, answers: Path, out: Path) -> dict[str, Any]:
    words = ["--annotations", folder / "labels.json", "--answers", answers, "--bootstrap", 10, "--output", out]
    assert faba_bench([str(word) for word in ["score", "--task", "au", "--protocol", "faba", *words]]) == 0
    return dict(json.loads(out.read_text()))


def card(capsys: Any, model: Path, *words: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main([str(word) for word in ["checkpoint", "card", "--model-path", model, *words]])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_card_says_what_the_checkpoint_is_and_that_nothing_was_measured(bench, capsys):
    code, text, _ = card(capsys, bench.model)
    assert code == 0 and text.startswith("---\nlibrary_name: llava-faba\n")
    assert "136 numbers by the expert `dlib-68`, normalization `none`" in text and "LoRA weights" in text
    assert "## Measured\n\nNothing." in text and str(bench.root) not in text


def test_a_result_of_its_own_answers_stands_in_the_card(bench, measured, tmp_path, capsys):
    result = json.loads((measured / "result.json").read_text())
    assert len(result["answered_by"]) == 1
    code, _, _ = card(capsys, bench.model, "--result", measured / "result.json", "--out", tmp_path / "README.md")
    text = (tmp_path / "README.md").read_text()
    assert code == 0 and f"| strict | {result['modes']['strict']['s_re']:.2f}" in text
    assert "2 samples; 95% intervals resample samples." in text


def test_a_result_of_another_model_is_refused(measured, tmp_path, capsys):
    other = make_emola(tmp_path, seed=1)
    code, _, error = card(capsys, other, "--result", measured / "result.json")
    assert code == 2 and "were given by the model" in error


def test_a_result_that_does_not_name_its_model_is_refused(bench, measured, tmp_path, capsys):
    lines = [json.loads(line) for line in (measured / "answers.jsonl").read_text().splitlines()]
    for line in lines:
        del line["metadata"]["model_sha256"]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert score(measured, tmp_path / "answers.jsonl", tmp_path / "result.json")["answered_by"] == []
    code, _, error = card(capsys, bench.model, "--result", tmp_path / "result.json")
    assert code == 2 and "do not say which model gave them" in error


def test_answers_of_two_models_in_one_file_are_a_warning(measured, tmp_path):
    lines = [json.loads(line) for line in (measured / "answers.jsonl").read_text().splitlines()]
    lines[0]["metadata"]["model_sha256"] = "0" * 64
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = score(measured, tmp_path / "answers.jsonl", tmp_path / "result.json")
    assert any("by 2 different models" in warning for warning in result["warnings"])


def test_a_damaged_result_is_a_sentence(bench, tmp_path, capsys):
    (tmp_path / "result.json").write_text('{"task": "au"')
    code, _, error = card(capsys, bench.model, "--result", tmp_path / "result.json")
    assert code == 2 and "result.json" in error and "Traceback" not in error
