"""How many cases were tried and what came of them; printed at the end, for docs/security.md."""

from __future__ import annotations

import atexit
import os
from collections import Counter
from pathlib import Path

_counts: Counter[tuple[str, str]] = Counter()


def count_case(what: str, outcome: str) -> None:
    if not _counts and os.environ.get("LLAVA_FABA_FUZZ_COUNTS"):
        atexit.register(_write)
    _counts[what, outcome] += 1


def _write() -> None:
    with Path(os.environ["LLAVA_FABA_FUZZ_COUNTS"]).open("a", encoding="utf-8") as file:
        for (what, outcome), number in sorted(_counts.items()):
            file.write(f"{what}: {outcome}: {number}\n")
