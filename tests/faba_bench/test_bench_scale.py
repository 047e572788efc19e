"""Intensities, valence and arousal: how they are read, and the measures against independent implementations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import faba_bench
import numpy as np
import pytest
from faba_bench.cli import main
from faba_bench.errors import BenchError, InputProblems, ResultError
from faba_bench.result import load_result
from faba_bench.scale import measure
from faba_bench.scale_reader import read_scale

AUS = faba_bench.load_protocol("disfa").au_intensity.labels


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("AU12: 3, AU25: 1", {"12": 3, "25": 1}),
        ('{"AU12": 3.5, "AU25": 0}', {"12": 3.5, "25": 0}),
        ('{"12": 2, "25": 4}', {"12": 2, "25": 4}),
        ("AU12 (lip corner puller) is active at intensity 3/5.", {"12": 3}),
        ("AU12C and AU 4b", {"12": 3, "4": 2}),
        ("AU1 and AU2: 2; AU4 = 4 out of 5", {"1": 2, "2": 2, "4": 4}),
        ("| AU | intensity |\n| AU6 | 2 |\n| AU12 | 5 |", {"6": 2, "12": 5}),
        ("AU12 is not active. AU4 is marked.", {"12": 0, "4": 3}),
        ("On a scale from 0 to 5, AU12 is 4.", {"12": 4}),
        ("AU12 (0-5): 4", {"12": 4}),
        ("**AU12**: **3**", {"12": 3}),
        ("<think>AU12: 5</think>AU12: 2", {"12": 2}),
        ("AU12: 7, AU25: 2", {"25": 2}),
        ("AU12: 60%, AU25: 2", {"25": 2}),
        ("AU12: 2 to 3, AU25: 2", {"25": 2}),
        ("AU12: 2. Later AU12: 4. AU25: 1", {"25": 1}),
        ("The face smiles.", {}),
        ("I see 3 AUs.", {}),
    ],
)
def test_intensities_are_read(text: str, values: dict[str, float]) -> None:
    assert read_scale(text, AUS, 0, 5).values == values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("Valence: 0.3, arousal: -0.25", {"valence": 0.3, "arousal": -0.25}),
        ("The valence is 0.35 and the arousal is \u22120.2.", {"valence": 0.35, "arousal": -0.2}),
        ('{"valence": -0.5, "arousal": 1}', {"valence": -0.5, "arousal": 1}),
        ("On a scale from -1 to 1, valence = +0.4; arousal = .1", {"valence": 0.4, "arousal": 0.1}),
        ("Valence (-1 to 1): 0.4. Arousal (-1 to 1): 0.9", {"valence": 0.4, "arousal": 0.9}),
        ("Valence 7, arousal 0.5", {"arousal": 0.5}),
        ("Valence between 0.2 and 0.4, arousal 0.5", {"arousal": 0.5}),
        ("A positive face.", {}),
    ],
)
def test_valence_and_arousal_are_read(text: str, values: dict[str, float]) -> None:
    assert read_scale(text, ("valence", "arousal"), -1, 1).values == values


def test_measures_equal_pingouin_scipy_and_torchmetrics() -> None:
    pingouin = pytest.importorskip("pingouin")
    pandas = pytest.importorskip("pandas")
    regression = pytest.importorskip("torchmetrics.functional.regression")
    torch = pytest.importorskip("torch")
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 6, size=(200, 1)).astype(float)
    guess = np.clip(0.6 * truth + 0.7 + generator.normal(size=truth.shape), 0, 5)
    rows, means = measure(guess, truth, ["12"], None, 0, 0)
    table = pandas.DataFrame(
        {
            "face": np.tile(np.arange(200), 2),
            "rater": np.repeat(["model", "label"], 200),
            "score": np.concatenate([guess[:, 0], truth[:, 0]]),
        }
    )
    found = pingouin.intraclass_corr(table, targets="face", raters="rater", ratings="score").set_index("Type")["ICC"]
    expected = found.get("ICC3", found.get("ICC(C,1)"))
    assert rows["12"]["icc"] == pytest.approx(float(expected), abs=1e-6)
    guesses, truths = torch.tensor(guess[:, 0]), torch.tensor(truth[:, 0])
    assert rows["12"]["pcc"] == pytest.approx(float(regression.pearson_corrcoef(guesses, truths)), abs=1e-5)
    assert rows["12"]["mae"] == pytest.approx(float(regression.mean_absolute_error(guesses, truths)), abs=1e-6)
    # torchmetrics divides by n - 1, Lin's paper by n: equal to within 1/n.
    assert rows["12"]["ccc"] == pytest.approx(float(regression.concordance_corrcoef(guesses, truths)), abs=1e-3)
    assert means["icc"] == rows["12"]["icc"]


def test_measures_without_libraries() -> None:
    truth = np.array([[0.0], [1.0], [2.0], [5.0]])
    rows, _ = measure(truth + 1.0, truth, ["12"], None, 0, 0)
    assert rows["12"]["icc"] == pytest.approx(1.0)  # ICC(3,1) forgives an offset, CCC does not
    assert rows["12"]["ccc"] == pytest.approx(2 * 3.5 / (2 * 3.5 + 1.0))
    assert rows["12"]["mae"] == 1.0
    constant, _ = measure(np.zeros((4, 1)), truth, ["12"], None, 0, 0)
    assert (constant["12"]["pcc"], constant["12"]["ccc"]) == (None, 0.0)


def data() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    annotations = [{"label": {"AU12": i % 6, "4": 0}, "image": f"{i}.png", "subject": f"s{i % 25}"} for i in range(100)]
    answers = [{"question_id": i, "text": f"AU12: {min(5, i % 6 + 1)}"} for i in range(100)]
    return annotations, answers


def test_scoring_draws_people_and_counts_what_it_could_not_read(tmp_path: Path) -> None:
    annotations, answers = data()
    answers[3]["text"] = "A smile."
    answers[4]["text"] = "AU12: 9"
    result = faba_bench.score("au_intensity", "disfa", annotations, answers, bootstrap=50)
    assert (result["cluster"], result["n_clusters"], result["kind"]) == ("subject", 25, "scale")
    assert result["per_label"]["12"]["unread"] == 2
    assert any("2 answers lack a readable value" in text for text in result["warnings"])
    row = result["per_label"]["12"]
    assert row["icc_ci"][0] < row["icc"] < row["icc_ci"][1]
    assert result["per_label"]["1"]["n"] == 0 and result["per_label"]["1"]["icc"] is None
    faba_bench.write_result(result, tmp_path / "r.json")
    with pytest.raises(ResultError, match="no S_re to compare"):
        load_result(tmp_path / "r.json")


def test_labels_that_cannot_be_are_named() -> None:
    for label, part in (({"AU12": 6}, "from 0 to 5"), ("12", "must be an object"), ({"AU99": 1}, "names none of")):
        with pytest.raises(InputProblems, match=part):
            faba_bench.score("au_intensity", "disfa", [{"label": label}], [])
    with pytest.raises(InputProblems, match="from -1 to 1"):
        faba_bench.score("va", "affectnet-8", [{"label": {"valence": -2, "arousal": 0}}], [])
    with pytest.raises(BenchError, match="groups are measured for"):
        faba_bench.score("va", "affectnet-8", [], [], groups=["gender"])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotations, answers = data()
    (tmp_path / "a.json").write_text(json.dumps(annotations))
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    command = ["score", "--task", "au_intensity", "--protocol", "disfa", "--annotations", str(tmp_path / "a.json")]
    command += ["--answers", str(tmp_path / "b.jsonl"), "--bootstrap", "20"]
    assert main([*command, "--output", str(tmp_path / "r.json")]) == 0
    assert "ICC(3,1)" in capsys.readouterr().out
    assert json.loads((tmp_path / "r.json").read_text())["per_label"]["12"]["pcc"] > 0.8
    assert main([*command, "--report", str(tmp_path / "r.html")]) == 2


def test_converted_records_hold_the_values_in_a_field_of_their_own() -> None:
    records = [{"label": "12", "au_intensity": {"12": 3.0}, "image": "a.png"}, {"label": "", "au_intensity": {"12": 0}}]
    answers = [{"question_id": 0, "text": "AU12: 3"}, {"question_id": 1, "text": "AU12: 0"}]
    result = faba_bench.score("au_intensity", "disfa", records, answers, bootstrap=0)
    assert result["per_label"]["12"]["icc"] == 1.0
