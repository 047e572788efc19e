"""Confidence columns: shares of sampled answers and likelihoods of wordings, empty where nobody asked for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llava")
pytest.importorskip("dlib")
pytest.importorskip("pandas")

from faba_bench.protocol import load_protocol
from PIL import Image

import llava_faba
from llava_faba.analysis.answers import _confidence
from llava_faba.analysis.settings import AnalyzeSettings
from llava_faba.inference.generate import GenerateSettings

FABA = load_protocol("faba")


def test_shares_are_of_the_answers_that_could_be_read() -> None:
    au = {"samples": ["AU1 and AU12 are active.", "AU12 is active.", "I see a street.", "AU4 is active."]}
    emotion = {"samples": ["This is happiness.", "Anger.", "Happiness.", "No idea."], "scores": {"Anger": 0.25}}
    found = _confidence({"au": au, "emotion": emotion}, "Happiness", FABA.au, FABA.emotion)
    assert found.samples == {"au": 3, "emotion": 3}
    assert found.aus[12] == pytest.approx(2 / 3) and found.aus[1] == pytest.approx(1 / 3) and found.aus[25] == 0
    assert found.emotion == pytest.approx(2 / 3) and found.likelihoods == {"Anger": 0.25}
    unread = _confidence({"au": {"samples": ["?", "??"]}}, None, FABA.au, FABA.emotion)
    assert unread.samples == {"au": 0} and unread.aus == {} and unread.emotion is None


def _analysis(emola: Path, face: Image.Image, folder: Path, **settings: Any) -> Any:
    face.save(folder / "one.png")
    generate = GenerateSettings(**{"max_new_tokens": 12, **settings})
    return llava_faba.analyze(
        folder / "one.png", emola, out=folder / "out", settings=AnalyzeSettings(finder="dlib-68"), generate=generate
    )


def test_nobody_asked_so_nothing_is_there(emola: Path, faces: Any, tmp_path: Path) -> None:
    (row,) = _analysis(emola, faces[0], tmp_path).rows
    sure = [name for name in row if name.endswith(("_confidence", "_likelihood", "_samples"))]
    assert len(sure) == 1 + 20 + 7 + 20 + 2 and all(row[name] is None for name in sure)


def test_table_parquet_and_page_have_what_was_asked_for(emola: Path, faces: Any, tmp_path: Path) -> None:
    import pandas

    result = _analysis(emola, faces[0], tmp_path, samples=4, label_scores="faba")
    (row,) = result.rows
    (answers,) = (tmp_path / "out" / "work").glob("answers-*.jsonl")
    lines = [json.loads(line) for line in answers.read_text().splitlines()]
    scores = {label: value for line in lines for label, value in line["scores"].items()}
    assert {label: row[f"{label}_likelihood"] for label in scores} == scores and len(scores) == 27
    assert sum(row[f"{name}_likelihood"] for name in FABA.emotion.classes) == pytest.approx(1, abs=1e-4)
    assert all(len(line["samples"]) == 4 for line in lines) and 0 <= row["au_samples"] <= 4
    shares = [row[f"AU{number}_confidence"] for number in FABA.au.vocabulary]
    if row["au_samples"]:
        assert all(share * row["au_samples"] == pytest.approx(round(share * row["au_samples"])) for share in shares)
    else:
        assert shares == [None] * 20
    frame = pandas.read_parquet(tmp_path / "out" / "faces.parquet")
    assert frame["Fear_likelihood"][0] == row["Fear_likelihood"] and str(frame.dtypes["au_samples"]) == "Int64"
    assert "likelihood: " in (tmp_path / "out" / "report.html").read_text()
    plain = _analysis(emola, faces[0], tmp_path)
    assert plain.rows[0]["Fear_likelihood"] is None and plain.rows[0]["au_text"] == row["au_text"]
    assert "likelihood: " not in (tmp_path / "out" / "report.html").read_text()
