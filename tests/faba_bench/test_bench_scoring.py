"""The output object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import faba_bench
import jsonschema
import pytest
from faba_bench.errors import BenchError, InputProblems

SCHEMA = json.loads((Path(faba_bench.__file__).parent / "result.schema.json").read_text(encoding="utf-8"))


def test_au_result_by_hand(au_annotations: Any, au_answers: Any) -> None:
    result = faba_bench.score("au", "faba", au_annotations, au_answers, bootstrap=50)
    jsonschema.validate(result, SCHEMA)
    reference, strict = result["modes"]["reference"], result["modes"]["strict"]
    assert [sample["parsed"] for sample in reference["samples"]] == [[1, 4], [25], []]
    assert [sample["parsed"] for sample in strict["samples"]] == [[1, 4], [12], []]
    assert [sample["target"] for sample in strict["samples"]] == [[1, 4], [12, 25], [4]]
    assert [sample["question_id"] for sample in strict["samples"]] == ["x", "y", "z"]
    # Reference: AU1 1, AU4 2/3, AU12 0, AU25 1.  Strict: AU1 1, AU4 2/3, AU12 1, AU25 0.
    assert reference["s_re"] == pytest.approx(100 * (1 + 2 / 3 + 0 + 1) / 4)
    assert strict["s_re"] == pytest.approx(100 * (1 + 2 / 3 + 1 + 0) / 4)
    assert reference["samples"][2]["rouge_l"] is None
    assert strict["samples"][2]["rouge_l"] == 0.0
    assert (strict["n_scored"], strict["n_unparsed"]) == (3, 1)
    assert (reference["n_scored"], reference["n_unparsed"]) == (3, 0)
    assert reference["s_rege"] == reference["s_re"] + reference["s_ge"]
    assert list(strict["per_label"]) == ["1", "2", "4", "5", "6", "10", "12", "17", "24", "25", "26", "43"]
    assert strict["per_label"]["2"]["status"] == "undefined"
    assert any("'z'" in warning and "without a word" in warning for warning in result["warnings"])


def test_emotion_result_by_hand(emotion_annotations: Any, emotion_answers: Any) -> None:
    result = faba_bench.score("emotion", "faba", emotion_annotations, emotion_answers, bootstrap=50)
    jsonschema.validate(result, SCHEMA)
    reference, strict = result["modes"]["reference"], result["modes"]["strict"]
    assert [sample["parsed"] for sample in strict["samples"]] == ["Happiness", "Sadness", None]
    assert [sample["parsed"] for sample in reference["samples"]] == ["Happiness", "Happiness", None]
    assert (strict["n_scored"], strict["n_unparsed"], strict["s_re"]) == (3, 1, pytest.approx(200 / 3))
    assert (reference["n_scored"], reference["n_unparsed"], reference["s_re"]) == (2, 1, 50.0)
    assert strict["mean_class_accuracy"] == pytest.approx(2 / 3)
    assert [sample["question_id"] for sample in strict["samples"]] == [0, 1, 2]


def test_answers_may_be_a_generator_in_any_order(au_annotations: Any, au_answers: Any) -> None:
    first = faba_bench.score("au", "faba", au_annotations, au_answers, bootstrap=20)
    second = faba_bench.score("au", "faba", au_annotations, (a for a in reversed(au_answers)), bootstrap=20)
    assert first == second


def test_the_same_seed_gives_the_same_object(au_annotations: Any, au_answers: Any) -> None:
    runs = [faba_bench.score("au", "faba", au_annotations, au_answers, seed=seed, bootstrap=100) for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0]["modes"]["strict"]["s_ge_ci"] != runs[2]["modes"]["strict"]["s_ge_ci"]


def test_without_bootstrap_there_are_no_intervals(au_annotations: Any, au_answers: Any) -> None:
    result = faba_bench.score("au", "faba", au_annotations, au_answers, bootstrap=0)
    jsonschema.validate(result, SCHEMA)
    assert result["modes"]["strict"]["s_re_ci"] is None
    with pytest.raises(BenchError, match="0 or more"):
        faba_bench.score("au", "faba", au_annotations, au_answers, bootstrap=-1)


def test_missing_duplicate_and_unknown_ids_are_all_named(au_annotations: Any) -> None:
    answers = [{"question_id": key, "text": "AU1."} for key in ("x", "x", "w")]
    with pytest.raises(InputProblems) as caught:
        faba_bench.score("au", "faba", au_annotations, answers)
    text = str(caught.value)
    assert len(caught.value.problems) == 3
    for part in ("duplicate question id 'x'", "unknown question id 'w'", "missing: 'y', 'z'"):
        assert part in text


def test_ids_of_another_question_file_are_hinted(au_annotations: Any) -> None:
    with pytest.raises(InputProblems, match="same question file"):
        faba_bench.score("au", "faba", au_annotations, [{"question_id": 0, "text": "AU1."}])


def test_missing_answers_can_be_scored_as_empty_ones(au_annotations: Any, au_answers: Any) -> None:
    result = faba_bench.score("au", "faba", au_annotations, au_answers[:2], bootstrap=0, allow_missing=True)
    full = faba_bench.score("au", "faba", au_annotations, au_answers, bootstrap=0)
    assert result["modes"] == full["modes"]
    assert "1 record without an answer" in result["warnings"][0]


def test_without_reference_texts_there_is_no_rege() -> None:
    result = faba_bench.score("emotion", "raf-db", [{"label": "Fear"}], [{"question_id": "0", "text": "Fear."}])
    jsonschema.validate(result, SCHEMA)
    for body in result["modes"].values():
        assert (body["s_re"], body["s_ge"], body["s_rege"]) == (100.0, None, None)
    assert "no reference texts" in result["warnings"][-1]


def test_everything_dropped_gives_null_not_nan() -> None:
    result = faba_bench.score("au", "faba", [{"label": "", "gpt4": "."}], [{"question_id": 0, "text": "."}])
    jsonschema.validate(result, SCHEMA)
    assert result["modes"]["reference"]["s_re"] is None
    assert result["modes"]["strict"]["s_re"] is None
    json.dumps(result, allow_nan=False)


def test_enormous_and_odd_answers() -> None:
    annotations = [{"label": "4", "gpt4": "AU4 is active."} for _ in range(3)]
    texts = ["AU4 is active " * 30_000, "\ud800 AU4 \x00", "AU4" + "9" * 10_000]
    answers = [{"question_id": index, "text": text} for index, text in enumerate(texts)]
    result = faba_bench.score("au", "faba", annotations, answers, bootstrap=5)
    assert [sample["parsed"] for sample in result["modes"]["strict"]["samples"]] == [[4], [4], []]


def test_a_result_survives_a_file(tmp_path: Path, au_annotations: Any, au_answers: Any) -> None:
    result = faba_bench.score("au", "faba", au_annotations, au_answers, bootstrap=5)
    faba_bench.write_result(result, tmp_path / "deep" / "out.json")
    assert faba_bench.load_result(tmp_path / "deep" / "out.json") == result


def test_a_protocol_of_other_classes_counts_the_authors_classes_as_wrong(tmp_path: Path) -> None:
    path = tmp_path / "valence.json"
    rules = {"classes": ["Positive", "Fear"]}
    path.write_text(
        json.dumps({"schema_version": 1, "name": "v", "version": 1, "title": "V", "tasks": {"emotion": rules}})
    )
    annotations = [{"label": "Positive"}, {"label": "Fear"}]
    answers = [{"question_id": 0, "text": "A positive look."}, {"question_id": 1, "text": "Fear."}]
    result = faba_bench.score("emotion", str(path), annotations, answers, bootstrap=5)
    reference, strict = result["modes"]["reference"], result["modes"]["strict"]
    assert [sample["parsed"] for sample in reference["samples"]] == ["Happiness", "Fear"]
    assert (reference["s_re"], strict["s_re"]) == (50.0, 100.0)
    assert "Happiness" in reference["confusion"]["columns"] and "Happiness" not in strict["confusion"]["columns"]
    assert any("cannot predict Positive" in warning for warning in result["warnings"])
