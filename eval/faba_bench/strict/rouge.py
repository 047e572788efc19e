"""ROUGE-L F as the `rouge-score` package defines it.

The words come from that package's own tokeniser (lower case, letters and digits only, no stemming).  The
longest common subsequence is computed bit-parallel: same integer, but neither a table of all pairs nor
minutes for an answer of a million words.  The tests compare with the package bit for bit.
"""

from __future__ import annotations

from rouge_score.tokenize import tokenize

from faba_bench.lcs import lcs_length


def rouge_l_strict(hypothesis: str, reference: str) -> float:
    """ROUGE-L F of an answer against its reference, in [0, 1]; 0 when either has no words."""
    ours = tokenize(hypothesis, None)
    theirs = tokenize(reference, None)
    common = lcs_length(theirs, ours)
    if not common:
        return 0.0
    precision = common / len(ours)
    recall = common / len(theirs)
    return 2 * precision * recall / (precision + recall)


def has_rouge(reference: str) -> bool:
    """Whether the package's words (Latin letters and digits) can compare with this reference text.

    Chinese, Arabic and the like hold none: an equal text would score 0, and one shared number 100.  Text in which less
    than half of the letters are Latin has no value.
    """
    if reference.isascii():
        return True
    letters = [letter for letter in reference if letter.isalpha()]
    latin = sum(letter < "\u0250" for letter in letters)
    return 2 * latin >= len(letters)
