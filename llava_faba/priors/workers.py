"""The processes that decode pictures, and with experts that live on the CPU compute the priors too.

Results come back in the order of the images whatever the number of processes, so that the same images make the same
store. At most a few chunks per process are under way, so memory does not grow with the number of images.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from llava_faba.errors import ExpertError, UserError
from llava_faba.experts import Picture, PriorExpert, PriorStatus
from llava_faba.priors.content import Content
from llava_faba.priors.reading import read_picture
from llava_faba.priors.writer import Row
from llava_faba.watchdog import end_with_parent

_NO_START = "a worker process of the extraction could not start: {}"
_CHUNKS_UNDER_WAY = 3  # per process: one at work, one waiting, one on its way back


@dataclass(frozen=True)
class Prepared:
    """One image as a worker hands it to the parent: the expert's input, or None for an unreadable file."""

    image: str
    item: Any
    size: tuple[int, int]
    note: str
    content: Content | None


class ReadAndPrepare:
    """The job of a worker for an expert that runs in the parent, in batches."""

    def __init__(self, folder: Path, prepare: Callable[[Picture], Any]) -> None:
        self.folder, self.prepare = folder, prepare

    def start(self) -> None:
        """Called once in each worker process."""

    def __call__(self, images: Sequence[str]) -> list[Prepared]:
        prepared = []
        for image in images:
            reading = read_picture(self.folder / image)
            item = None if reading.picture is None else self.prepare(reading.picture)
            prepared.append(Prepared(image, item, reading.size, reading.note, reading.content))
        return prepared


class ReadAndExtract:
    """The job of a worker that runs the expert itself; each process makes its own."""

    def __init__(self, folder: Path, expert: PriorExpert) -> None:
        self.folder = folder
        self._make = expert.maker()
        self._expert: PriorExpert | None = expert

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_expert": None}

    @property
    def expert(self) -> PriorExpert:
        if self._expert is None:
            self._expert = self._make()
        return self._expert

    def start(self) -> None:
        """Make the expert, once in each worker process."""
        _ = self.expert

    def __call__(self, images: Sequence[str]) -> list[Row]:
        return rows(ReadAndPrepare(self.folder, self.expert.preparer())(images), self.expert)


class Traced(Exception):
    """What ended the work, as ``args``: a text, and a library's traceback, which does not leave a process otherwise."""


@contextlib.contextmanager
def traced() -> Iterator[None]:
    """Turn a library's exception, and one of ours that a library's has caused, into ``Traced``."""
    try:
        yield
    except UserError as error:
        if error.__cause__ is None:
            raise
        raise Traced(str(error), traceback.format_exc()) from None
    except (OSError, MemoryError, Traced):
        raise
    except Exception as error:
        raise Traced(f"{type(error).__name__}: {error}", traceback.format_exc()) from None


@contextlib.contextmanager
def logged(log: Path) -> Iterator[None]:
    """Write the traceback of a ``Traced`` to the end of ``log`` and raise ExpertError, which names that file."""
    try:
        yield
    except Traced as error:
        text, trace = error.args
        with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{text}\n{trace}\n")
        raise ExpertError(f"{text} (traceback in {log})") from None


def rows(prepared: Sequence[Prepared], expert: PriorExpert) -> list[Row]:
    """Run the expert on what could be read; one row per image, in order.

    An image that the expert fails on is "unreadable" with the reason. Raises ExpertError when the expert fails on a
    plain grey picture as well: then it is not the image's fault.
    """
    readable = [one for one in prepared if one.item is not None]
    try:
        found = iter(_rows_of_batch(readable, expert))
    except Exception as error:
        found = iter(_rows_one_by_one(readable, expert, error))
    return [
        Row(one.image, None, PriorStatus.UNREADABLE.value, one.size, one.note, one.content)
        if one.item is None
        else next(found)
        for one in prepared
    ]


def _rows_of_batch(readable: Sequence[Prepared], expert: PriorExpert) -> list[Row]:
    if not readable:
        return []
    result = expert.extract_prepared([one.item for one in readable])
    return [
        _row(one, feature, status)
        for one, feature, status in zip(readable, result.features, result.statuses, strict=True)
    ]


def _row(one: Prepared, feature: np.ndarray, status: PriorStatus) -> Row:
    if np.isfinite(feature).all():
        return Row(one.image, feature, status.value, one.size, one.note, one.content)
    return _failed(one, "numbers that are not finite")


def _rows_one_by_one(readable: Sequence[Prepared], expert: PriorExpert, error: Exception) -> list[Row]:
    """After a batch failed: one odd image, or one too many for the memory, must not stop the others."""
    made: list[Row] = []
    for one in readable:
        try:
            made += _rows_of_batch([one], expert)
        except Exception as reason:
            _check_works(expert, readable, error)
            made.append(_failed(one, f"{type(reason).__name__}: {reason}"))
    return made


def _check_works(expert: PriorExpert, readable: Sequence[Prepared], error: Exception) -> None:
    grey = Picture.whole(np.full((256, 256, 3), 128, np.uint8))
    try:
        expert.extract_prepared([expert.preparer()(grey)])
    except Exception:
        raise ExpertError(
            f"facial prior expert '{expert.name}' fails on every picture ({type(error).__name__}: {error}), first on "
            f"these images: {', '.join(one.image for one in readable)}"
        ) from error


def _failed(one: Prepared, reason: str) -> Row:
    note = "; ".join(filter(None, (one.note, f"the expert failed on it: {reason}")))
    return Row(one.image, None, PriorStatus.UNREADABLE.value, one.size, note, one.content)


def run_in_order(
    job: ReadAndPrepare | ReadAndExtract, images: Iterable[str], *, chunk: int, workers: int
) -> Iterator[list[Any]]:
    """``job`` over chunks of ``images``, in their order; with one worker in this process."""
    chunks = _chunked(images, chunk)
    if workers <= 1:
        for names in chunks:
            with traced():
                done = job(names)
            yield done
        return
    # Not forked: a forked child of a process that uses torch's threads or a GPU can hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(job,))
    under_way: deque[tuple[list[str], Future[list[Any]]]] = deque()
    try:
        for names in chunks:
            under_way.append((names, pool.submit(_do, names)))
            if len(under_way) >= workers * _CHUNKS_UNDER_WAY:
                yield _result(*under_way.popleft())
        while under_way:
            yield _result(*under_way.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _result(names: list[str], future: Future[list[Any]]) -> list[Any]:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise ExpertError(
            "a worker process of the extraction died (out of memory, or killed) at or soon after these images: "
            f"{', '.join(names)}. What was done so far is in the store: use fewer workers, or move the image that "
            "does it out of the way, and run the same command again."
        ) from error


def _chunked(images: Iterable[str], size: int) -> Iterator[list[str]]:
    source = iter(images)
    while chunk := list(islice(source, size)):
        yield chunk


_job: ReadAndPrepare | ReadAndExtract | None = None
_failure: Exception | None = None


def _start(job: ReadAndPrepare | ReadAndExtract) -> None:
    """In each worker process. What goes wrong is kept for the first chunk: raised here, it only looks like a crash."""
    global _job, _failure
    end_with_parent()
    try:
        job.start()
    except UserError as error:
        _failure = ExpertError(_NO_START.format(error))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} ({where.filename}, line {where.lineno})"
        _failure = Traced(_NO_START.format(text), traceback.format_exc())
    _job = job


def _do(names: list[str]) -> list[Any]:
    if _failure is not None:
        raise _failure
    if _job is None:
        raise RuntimeError("the worker was not started")
    with traced():
        return _job(names)
