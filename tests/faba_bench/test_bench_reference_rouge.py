"""Our ROUGE-L equals the `rouge` package bit for bit, on any text."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from faba_bench.reference.rouge import rouge_l_reference
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge import Rouge

PACKAGE = Rouge(metrics=["rouge-l"])
WORDS = st.sampled_from(["a", "b", "c", "A", "x,", "AU4", ".", ". ", "...", "\n", "\t", "e.g.", " ", "", "é", "\u2028"])
TEXTS = st.lists(WORDS, max_size=40).map(" ".join) | st.lists(WORDS, max_size=40).map("".join) | st.text(max_size=60)


@pytest.fixture(autouse=True)
def deep_recursion() -> Iterator[None]:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)  # the package recurses once a word
    yield
    sys.setrecursionlimit(limit)


def package(hypothesis: str, reference: str) -> float | None:
    try:
        return float(PACKAGE.get_scores(hypothesis, reference)[0]["rouge-l"]["f"])
    except ValueError:
        return None


@settings(max_examples=600, deadline=None)
@given(TEXTS, TEXTS)
def test_equal_on_random_texts(hypothesis: str, reference: str) -> None:
    assert rouge_l_reference(hypothesis, reference) == package(hypothesis, reference)


@pytest.mark.parametrize("text", ["", ".", "...."])
def test_empty_and_only_full_stops_have_no_value(text: str) -> None:
    assert rouge_l_reference(text, "a b") is None
    assert rouge_l_reference("a b", text) is None


def test_white_space_counts_as_one_empty_word() -> None:
    assert rouge_l_reference("a. ", "a") == package("a. ", "a") != rouge_l_reference("a.", "a")


def test_sentences_over_the_block_size() -> None:
    long = " ".join(f"w{index % 37}" for index in range(1500))
    short = " ".join(f"w{index % 11}" for index in range(60))
    assert rouge_l_reference(long, short) == package(long, short)
    many = ". ".join(" ".join(f"w{(index * k) % 23}" for index in range(15)) for k in range(1, 120))
    assert rouge_l_reference(many, short) == package(many, short)


def test_an_enormous_answer_takes_seconds_at_most() -> None:
    text = " ".join(f"w{index % 5003}" for index in range(400_000))
    value = rouge_l_reference(text, "w1 w2 w3. w4 w5")
    assert value is not None and 0 < value < 0.01
