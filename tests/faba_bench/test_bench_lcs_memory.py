"""The memory of longest common subsequences with a long text of distinct words."""

import tracemalloc

from faba_bench.lcs import lcs_length, sentence_blocks


def test_a_long_text_of_distinct_words_takes_memory_in_proportion_to_its_length():
    words = [f"word{number}" for number in range(30_000)]
    reference = [*words[10:60], "other", *words[20_000:20_050]]
    tracemalloc.start()
    try:
        found: set[str] = set()
        for block in sentence_blocks([words]):
            block.collect(reference, found)
        length = lcs_length(reference, words)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == {word for word in reference if word != "other"}
    assert length == 100
    assert peak < 20_000_000  # a mask for each word took 60 MB here, and grew with the square of the length
