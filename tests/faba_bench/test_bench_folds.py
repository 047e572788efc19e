"""Folds are scored apart and averaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import faba_bench
import jsonschema
import pytest
from faba_bench.errors import BenchError, InputProblems, ResultError
from faba_bench.folds import fold_summary, score_folds

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
    assert "mean of the folds" in fold_summary(result)
    with pytest.raises(ResultError, match="one by one"):
        faba_bench.paired_bootstrap(result, result)


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
