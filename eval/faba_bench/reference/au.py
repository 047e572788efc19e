"""Action units as the authors' script reads them out of a text."""

from __future__ import annotations

import re
from collections.abc import Collection

from faba_bench.parsing import AUParse

_AU = re.compile(r"AU(\d+)")


def read_aus(text: str, vocabulary: Collection[int]) -> AUParse:
    """Numbers behind a capital "AU", kept when the number *as written* is in the vocabulary.

    "AU 4", "au4" and "AU04" are therefore not seen, and "AU4 is absent" is.  Each number once, in order of
    first mention.
    """
    written = {str(number) for number in vocabulary}
    numbers = dict.fromkeys(int(digits) for digits in _AU.findall(text) if digits in written)
    return AUParse(tuple(numbers), True, ", ".join(f"AU{number}" for number in numbers) or "no 'AU<number>'")
