"""Models side by side."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import faba_bench
import pytest
from faba_bench.compare import compare, compare_files, render, write_comparison
from faba_bench.errors import BenchError, ResultError


@pytest.fixture
def pair(au_annotations: Any, au_answers: Any) -> dict[str, dict[str, Any]]:
    worse = [{**answer, "text": "AU4."} for answer in au_answers]
    return {
        "good": faba_bench.score("au", "faba", au_annotations, au_answers, bootstrap=20),
        "bad": faba_bench.score("au", "faba", au_annotations, worse, bootstrap=20),
    }


def test_differences_are_to_the_first_and_published_rows_are_labelled(
    pair: dict[str, dict[str, Any]],
) -> None:
    comparison = compare(pair, samples=50)
    assert comparison["rows"][0]["modes"]["strict"]["difference"] == {}
    difference = comparison["rows"][1]["modes"]["strict"]["difference"]["s_re"]["value"]
    bodies = pair["bad"]["modes"]["strict"], pair["good"]["modes"]["strict"]
    assert difference == pytest.approx(bodies[0]["s_re"] - bodies[1]["s_re"])
    assert [(row["s_re"], row["s_ge"], row["s_rege"]) for row in comparison["published"]] == [
        (56.3, 35.2, 91.5),
        (56.12, 35.26, 91.38),
    ]
    assert all("published" in row["name"] for row in comparison["published"])
    assert compare(pair, published=False, samples=5)["published"] == []


@pytest.mark.parametrize(
    ("form", "part"),
    [("text", "Δ S_re"), ("markdown", "| :--|"[2:]), ("latex", r"\toprule"), ("json", '"baseline"')],
)
def test_every_format(pair: dict[str, dict[str, Any]], form: str, part: str) -> None:
    text = render(compare(pair, samples=5), form)
    assert part in text
    assert "published" in text


def test_files_are_named_after_themselves(tmp_path: Path, pair: dict[str, dict[str, Any]]) -> None:
    paths = []
    for name, result in pair.items():
        paths.append(tmp_path / f"{name}.json")
        faba_bench.write_result(result, paths[-1])
    assert [row["name"] for row in compare_files(paths, samples=5)["rows"]] == ["good", "bad"]
    with pytest.raises(ResultError, match="1 names for 2 results"):
        compare_files(paths, names=["one"])
    with pytest.raises(ResultError, match="given twice"):
        compare_files([paths[0], paths[0]])


def test_other_tasks_and_broken_files_are_errors(
    tmp_path: Path, pair: dict[str, dict[str, Any]], emotion_annotations: Any, emotion_answers: Any
) -> None:
    other = faba_bench.score("emotion", "faba", emotion_annotations, emotion_answers, bootstrap=0)
    with pytest.raises(ResultError, match="task emotion"):
        compare({"good": pair["good"], "other": other})
    path = tmp_path / "broken.json"
    for content, part in (
        ("{", "not a JSON result"),
        ("{}", "not a result"),
        ('{"task": "au", "modes": {}}', "schema_version"),
    ):
        path.write_text(content)
        with pytest.raises(ResultError, match=part):
            compare_files([path])
    with pytest.raises(ResultError, match="cannot read"):
        compare_files([tmp_path / "none.json"])


def test_the_page_is_whole(tmp_path: Path, pair: dict[str, dict[str, Any]]) -> None:
    write_comparison(compare(pair, samples=5), tmp_path / "c.html")
    text = (tmp_path / "c.html").read_text(encoding="utf-8")
    HTMLParser().feed(text)
    assert "(published)" in text and "</html>" in text


def test_published_figures_of_another_test_set_are_said_to_be(pair: dict[str, dict[str, Any]]) -> None:
    text = render(compare(pair, samples=5))
    assert "They are of 325 samples and these results of 3" in text
    whole = {name: {**result, "n": 325} for name, result in pair.items()}
    assert "another test set" not in render(compare(whole, samples=5))
    assert "published" not in render(compare(pair, published=False, samples=5))


def test_resamples_that_cannot_be(pair: dict[str, dict[str, Any]]) -> None:
    with pytest.raises(BenchError, match="1 or more"):
        compare(pair, samples=0)
