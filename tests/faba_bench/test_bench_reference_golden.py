"""Reference mode against the numbers of the authors' implementation, every case."""

from __future__ import annotations

from typing import Any

import faba_bench
import numpy as np
import pytest
from faba_bench.reference.au import read_aus
from faba_bench.reference.emotion import CLASSES, read_emotion

AU_PROTOCOLS = ["FABA", "BP4D", "DISFA", "GFT", "EmotioNet"]


def test_every_emotion_case_has_the_authors_class_or_is_unscored(golden: dict[str, Any]) -> None:
    for case in golden["emotion"]:
        value = read_emotion(case["prediction"]).value
        expected = case["ref_emotion_index"]
        assert value == (None if expected == "AttributeError" else CLASSES[expected]), case["prediction"]


def test_every_rouge_value_is_equal_bit_for_bit(golden: dict[str, Any]) -> None:
    cases = golden["emotion"] + [case for part in golden["au"].values() for case in part["cases"]]
    assert len(cases) == 560
    for case in cases:
        expected = None if case["ref_rouge_l_f"] == "ValueError" else case["ref_rouge_l_f"]
        assert faba_bench.rouge_l_reference(case["prediction"], case["reference"]) == expected


def test_emotion_scores_of_the_whole_set(golden: dict[str, Any]) -> None:
    cases = golden["emotion"]
    annotations = [{"image": "f.jpg", "label": case["label"], "gpt4": case["reference"]} for case in cases]
    answers = [{"question_id": index, "text": case["prediction"]} for index, case in enumerate(cases)]
    body = faba_bench.score("emotion", "faba", annotations, answers, bootstrap=0)["modes"]["reference"]
    kept = [case for case in cases if case["ref_emotion_index"] != "AttributeError"]
    labels = [int(case["label"]) if case["label"].isdigit() else CLASSES.index(case["label"]) for case in kept]
    hits = [case["ref_emotion_index"] == label for case, label in zip(kept, labels, strict=True)]
    rouge = [case["ref_rouge_l_f"] for case in cases if case["ref_rouge_l_f"] != "ValueError"]
    assert (body["n_scored"], body["n_unparsed"]) == (len(kept), len(cases) - len(kept)) == (150, 10)
    assert body["s_re"] == 100 * (sum(hits) / len(hits))
    assert body["s_ge"] == 100 * float(np.mean(rouge))
    assert body["s_rege"] == body["s_re"] + body["s_ge"]


@pytest.mark.parametrize("name", AU_PROTOCOLS)
def test_au_tables_and_means_are_equal_bit_for_bit(golden: dict[str, Any], name: str) -> None:
    part = golden["au"][name]
    rules = faba_bench.load_protocol(name.lower()).au
    assert rules is not None
    assert [str(number) for number in rules.vocabulary] == part["vocabulary"]
    assert [str(number) for number in rules.scored] == part["scored"]
    annotations = [
        {"image": "f.jpg", "label": case["label"], "gpt4": case["reference"], "id": f"q{index}"}
        for index, case in enumerate(part["cases"])
    ]
    answers = [{"question_id": f"q{index}", "text": case["prediction"]} for index, case in enumerate(part["cases"])]
    body = faba_bench.score("au", name.lower(), annotations, reversed(answers), bootstrap=0)["modes"]["reference"]
    for sample, case in zip(body["samples"], part["cases"], strict=True):
        assert [str(number) for number in sample["parsed"]] == case["ref_pred"]
        assert [str(number) for number in sample["target"]] == case["ref_target"]
    for label, expected in part["per_au"].items():
        assert body["per_label"][label]["f1"] == expected["f1"]
        assert body["per_label"][label]["accuracy"] == expected["acc"]
    assert body["s_re"] == 100 * part["mean_f1"]
    assert body["mean_accuracy"] == part["mean_acc"]
    assert body["s_ge"] == 100 * part["mean_rouge_l"]


def test_the_authors_pattern_sees_only_plain_au_numbers() -> None:
    assert read_aus("AU4, AU 6, au12, AU04, AU1+2, AU99, AU4", [1, 2, 4, 6, 12]).value == (4, 1)
    assert read_aus("AU4 is not present", [4]).value == (4,)
