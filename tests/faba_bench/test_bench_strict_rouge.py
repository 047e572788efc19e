"""Strict ROUGE-L equals the `rouge-score` package bit for bit."""

from __future__ import annotations

import pytest
from faba_bench.strict.rouge import rouge_l_strict
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

SCORER = RougeScorer(["rougeL"], use_stemmer=False)
WORDS = st.sampled_from(["a", "b", "C", "c", "au4", "AU4,", "\n", "é", "it's", "smiling", "."])
TEXTS = st.lists(WORDS, max_size=60).map(" ".join) | st.text(max_size=80)


@settings(max_examples=400, deadline=None)
@given(TEXTS, TEXTS)
def test_equal_on_random_texts(hypothesis: str, reference: str) -> None:
    expected = SCORER.score(reference, hypothesis)["rougeL"].fmeasure
    assert rouge_l_strict(hypothesis, reference) == expected


@pytest.mark.parametrize("text", ["", "  ", "!?"])
def test_an_empty_answer_scores_zero(text: str) -> None:
    assert rouge_l_strict(text, "a face") == 0.0
    assert rouge_l_strict("a face", text) == 0.0
