"""Groups of people: measures, the largest gap, and groups that are too small."""

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

SCHEMA = json.loads((Path(faba_bench.__file__).parent / "result.schema.json").read_text(encoding="utf-8"))
RIGHT = {"a": 0.9, "b": 0.5, "rare": 0.0}


def data(subjects: bool = False) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    generator = np.random.default_rng(0)
    annotations, answers = [], []
    for i in range(210):
        group = "rare" if i < 10 else "ab"[i % 2]
        record = {"label": "Fear", "gpt4": "He looks afraid.", "id": i, "gender": group, "age": 20 + i % 50}
        annotations.append(record | ({"subject": f"{group}{i % 40}"} if subjects else {}))
        answers.append({"question_id": i, "text": "Fear." if generator.random() < RIGHT[group] else "Anger."})
    return annotations, answers


def test_each_group_has_what_it_has_when_it_is_scored_alone() -> None:
    annotations, answers = data()
    result = faba_bench.score("emotion", "faba", annotations, answers, bootstrap=400, groups=["gender"])
    jsonschema.validate(result, SCHEMA)
    section = result["groups"]["gender"]
    for group in RIGHT:
        ids = {record["id"] for record in annotations if record["gender"] == group}
        alone = faba_bench.score(
            "emotion",
            "faba",
            [record for record in annotations if record["id"] in ids],
            [answer for answer in answers if answer["question_id"] in ids],
            bootstrap=400,
        )
        for mode in ("reference", "strict"):
            ours, theirs = section["values"][group]["modes"][mode], alone["modes"][mode]
            for key in ("s_re", "s_ge", "s_rege", "accuracy", "macro_f1"):
                assert ours[key] == pytest.approx(theirs[key])
            assert ours["per_label"]["Fear"]["support"] == len(ids)
        width = [np.diff(body["modes"]["strict"]["s_re_ci"])[0] for body in (section["values"][group], alone)]
        assert width[0] == pytest.approx(width[1], rel=0.25, abs=1)


def test_the_gap_leaves_small_groups_out_and_has_the_interval_of_two_shares() -> None:
    annotations, answers = data()
    result = faba_bench.score("emotion", "faba", annotations, answers, bootstrap=800, groups=["gender"])
    gap = result["groups"]["gender"]["gaps"]["strict"]["s_re"]
    assert (gap["highest"], gap["lowest"]) == ("a", "b")
    values = result["groups"]["gender"]["values"]
    shares = [values[name]["modes"]["strict"]["accuracy"] for name in "ab"]
    assert gap["value"] == pytest.approx(100 * (shares[0] - shares[1]))
    # Independently: the normal interval of a difference of two shares.
    error = sum(share * (1 - share) / values[name]["n"] for share, name in zip(shares, "ab", strict=True)) ** 0.5
    assert gap["ci"][1] - gap["ci"][0] == pytest.approx(200 * 1.96 * error, rel=0.15)
    assert values["rare"]["small"] and any("too small to compare" in text for text in result["warnings"])


def test_people_are_drawn_and_few_people_are_small() -> None:
    annotations, answers = data(subjects=True)
    result = faba_bench.score("emotion", "faba", annotations, answers, bootstrap=50, groups=["gender"])
    values = result["groups"]["gender"]["values"]
    assert values["a"]["n_clusters"] == 20 and not values["a"]["small"]
    for record in annotations:
        record["subject"] = f"{record['gender']}{record['id'] % 3}"
    again = faba_bench.score("emotion", "faba", annotations, answers, bootstrap=50, groups=["gender"])
    assert all(group["small"] for group in again["groups"]["gender"]["values"].values())
    assert again["groups"]["gender"]["gaps"]["strict"]["s_re"] is None


def test_fields_that_are_no_groups_are_told() -> None:
    annotations, answers = data()
    with pytest.raises(InputProblems, match="'age' has 50 values"):
        faba_bench.score("emotion", "faba", annotations, answers, groups=["age"])
    with pytest.raises(InputProblems, match="no record has 'race'"):
        faba_bench.score("emotion", "faba", annotations, answers, groups=["race"])
    annotations[0]["gender"] = None
    result = faba_bench.score("emotion", "faba", annotations, answers, bootstrap=0, groups=["gender"])
    assert any("1 of 210 records lack it" in text for text in result["warnings"])


def test_the_command_and_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotations, answers = data()
    (tmp_path / "a.json").write_text(json.dumps(annotations))
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    command = ["score", "--task", "emotion", "--protocol", "faba", "--annotations", str(tmp_path / "a.json")]
    command += ["--answers", str(tmp_path / "b.jsonl"), "--bootstrap", "10", "--group", "gender"]
    assert main([*command, "--report", str(tmp_path / "r.html"), "--markdown", str(tmp_path / "t.md")]) == 0
    assert "largest gap" in capsys.readouterr().out
    assert "Groups: gender" in (tmp_path / "r.html").read_text()
    assert "largest gap" in (tmp_path / "t.md").read_text()
