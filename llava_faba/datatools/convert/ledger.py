"""Every row of a label table is used or left out for a reason that is counted; the sums add up.

Rows that speak of the same image or frame are one sample: where they agree, one is used and the others are counted;
where they contradict each other, that is an error, or settled by ``--duplicates`` and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from llava_faba.errors import UserError

Sample = TypeVar("Sample")

POLICIES = ("error", "first", "last", "drop")
_SHOWN = 5


@dataclass(frozen=True)  # a generic NamedTuple needs Python 3.11
class _Row(Generic[Sample]):
    where: str
    codes: Hashable
    outcome: Sample | str


@dataclass
class Ledger(Generic[Sample]):
    """Counts rows of one conversion. ``policy`` is ``--duplicates``.

    ``read`` rows are ``used`` or ``left_out`` (rows by reason). ``items`` is what people are told was left out: the
    same counts, except that a sequence or person who is missing as a whole counts once there.
    """

    policy: str = "error"
    unit: str = "rows"
    read: int = 0
    used: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)
    _rows: dict[Hashable, list[_Row[Sample]]] = field(default_factory=dict, repr=False)

    def add(self, key: Hashable, where: str, codes: Hashable, outcome: Sample | str) -> None:
        """One row about ``key``: what it says, and the sample that it gives or the reason why it gives none."""
        self.read += 1
        self._rows.setdefault(key, []).append(_Row(where, codes, outcome))

    def leave_out(self, reason: str, rows: int = 1) -> None:
        """Rows without a key, such as those of a class that was not asked for."""
        self.read += rows
        self.left_out[reason] += rows
        self.items[reason] += rows

    def skip(self, reason: str, rows: int) -> None:
        """A sequence or person who is missing as a whole, and how many labelled rows that costs."""
        self.read += rows
        if rows:
            self.left_out[reason] += rows
        self.items[reason] += 1

    def settle(self) -> list[Sample]:
        """The samples of all rows since the last call, in the order in which their keys first came.

        Raises ``UserError`` that names the rows which contradict each other, unless ``policy`` says whom to believe.
        """
        contradicting = [own for own in self._rows.values() if len({row.codes for row in own}) > 1]
        if contradicting and self.policy == "error":
            shown = [_contrast(own) for own in contradicting[:_SHOWN]]
            more = f"\n  ... and {len(contradicting) - _SHOWN} more" if len(contradicting) > _SHOWN else ""
            raise UserError(
                f"{len(contradicting)} image(s) have rows that contradict each other:\n  "
                + "\n  ".join(shown)
                + f"{more}\nCorrect the labels, or say which row counts: --duplicates first, last, or drop (none)"
            )
        samples = [sample for own in self._rows.values() if (sample := self._settled(own)) is not None]
        self._rows.clear()
        return samples

    def _settled(self, own: list[_Row[Sample]]) -> Sample | None:
        if len(own) > 1 and len({row.codes for row in own}) == 1:
            self._count("named twice, with the same label", len(own) - 1)
            own = own[:1]
        elif len(own) > 1 and self.policy == "drop":
            self._count("rows contradict each other (--duplicates drop)", len(own))
            return None
        elif len(own) > 1:
            self._count(f"contradicted by another row (--duplicates {self.policy})", len(own) - 1)
            own = own[:1] if self.policy == "first" else own[-1:]
        outcome = own[0].outcome
        if isinstance(outcome, str):
            self._count(outcome, 1)
            return None
        self.used += 1
        return outcome

    def _count(self, reason: str, rows: int) -> None:
        self.left_out[reason] += rows
        self.items[reason] += rows

    def move(self, reason: str, rows: int = 1) -> None:
        """Samples that were used so far and are left out after all."""
        self.used -= rows
        self._count(reason, rows)

    @property
    def adds_up(self) -> bool:
        return self.read == self.used + sum(self.left_out.values())


def _contrast(own: list[_Row[Sample]]) -> str:
    """Where the rows stand and what they say, as far as they differ; codes are a text, or pairs of AU and code."""
    agreed = set.intersection(*(set(row.codes) if isinstance(row.codes, tuple) else set() for row in own))
    said = []
    for row in own:
        parts = [part for part in row.codes if part not in agreed] if isinstance(row.codes, tuple) else [row.codes]
        words = [f"AU{part[0]}: {part[1]}" if isinstance(part, tuple) else str(part) for part in parts]
        said.append(f"{row.where} ({', '.join(words[:6])})".replace("None", "not coded"))
    return " and ".join(said)
