"""ROUGE-L as the PyPI package ``rouge`` 1.0.1 computes it, without its cost.

What that package does, found by observation and kept here because the published numbers depend on it:
a text is cut at every ``.`` and empty pieces go; a piece of nothing but white space stays and counts as
one empty word; words are what white space separates, with case and punctuation kept; every count is a
count of *unique* words; and a word counts as found once any pair of sentences has it in its LCS.
"""

from __future__ import annotations

from faba_bench.lcs import sentence_blocks


def rouge_l_reference(hypothesis: str, reference: str) -> float | None:
    """ROUGE-L F of an answer against its reference text, bit-equal to ``rouge`` 1.0.1.

    Returns a fraction in [0, 1), or None where the package raises: a text that is empty or holds nothing
    but full stops.  The package also runs into Python's recursion limit on sentences of several hundred
    words; this function returns there what the package returns under a higher limit.
    """
    ours = _sentences(hypothesis)
    theirs = _sentences(reference)
    if not ours or not theirs:
        return None
    found: set[str] = set()
    blocks = sentence_blocks(ours)
    for sentence in theirs:
        for block in blocks:
            block.collect(sentence, found)
    recall = len(found) / len({word for words in theirs for word in words})
    precision = len(found) / len({word for words in ours for word in words})
    return 2.0 * ((precision * recall) / (precision + recall + 1e-8))


def _sentences(text: str) -> list[list[str]]:
    return [piece.split() or [""] for piece in text.split(".") if piece]
