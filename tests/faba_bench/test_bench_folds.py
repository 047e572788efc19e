"""Folds are scored apart and averaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import faba_bench
import jsonschema
import pytest
from faba_bench.cli import main
from faba_bench.compare import compare
from faba_bench.errors import BenchError, InputProblems, ResultError
from faba_bench.folds import score_folds
from faba_bench.tables import summary

SCHEMA = json.loads((Path(faba_bench.__file__).parent / "result.schema.json").read_text(encoding="utf-8"))


def write_fold(folder: Path, rows: list[tuple[str, str]], subject: str | None = None) -> Path:
    folder.mkdir()
    records = [{"label": label, "image": f"{folder.name}/{i}.png"} for i, (label, _) in enumerate(rows)]
    if subject:
        records = [{**record, "subject": subject} for record in records]
    (folder / "annotations.json").write_text(json.dumps(records))
    answers = [{"question_id": i, "text": text} for i, (_, text) in enumerate(rows)]
    (folder / "answers.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    return folder


def three(tmp_path: Path) -> list[Path]:
    return [
        write_fold(tmp_path / "f1", [("1", "AU1"), ("1", "AU1"), ("", "none")]),
        write_fold(tmp_path / "f2", [("1", "AU1"), ("1", "AU2"), ("", "none")]),
        write_fold(tmp_path / "f3", [("1", "AU2"), ("", "none")]),
    ]


def test_scores_are_means_of_folds_not_of_the_pool(tmp_path: Path) -> None:
    folders = three(tmp_path)
    result = score_folds("au", "disfa", folders, bootstrap=50)
    jsonschema.validate(result, SCHEMA)
    # AU1 is the only AU with positives: F1 1, 2/3, 0.
    assert result["modes"]["strict"]["s_re"] == pytest.approx(100 * (1 + 2 / 3 + 0) / 3)
    assert result["modes"]["strict"]["per_label"]["1"]["f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert result["modes"]["strict"]["per_label"]["1"]["support"] == 5
    assert [fold["n"] for fold in result["folds"]] == [3, 3, 2]
    assert result["n"] == 8
    assert result["modes"]["strict"]["samples"][3]["question_id"] == "f2/0"
    low, high = result["modes"]["strict"]["s_re_ci"]
    assert low <= result["modes"]["strict"]["s_re"] <= high
    assert "mean of the folds" in summary(result)


def test_another_number_of_folds_is_a_warning(tmp_path: Path) -> None:
    result = score_folds("au", "disfa", three(tmp_path)[:2], bootstrap=0)
    assert "averages 3 folds of DISFA, these are 2" in result["warnings"][0]


def test_folds_that_share_a_subject_or_an_image_are_an_error(tmp_path: Path) -> None:
    folders = [write_fold(tmp_path / name, [("1", "AU1")], subject="S7") for name in ("a", "b")]
    with pytest.raises(InputProblems, match="subject 'S7' in the folds 'a' and 'b'"):
        score_folds("au", "disfa", folders)


@pytest.mark.parametrize("count", [0, 1])
def test_one_fold_is_no_average(tmp_path: Path, count: int) -> None:
    folders: list[Any] = three(tmp_path)[:count]
    with pytest.raises(BenchError, match="at least two"):
        score_folds("au", "disfa", folders)


def test_results_of_folds_are_compared_fold_by_fold(tmp_path: Path) -> None:
    result = score_folds("au", "disfa", three(tmp_path), bootstrap=0)
    assert faba_bench.paired_bootstrap(result, result, samples=20) == {"value": 0.0, "low": 0.0, "high": 0.0}
    (tmp_path / "f2" / "answers.jsonl").write_text(
        "".join(json.dumps({"question_id": i, "text": "AU1" if i < 2 else ""}) + "\n" for i in range(3))
    )
    better = score_folds("au", "disfa", [tmp_path / name for name in ("f1", "f2", "f3")], bootstrap=0)
    found = faba_bench.paired_bootstrap(better, result, mode="strict", samples=200)
    # AU1 in the second fold: F1 1 instead of 2/3; a third of the mean.
    assert found["value"] == pytest.approx(100 / 9)
    assert 0 <= found["low"] <= found["value"] <= found["high"]
    row = compare({"base": result, "better": better}, samples=20)["rows"][1]
    assert row["modes"]["strict"]["difference"]["s_re"]["value"] == pytest.approx(100 / 9)
    with pytest.raises(ResultError, match="average of folds"):
        faba_bench.paired_bootstrap(result, {key: better[key] for key in better if key != "folds"})


def test_folders_of_the_converters_are_taken_as_they_are(tmp_path: Path) -> None:
    folders = three(tmp_path)
    for folder in folders:
        (folder / "annotations.json").rename(folder / "eval_au_anno.json")
    assert score_folds("au", "disfa", folders, bootstrap=0)["n"] == 8
    with pytest.raises(BenchError, match=r"neither annotations\.json nor eval_emotion_anno\.json"):
        score_folds("emotion", "raf-db", folders)


def test_the_report_of_folds(tmp_path: Path) -> None:
    folders = three(tmp_path)
    arguments = ["score", "--task", "au", "--protocol", "disfa", "--fold-dirs", *map(str, folders)]
    assert main([*arguments, "--bootstrap", "10", "--report", str(tmp_path / "r.html"), "--plots", str(tmp_path)]) == 0
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    for part in ("Folds", "f2/1", "AU2", "Worst samples", "mean of 3 folds"):
        assert part in text, part
    assert (tmp_path / "per_label.svg").is_file()
