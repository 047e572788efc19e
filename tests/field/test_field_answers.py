"""Field cases about answers (docs/field-cases.md): what people's models write, and what strict mode must read."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import faba_bench
import pytest
from faba_bench.compare import compare
from faba_bench.records import Record
from faba_bench.strict.rouge import has_rouge
from faba_bench.templates import are_templates

FIELD = Path(__file__).resolve().parents[1] / "data" / "field"


def scored(task: str, folder: str, answers: str = "answers.jsonl") -> dict[str, Any]:
    return faba_bench.score(task, "faba", FIELD / folder / "eval.json", FIELD / folder / answers, bootstrap=0)


def test_thoughts_are_no_part_of_a_strict_answer_and_are_counted() -> None:
    result = scored("au", "score-think")
    clean = scored("au", "score-think", "clean.jsonl")
    assert result["modes"]["strict"] == clean["modes"]["strict"]
    assert result["modes"]["strict"]["s_re"] == 100
    assert (result["n_with_thoughts"], clean["n_with_thoughts"]) == (2, 0)
    assert any("2 of 3 answers held a model's thoughts" in text for text in result["warnings"])


def test_one_value_a_label_is_read_by_its_structure() -> None:
    for task, folder in (
        ("emotion", "score-emotion-yes-no"),
        ("au", "score-au-openface"),
        ("au", "score-au-no-because"),
    ):
        assert scored(task, folder)["modes"]["strict"]["s_re"] == 100, folder


def test_an_ambiguous_structure_is_unparsed_and_warned_about() -> None:
    records = [{"id": "a", "image": "a.jpg", "label": "Anger", "gpt4": "Anger."}]
    answers = [{"question_id": "a", "text": "Anger: yes\nFear: yes"}]
    result = faba_bench.score("emotion", "faba", records, answers, bootstrap=0)
    assert result["modes"]["strict"]["samples"][0]["parsed"] is None
    assert any("list, table or JSON" in text for text in result["warnings"])


def test_absent_lists_leave_perfect_answers_perfect() -> None:
    scored_units = (1, 2, 4, 5, 6, 10, 12, 17, 24, 25, 26, 43)
    records, answers = [], []
    for index, unit in enumerate(scored_units):
        records.append({"id": str(index), "image": "a.jpg", "label": str(unit), "gpt4": "x"})
        absent = ", ".join(f"AU{other}" for other in scored_units if other != unit)
        answers.append({"question_id": str(index), "text": f"AU{unit} is active.\n\nAbsent: {absent}."})
    assert faba_bench.score("au", "faba", records, answers, bootstrap=0)["modes"]["strict"]["s_re"] == 100


def test_rouge_of_a_text_without_latin_words_has_no_value() -> None:
    result = scored("emotion", "score-chinese-emotion")
    assert result["modes"]["strict"]["s_ge"] is None
    assert any("not in Latin letters" in text for text in result["warnings"])


def test_two_protocol_versions_and_other_labels_are_not_compared() -> None:
    result = scored("au", "score-au-openface")
    with pytest.raises(faba_bench.ResultError, match="two versions"):
        faba_bench.paired_bootstrap(result, {**result, "protocol_version": 2}, samples=10)
    other = copy.deepcopy(result)
    del other["modes"]["strict"]["per_label"]["43"]
    with pytest.raises(faba_bench.ResultError, match="other labels"):
        compare({"a": result, "b": other}, samples=10)


def test_no_rouge_against_a_converters_own_sentences() -> None:
    records = [
        {
            "id": "0",
            "image": "a.jpg",
            "label": "1, 4",
            "gpt4": "The action units conveyed by this face are AU1 and AU4.",
        },
        {"id": "1", "image": "b.jpg", "label": "", "gpt4": "No action units are conveyed by this face."},
    ]
    answers = [{"question_id": "0", "text": "AU1."}, {"question_id": "1", "text": "AU4."}]
    result = faba_bench.score("au", "bp4d", records, answers, bootstrap=0)
    assert [result["modes"][mode][key] for mode in ("reference", "strict") for key in ("s_ge", "s_rege")] == [None] * 4
    records[0]["gpt4"] = "Her brows are drawn together and raised in the middle (AU1, AU4)."
    result = faba_bench.score("au", "bp4d", records, answers, bootstrap=0)
    assert result["modes"]["strict"]["s_ge"] is not None


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("眉を下げ、まぶたを締めています。", False),
        ("눈썹이 내려가 있고 입술이 벌어져 있다.", False),
        ("الحاجبان منخفضان والشفتان مفتوحتان", False),
        ("Брови опущены, губы сжаты.", False),
        ("AU4:眉毛下压,眼睑收紧。", False),
        ("Die Brauen sind gesenkt (AU4), der Mund öffnet sich.", True),
        ("AU12 😀", True),
    ],
)
def test_whether_rouge_has_words_to_compare(text: str, has: bool) -> None:
    assert has_rouge(text) is has
    records = [{"id": "a", "image": "a.jpg", "label": "Anger", "gpt4": text}]
    result = faba_bench.score("emotion", "faba", records, [{"question_id": "a", "text": text}], bootstrap=0)
    assert result["modes"]["strict"]["s_ge"] == (100 if has else None)


@pytest.mark.parametrize("change", ["task", "protocol", "ids", "targets"])
def test_results_of_other_things_are_not_compared(change: str) -> None:
    result = scored("au", "score-au-openface")
    other = copy.deepcopy(result)
    if change in ("task", "protocol"):
        other[change] = {"task": "emotion", "protocol": "bp4d"}[change]
    else:
        for mode in other["modes"].values():
            mode["samples"][0][{"ids": "question_id", "targets": "target"}[change]] = {"ids": "z", "targets": [2]}[
                change
            ]
    with pytest.raises(faba_bench.ResultError):
        faba_bench.paired_bootstrap(result, other, samples=10)
    with pytest.raises(faba_bench.ResultError):
        compare({"a": result, "b": other}, samples=10)


@pytest.mark.parametrize(
    ("target", "text", "template"),
    [
        ("Anger", "The emotion conveyed by this face is anger.", True),
        ("Happiness", "This face expresses happiness.", True),
        ((4, 7), "The action units conveyed by this face are AU4 and AU7.", True),
        ((), "The face is at rest without any active action unit.", True),
        ("Anger", "The emotion conveyed by this face is anger, since the brows are lowered.", False),
        ((4,), "The brows are drawn together (AU4).", False),
    ],
)
def test_whose_sentences_a_reference_text_is(target: Any, text: str, template: bool) -> None:
    assert are_templates([Record("a", "a.jpg", target, text)]) is template
    own = Record("b", "b.jpg", target, "Her lips are pressed and her gaze is fixed.")
    assert not are_templates([Record("a", "a.jpg", target, text), own])
