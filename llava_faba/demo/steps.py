"""Steps that are done once: each leaves a stamp with what it was done for, and is skipped while that still holds.

A step that was begun for the same thing and not finished is told so, and may go on from what it left.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Progress = Callable[[int, int], None]


class Steps:
    """The steps of one demo folder, in order.

    ``total``: how many there will be, for the numbering on screen. ``after``: the ``chain`` of steps that these build
    on; a step is done again when it, or anything before it, was done for something else.
    """

    def __init__(self, folder: Path, total: int, after: str = "") -> None:
        self._folder, self._total, self._number = folder, total, 0
        self.chain = after
        self.seconds: dict[str, float] = {}
        self.interrupted = False

    def run(self, name: str, title: str, depends: Any, action: Callable[[Progress], None]) -> None:
        """Do a step unless its stamp says that it was done with the same ``depends`` and the same steps before it.

        While ``action`` runs, ``interrupted`` says whether it was begun before with the same and never finished.
        """
        self._number += 1
        head = f"[{self._number}/{self._total}] {title}"
        print(head, flush=True)
        self.chain = hashlib.sha256((self.chain + json.dumps([name, depends], default=str)).encode()).hexdigest()
        stamp = self._folder / f"{name}.json"
        known = json.loads(stamp.read_text(encoding="utf-8")) if stamp.exists() else {}
        self.interrupted = known.get("chain") == self.chain
        if self.interrupted and "seconds" in known:
            self.seconds[name] = known["seconds"]
            print(f"      done before, in {known['seconds']:.0f} s", flush=True)
            return
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(json.dumps({"chain": self.chain}), encoding="utf-8")
        start = time.monotonic()
        action(_Line(start))
        self.seconds[name] = time.monotonic() - start
        stamp.write_text(json.dumps({"chain": self.chain, "seconds": self.seconds[name]}), encoding="utf-8")
        _Line.clear()
        print(f"      done in {self.seconds[name]:.0f} s", flush=True)


class _Line:
    """One line of progress, rewritten in place on a terminal and printed every quarter elsewhere."""

    def __init__(self, start: float) -> None:
        self._start, self._quarter = start, 0

    def __call__(self, done: int, total: int) -> None:
        elapsed = time.monotonic() - self._start
        left = elapsed / max(done, 1) * (total - done)
        text = f"      {done}/{total}, {elapsed:.0f} s, about {left:.0f} s left"
        if sys.stdout.isatty():
            print(f"\r{text:<70}", end="", flush=True)
        elif total and done * 4 // total > self._quarter:
            self._quarter = done * 4 // total
            print(text, flush=True)

    @staticmethod
    def clear() -> None:
        if sys.stdout.isatty():
            print("\r" + " " * 70 + "\r", end="")
