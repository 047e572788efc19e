"""Priors of a whole dataset: image files in, a store out; resumable at any moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_faba.errors import ExpertError, PriorError
from llava_faba.experts import PriorExpert, create_expert
from llava_faba.priors.content import Sameness
from llava_faba.priors.layout import key_of
from llava_faba.priors.problems import write_problems
from llava_faba.priors.reading import reading_settings
from llava_faba.priors.store import PriorStore
from llava_faba.priors.verify import Identity, compare_pictures
from llava_faba.priors.workers import ReadAndExtract, ReadAndPrepare, logged, rows, run_in_order, traced
from llava_faba.priors.writer import PriorStoreWriter, Row

_WRITE_EVERY = 0.5
"""Seconds between writes: what a kill can cost at most, and few enough syncs for a fast GPU."""
_WRITE_ROWS = 4096
_FEW = 20
"""So many pictures may change without a question; above it, most of a store's must not."""
_SMALL_CHUNK = 8
"""Images per task for experts that run in workers: enough to hide the hand-over, few enough to end together."""


@dataclass(frozen=True)
class Summary:
    """What an extraction did.

    ``processed``: images done by this run, ``changed`` of them again, because the picture is another one than the
    store's prior was made from; ``before``: images asked for that were in the store already, of these ``unknown`` ones
    of which an older store cannot tell whether the picture is the same, and ``gone`` ones whose file is no longer
    there; ``counts``: images of the whole store per status; ``problems``: the list of all images without exactly one
    face; ``seconds``: the time of this run.
    """

    store: Path
    processed: int
    before: int
    counts: dict[str, int]
    problems: Path
    seconds: float
    changed: int = 0
    unknown: int = 0
    gone: int = 0


def extract(
    images: Sequence[str],
    image_folder: Path,
    out: Path,
    *,
    expert: str | PriorExpert,
    settings: dict[str, Any] | None = None,
    batch_size: int = 32,
    workers: int = 1,
    replace: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Compute the priors of ``images`` and add them to the store ``out``, which is made when absent.

    ``images``: paths relative to ``image_folder``, the keys of the store; a name given twice counts once. What the
    store has is not done again, unless the file is another one than the prior was made from (by its SHA-256, see
    ``content``). ``replace``: also where most pictures are other ones, which is refused otherwise, and where an older
    store cannot tell. ``expert``: a name with ``settings``, or an expert that was made before.
    ``batch_size``: images per call of an expert that runs in batches. ``workers``: processes that decode, and run
    the expert if that lives on the CPU; above 1 they are spawned, so a script of your own needs the usual
    ``if __name__ == "__main__"``. ``progress``: called with (images done, images in all).

    An image that cannot be read, or that the expert fails on, is a row with the status "unreadable" and a note.

    Raises ExpertError (unknown expert, no weights, one that fails on everything; a library's traceback is in
    ``OUT.errors.log`` then, beside the store) and PriorError (a store of another
    expert or other pictures, in use, or damaged; a batch size or number of workers below 1).
    """
    began = time.monotonic()
    for what, number in (("batch size", batch_size), ("number of workers", workers)):
        if number < 1:
            raise PriorError(f"the {what} is {number}; it must be 1 or more.")
    made = create_expert(expert, settings) if isinstance(expert, str) else expert
    _check_can_extract(made)
    made.load()
    names = list(dict.fromkeys(key_of(image) for image in images))
    with PriorStoreWriter(
        out,
        expert=made.name,
        version=made.version,
        settings=made.settings,
        size=made.size,
        reading=reading_settings(),
    ) as writer:
        held = compare_pictures(writer.before, [name for name in names if name in writer], image_folder)
        again = _again(writer.before, held, replace)
        todo = [name for name in names if name not in writer or name in again]
        before = len(names) - len(todo)
        report = progress or _silent
        report(before, len(names))
        blocks = _row_blocks(todo, Path(image_folder), made, batch_size, workers)
        with logged(Path(f"{Path(out)}.errors.log")):
            processed = _write(blocks, writer, lambda written: report(before + written, len(names)))
    with PriorStore.open(out) as store:
        counts, problems = store.counts(), write_problems(store)
    unknown = 0 if replace else held.counts[Sameness.UNKNOWN]
    seconds, gone = time.monotonic() - began, held.counts[Sameness.GONE]
    return Summary(Path(out), processed, before, counts, problems, seconds, len(again), unknown, gone)


def _again(store: PriorStore, held: Identity, replace: bool) -> set[str]:
    """The images to do again. Raises PriorError when the store seems to be another dataset's."""
    changed = held.names.get(Sameness.CHANGED, [])
    if not replace and len(changed) > max(_FEW, sum(held.counts.values()) // 2):
        raise PriorError(
            f"{store.path}: {len(changed)} of {sum(held.counts.values())} pictures are not those that its priors were "
            f"made from: {held.shown(Sameness.CHANGED)}. It belongs to another dataset with equal names, or to one "
            "whose pictures were replaced: choose another --out, or extract them again with --replace."
        )
    return {*changed, *(held.names.get(Sameness.UNKNOWN, []) if replace else [])}


def _row_blocks(
    names: Sequence[str], folder: Path, expert: PriorExpert, batch_size: int, workers: int
) -> Iterator[list[Row]]:
    if expert.in_workers:
        job = ReadAndExtract(folder, expert)
        yield from run_in_order(job, names, chunk=min(batch_size, _SMALL_CHUNK), workers=workers)
        return
    decode = ReadAndPrepare(folder, expert.preparer())
    for prepared in run_in_order(decode, names, chunk=batch_size, workers=workers):
        with traced():
            made = rows(prepared, expert)
        yield made


def _write(blocks: Iterable[list[Row]], writer: PriorStoreWriter, report: Callable[[int], None]) -> int:
    """Write blocks every now and then; what is done when they fail or are interrupted is written as well.

    Returns how many rows there were.
    """
    waiting: list[Row] = []
    written, last = 0, time.monotonic()
    try:
        for block in blocks:
            waiting += block
            if time.monotonic() - last >= _WRITE_EVERY or len(waiting) >= _WRITE_ROWS:
                batch, waiting = waiting, []
                writer.append(batch, replacing=True)
                written, last = written + len(batch), time.monotonic()
                report(written)
    finally:
        writer.append(waiting, replacing=True)
        written += len(waiting)
        report(written)
    return written


def _check_can_extract(expert: PriorExpert) -> None:
    if expert.name == "precomputed":
        raise ExpertError(
            "the expert 'precomputed' stands for priors made elsewhere and cannot make any: choose another expert, "
            "or bring .npy files into a store with 'llava-faba priors import'."
        )


def _silent(done: int, total: int) -> None:
    pass
