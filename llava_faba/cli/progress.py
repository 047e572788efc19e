"""Progress on a terminal, for workflows that report ``(done, total)``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_bar(title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with rate and time left; yields the function to call with (done, total)."""
    from tqdm import tqdm

    with tqdm(desc=title, unit=unit) as bar:

        def progress(done: int, total: int) -> None:
            if bar.total != total:
                bar.reset(total)
            bar.update(done - bar.n)

        yield progress
