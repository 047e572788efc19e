"""Progress on standard error, for workflows that report ``(done, total)``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

_SECONDS_BETWEEN_LINES = 30.0  # in a log, where a bar cannot be drawn over


class Bars:
    """A bar a stage, one after the other, each with rate and time left; called with ``(stage, done, total)``."""

    def __init__(self, units: dict[str, str], shown: bool = True) -> None:
        self._units, self._shown = units, shown
        self._stage: str | None = None
        self._bar: Any = None

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, stage: str, done: int, total: int) -> None:
        from tqdm import tqdm

        if stage != self._stage:
            self.__exit__()
            self._stage = stage
            self._bar = tqdm(
                desc=stage,
                total=total,
                initial=done,
                unit=self._units.get(stage, "it"),
                disable=not self._shown,
                mininterval=0.1 if sys.stderr.isatty() else _SECONDS_BETWEEN_LINES,
                file=sys.stderr,
            )
        if self._bar.total != total:
            self._bar.total = total
        self._bar.update(done - self._bar.n)


@contextlib.contextmanager
def progress_bar(title: str, unit: str, shown: bool = True) -> Iterator[Callable[[int, int], None]]:
    """One bar; yields the function to call with (done, total)."""
    with Bars({title: unit}, shown) as bars:
        yield lambda done, total: bars(title, done, total)
