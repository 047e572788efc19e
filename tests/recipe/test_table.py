"""The table at a recipe's end: groups by task, means over runs, gains that pair each run with the baseline's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import faba_bench
import pytest
from faba_bench.files.atomic import write_json

RECORDS = [{"id": str(i), "image": f"{i}.jpg", "label": str(i % 2), "gpt4": "x"} for i in range(12)]
WORDS = ("Happiness", "Sadness")


def result(folder: Path, name: str, right: int) -> Path:
    """A result whose first ``right`` answers are right."""
    answers = [
        {"question_id": str(i), "text": f"The emotion is {WORDS[(i % 2) if i < right else 1 - i % 2]}."}
        for i in range(12)
    ]
    write_json(folder / name / "result.json", faba_bench.score("emotion", "faba", RECORDS, answers))
    return folder / name


def table(out: Path, results: list[Path], names: list[str]) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "llava_faba.recipe.table", str(out), "--results", *map(str, results)]
    return subprocess.run([*words, "--names", *names, "--title", "T"], capture_output=True, text=True)


@pytest.fixture
def results(tmp_path: Path) -> list[Path]:
    return [result(tmp_path, f"{model}{run}", right) for model, run, right in
            (("a", 1, 3), ("a", 2, 6), ("b", 1, 9), ("b", 2, 12))]  # fmt: skip


def test_runs_of_one_model_are_summed_up_and_paired(tmp_path, results):
    assert table(tmp_path / "out", results, ["plain", "ours"]).returncode == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    (means,) = report["means"]
    assert means["plain"]["reference"] == {"mean": pytest.approx(37.5), "low": 25, "high": 50, "runs": 2}
    assert [gain["value"] for gain in means["ours"]["gains"]] == [pytest.approx(50), pytest.approx(50)]
    text = (tmp_path / "out/report.txt").read_text()
    assert "- ours: reference 87.50 [75.00, 100.00]" in text
    assert "EmoLA, authors' README (published)" in text


def test_names_that_do_not_fit_are_a_sentence(tmp_path, results):
    done = table(tmp_path / "out", results, ["a", "b", "c"])
    assert done.returncode == 2 and "3 names for 4 results" in done.stderr
    assert not (tmp_path / "out").exists()


def test_one_name_for_two_models_is_refused(tmp_path, results):
    done = table(tmp_path / "out", results, ["a", "a", "a", "a"])
    assert done.returncode == 2 and "two results of task emotion are called 'a'" in done.stderr


@pytest.mark.parametrize(
    ("task", "protocol"), [("emotion", "raf-db"), ("au", "bp4d"), ("au", "disfa"), ("au", "gft"), ("au", "faba")]
)
def test_every_set_of_the_paper_has_its_published_figures_intervals_and_noise_beside_ours(tmp_path, task, protocol):
    labels = {"emotion": ("0", "1"), "au": ("4", "1, 4" if protocol == "disfa" else "4, 12")}[task]
    said = {"emotion": "The emotion is Happiness.", "au": "AU4 and AU12 are active."}[task]
    records = [
        {"id": str(i), "image": f"s{i}/1.jpg", "label": labels[i % 2], "gpt4": "x", "subject": f"s{i}"}
        for i in range(12)
    ]
    answers = [{"question_id": str(i), "text": said} for i in range(12)]
    write_json(tmp_path / "one" / "result.json", faba_bench.score(task, protocol, records, answers))
    done = table(tmp_path / "out", [tmp_path / "one"], ["ours"])
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    text = (tmp_path / "out" / "report.txt").read_text()
    assert report["field"][0] and all(
        f"- {row['name']}: {row['metric']} {row['value']:.1f}" in text for row in report["field"][0]
    )
    assert "EmoLA" in {row["name"].split(",")[0].split(" (")[0] for row in report["field"][0]}
    assert report["tables"][0]["rows"][0]["modes"]["reference"]["s_re_ci"] is not None
    assert ("Fold assignment alone moves" in text) == (protocol in ("bp4d", "disfa"))
