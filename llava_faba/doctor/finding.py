"""One line of the diagnosis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """What was found out about one thing.

    ``level``: "ok", "note" (something is missing that the main job can do without) or "error"; ``remedy`` says what to
    do; ``details`` holds the same as ``text`` for programs, JSON values only.
    """

    level: str
    name: str
    text: str
    remedy: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        mark = {"ok": "  ok  ", "note": " note ", "error": "ERROR "}[self.level]
        line = f"[{mark}] {self.name}: {self.text}"
        return line + (f"\n           -> {self.remedy}" if self.remedy else "")
