"""The same function for many things, in several processes, with a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing import get_context
from typing import Any, NamedTuple, TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Workforce(NamedTuple):
    """How many processes (1: only this one), and whether to show a bar."""

    workers: int = 1
    progress: bool = False

    def each(
        self, function: Callable[[_In], _Out], items: Sequence[_In], what: str, *, least: int = 64
    ) -> Iterator[_Out]:
        """``map`` in order; fewer than ``least`` items are not worth starting processes for."""
        if self.workers <= 1 or len(items) < least:
            yield from self._shown(map(function, items), len(items), what)
            return
        # spawn: forking a process with threads (a progress bar's monitor, a caller's torch) may dead-lock.
        with get_context("spawn").Pool(self.workers) as pool:
            yield from self._shown(pool.imap(function, items, chunksize=16), len(items), what)

    def _shown(self, results: Iterable[_Out], total: int, what: str) -> Iterator[_Out]:
        from tqdm import tqdm

        bar: Any = tqdm(results, total=total, desc=what, disable=not self.progress)
        yield from bar
