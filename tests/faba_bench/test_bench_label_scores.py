"""Scores per label: measures against torchmetrics, and what is wrong with scores is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import faba_bench
import jsonschema
import numpy as np
import pytest
from faba_bench.cli import main
from faba_bench.errors import InputProblems
from faba_bench.label_scores import ece

pytest.importorskip("sklearn")
SCHEMA = json.loads((Path(faba_bench.__file__).parent / "result.schema.json").read_text(encoding="utf-8"))
CLASSES = faba_bench.load_protocol("faba").emotion.classes


def emotions(n: int = 120, seed: int = 0) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    generator = np.random.default_rng(seed)
    annotations, answers = [], []
    for i in range(n):
        target = int(generator.integers(len(CLASSES)))
        raw = generator.random(len(CLASSES)) + 0.5 * np.eye(len(CLASSES))[target]
        share = raw / raw.sum()
        annotations.append({"label": CLASSES[target], "gpt4": "A face.", "id": i, "subject": i % 24})
        scores = {name: float(value) for name, value in zip(CLASSES, share, strict=True)}
        answers.append({"question_id": i, "text": CLASSES[int(share.argmax())] + ".", "scores": scores})
    return annotations, answers


def test_measures_equal_torchmetrics() -> None:
    functional = pytest.importorskip("torchmetrics.functional.classification")
    torch = pytest.importorskip("torch")
    annotations, answers = emotions()
    result = faba_bench.score("emotion", "faba", annotations, answers, bootstrap=20)
    jsonschema.validate(result, SCHEMA)
    found = result["label_scores"]
    values = np.array([[answer["scores"][name] for name in CLASSES] for answer in answers], dtype=np.float32)
    truth = np.array([[record["label"] == name for name in CLASSES] for record in annotations])
    for column, name in enumerate(CLASSES):
        guess, right = torch.tensor(values[:, column]), torch.tensor(truth[:, column]).long()
        row = found["per_label"][name]
        assert row["roc_auc"] == pytest.approx(float(functional.binary_auroc(guess, right)), abs=1e-6)
        assert row["pr_auc"] == pytest.approx(float(functional.binary_average_precision(guess, right)), abs=1e-6)
        assert row["brier"] == pytest.approx(float(((guess - right) ** 2).mean()), abs=1e-6)
    assert found["roc_auc"] == pytest.approx(np.mean([row["roc_auc"] for row in found["per_label"].values()]))
    low, high = found["roc_auc_ci"]
    assert low < found["roc_auc"] < high


def test_calibration_error_equals_torchmetrics() -> None:
    classification = pytest.importorskip("torchmetrics.functional.classification")
    torch = pytest.importorskip("torch")
    generator = np.random.default_rng(3)
    values = generator.random(500).astype(np.float32)
    truth = generator.random(500) < values**2
    # torchmetrics takes max(p, 1 - p) for no one here: its binary form bins the score of the positive class.
    theirs = classification.binary_calibration_error(torch.tensor(values), torch.tensor(truth).long(), n_bins=10)
    assert ece(truth, values) == pytest.approx(float(theirs), abs=1e-5)
    weights = generator.integers(0, 4, size=500)
    again = ece(np.repeat(truth, weights), np.repeat(values, weights))
    assert ece(truth, values, weights.astype(float)) == pytest.approx(again, abs=1e-6)


def test_aus_are_named_as_people_name_them_and_unscored_ones_pass() -> None:
    annotations = [{"label": "1, 4" if i % 2 else "12", "gpt4": "x", "id": i} for i in range(10)]
    keys = ("AU1", "au 4", "012", "AU_5")
    answers = [
        {
            "question_id": i,
            "text": "AU1",
            "scores": dict(zip(keys, (0.9 if i % 2 else 0.2, 0.5, 0.1, 0.3), strict=True)),
        }
        for i in range(10)
    ]
    result = faba_bench.score("au", "faba", annotations, answers, bootstrap=0)
    rows = result["label_scores"]["per_label"]
    assert rows["1"]["roc_auc"] == 1.0 and rows["4"]["roc_auc"] == 0.5 and rows["6"]["n"] == 0
    assert result["label_scores"]["roc_auc_ci"] is None


def test_answers_without_scores_have_no_section_and_no_need_of_scikit_learn() -> None:
    annotations, answers = emotions(5)
    bare = [{key: answer[key] for key in ("question_id", "text")} for answer in answers]
    assert faba_bench.score("emotion", "faba", annotations, bare, bootstrap=0)["label_scores"] is None
    assert (
        faba_bench.score("emotion", "faba", annotations, answers, bootstrap=0, label_scores=False)["label_scores"]
        is None
    )


@pytest.mark.parametrize(
    ("scores", "part"),
    [
        ({"Joyless": 0.5}, "which is no label of the protocol"),
        ({"Fear": 1.5}, "must be a number from 0 to 1"),
        ({"Fear": float("nan")}, "must be a number from 0 to 1"),
        ({"Fear": "0.5"}, "must be a number from 0 to 1"),
        ({"Fear": True}, "must be a number from 0 to 1"),
        ({"Fear": 0.5, "fear": 0.4}, "twice"),
        ([0.5], "must be an object"),
    ],
)
def test_wrong_scores_are_named(scores: Any, part: str) -> None:
    with pytest.raises(InputProblems, match=part):
        faba_bench.score(
            "emotion", "faba", [{"label": "Fear", "gpt4": "x"}], [{"question_id": 0, "text": "Fear", "scores": scores}]
        )


def test_what_is_missing_or_does_not_add_up_is_said() -> None:
    annotations, answers = emotions(30)
    del answers[3]["scores"]
    del answers[4]["scores"]["Fear"]
    answers[5]["scores"] = dict.fromkeys(CLASSES, 0.9)
    texts = " ".join(faba_bench.score("emotion", "faba", annotations, answers, bootstrap=0)["warnings"])
    assert "1 of 30 answers have none" in texts
    assert "none for Fear" in texts
    assert "those of 1 answers do not add up to 1" in texts


def test_the_page_and_the_tables_show_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotations, answers = emotions(60)
    (tmp_path / "a.json").write_text(json.dumps(annotations))
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    command = ["score", "--task", "emotion", "--protocol", "faba", "--annotations", str(tmp_path / "a.json")]
    command += ["--answers", str(tmp_path / "b.jsonl"), "--bootstrap", "10", "--report", str(tmp_path / "r.html")]
    assert main([*command, "--plots", str(tmp_path / "plots")]) == 0
    assert "ROC-AUC" in capsys.readouterr().out
    assert "Scores per label" in (tmp_path / "r.html").read_text()
    assert (tmp_path / "plots" / "reliability.svg").is_file()
    assert main([*command, "--no-label-scores"]) == 0
    assert "ROC-AUC" not in capsys.readouterr().out
