"""Tables and means."""

from __future__ import annotations

import numpy as np
import pytest
from faba_bench.aggregate import Samples, au_indicator, au_table, emotion_table
from hypothesis import given
from hypothesis import strategies as st

SETS = st.lists(st.lists(st.sampled_from([1, 2, 4]), unique=True), min_size=1, max_size=12)


def test_one_au_by_hand() -> None:
    guess = au_indicator([[1], [1], [], []], [1])
    truth = au_indicator([[1], [], [1], []], [1])
    row = au_table(guess, truth, [1], "strict")["1"]
    assert (row["true_positives"], row["false_positives"], row["false_negatives"]) == (1, 1, 1)
    assert (row["f1"], row["accuracy"], row["support"]) == (0.5, 0.5, 2)


def test_trap_reference_drops_a_constant_column_and_strict_keeps_an_all_positive_one() -> None:
    guess = truth = au_indicator([[1], [1]], [1, 2])
    assert {key: row["status"] for key, row in au_table(guess, truth, [1, 2], "reference").items()} == {
        "1": "dropped",
        "2": "dropped",
    }
    strict = au_table(guess, truth, [1, 2], "strict")
    assert (strict["1"]["status"], strict["1"]["f1"]) == ("scored", 1.0)
    assert (strict["2"]["status"], strict["2"]["f1"]) == ("undefined", None)


def test_trap_an_au_without_positives_but_with_false_alarms() -> None:
    guess, truth = au_indicator([[1], []], [1]), au_indicator([[], []], [1])
    reference, strict = (au_table(guess, truth, [1], mode)["1"] for mode in ("reference", "strict"))
    assert (reference["status"], reference["f1"]) == ("scored", 0.0)
    assert (strict["status"], strict["f1"], strict["false_positives"]) == ("undefined", None, 1)


@given(SETS, SETS)
def test_the_bootstraps_f1_is_the_tables(guesses: list[list[int]], targets: list[list[int]]) -> None:
    size = min(len(guesses), len(targets))
    rows = [
        {"parsed": guess, "target": target, "rouge_l": None}
        for guess, target in zip(guesses[:size], targets[:size], strict=True)
    ]
    for mode in ("reference", "strict"):
        table = au_table(
            au_indicator(guesses[:size], [1, 2, 4]), au_indicator(targets[:size], [1, 2, 4]), [1, 2, 4], mode
        )
        kept = [row["f1"] for row in table.values() if row["status"] == "scored"]
        value = Samples("au", mode, rows, [1, 2, 4]).metrics(np.ones((1, size)))["s_re"][0]
        assert value == pytest.approx(100 * np.mean(kept)) if kept else np.isnan(value)


def test_emotion_table_counts_unparsed_as_wrong_only_in_strict_mode() -> None:
    parsed, target = ["A", None, "B"], ["A", "A", "A"]
    strict = emotion_table(parsed, target, ["A", "B"], "strict")
    reference = emotion_table(parsed, target, ["A", "B"], "reference")
    assert strict["accuracy"] == pytest.approx(1 / 3)
    assert reference["accuracy"] == 0.5
    assert strict["confusion"] == {
        "rows": ["A", "B"],
        "columns": ["A", "B", "unparsed"],
        "counts": [[1, 1, 1], [0, 0, 0]],
    }
    assert strict["per_label"]["B"]["status"] == "undefined"


def test_mean_class_accuracy_is_not_accuracy() -> None:
    table = emotion_table(["A", "A", "A", "A"], ["A", "A", "A", "B"], ["A", "B"], "strict")
    assert (table["accuracy"], table["mean_class_accuracy"]) == (0.75, 0.5)
