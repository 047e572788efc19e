"""How many cases were tried and what came of them; printed at the end of a run, for docs/security.md.

Several processes count (pytest-xdist): each adds its counts to the file that ``LLAVA_FABA_FUZZ_COUNTS`` names.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

VARIABLE = "LLAVA_FABA_FUZZ_COUNTS"
_counts: Counter[tuple[str, str]] = Counter()


def count_case(what: str, outcome: str) -> None:
    _counts[what, outcome] += 1


def write_counts() -> None:
    """At the end of a process."""
    if _counts and VARIABLE in os.environ:
        with Path(os.environ[VARIABLE]).open("a", encoding="utf-8") as file:
            file.writelines(f"{what}\t{outcome}\t{number}\n" for (what, outcome), number in sorted(_counts.items()))
        _counts.clear()


def summary(path: Path) -> list[str]:
    """A line for each kind: "checkpoints: 268 cases, 216 refused, 52 same answer"."""
    found: dict[str, Counter[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        what, outcome, number = line.split("\t")
        found.setdefault(what, Counter())[outcome] += int(number)
    return [
        f"{what}: {counts.total()} cases, " + ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
        for what, counts in sorted(found.items())
    ]
