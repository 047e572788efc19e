"""The memory of longest common subsequences of long texts, and that saving it changes no result."""

from random import Random
from tracemalloc import get_traced_memory, start, stop

import faba_bench.lcs
import pytest
from faba_bench import rouge_l_reference
from faba_bench.lcs import lcs_length, sentence_blocks


def found_words(sentences: list[list[str]], reference: list[str]) -> set[str]:
    found: set[str] = set()
    for block in sentence_blocks(sentences):
        block.collect(reference, found)
    return found


def peak_of(call) -> int:
    start()
    try:
        call()
        return get_traced_memory()[1]
    finally:
        stop()


def test_a_long_text_of_distinct_words_takes_memory_in_proportion_to_its_length():
    words = [f"word{number}" for number in range(30_000)]
    reference = [*words[10:60], "other", *words[20_000:20_050]]

    def both():
        assert found_words([words], reference) == {word for word in reference if word != "other"}
        assert lcs_length(reference, words) == 100

    assert peak_of(both) < 20_000_000  # a mask kept for each word took 128 MB here


def test_two_long_texts_that_are_alike_take_memory_in_proportion_to_their_length():
    text = " ".join(f"word{number}" for number in range(30_000))
    assert peak_of(lambda: rouge_l_reference(text, text)) < 25_000_000  # all rows of the table took 132 MB here


@pytest.mark.parametrize("seed", range(12))
def test_rows_computed_again_give_the_same_words(seed, monkeypatch):
    random = Random(seed)
    vocabulary = [f"word{number}" for number in range(random.choice((2, 30, 900)))]
    sentences = [random.choices(vocabulary, k=random.choice((1, 7, 60, 1100))) for _ in range(4)]
    reference = random.choices(vocabulary, k=random.choice((9, 300, 1200)))
    wanted = found_words(sentences, reference)  # short enough for one stretch
    lengths = [lcs_length(reference, words) for words in sentences]
    monkeypatch.setattr(faba_bench.lcs, "_HELD_BYTES", 0)
    monkeypatch.setattr(faba_bench.lcs, "_PARTS", random.choice((2, 3, 10)))
    monkeypatch.setattr(faba_bench.lcs, "_KEPT_MASKS", random.choice((1, 40)))
    assert found_words(sentences, reference) == wanted
    assert [lcs_length(reference, words) for words in sentences] == lengths
