"""Several processes that answer: each loads the model once and takes batches of questions from a queue."""

from __future__ import annotations

import multiprocessing
import queue
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llava_faba.compat.package_versions import remembered_package_versions
from llava_faba.errors import UserError
from llava_faba.inference.settings import GenerateSettings
from llava_faba.watchdog import end_with_parent

if TYPE_CHECKING:
    from llava_faba.inference.engines.base import BatchEngine, Result

_POLL_SECONDS = 1.0
_END_SECONDS = 20.0


@dataclass(frozen=True)
class Job:
    """What every worker does."""

    model_path: str
    model_base: str | None
    image_folder: str
    settings: GenerateSettings


@dataclass(frozen=True)
class Failure:
    """What ended a worker: an error of ours as its text, any other as its name, text and traceback."""

    error: str
    trace: str = ""


def answer_in_processes(job: Job, questions: Sequence[dict[str, Any]], log: Path) -> Iterator[Result]:
    """The result of every question, in the order of completion.

    Raises UserError when the model cannot be loaded, when a worker ends with an error (which is named, its traceback
    written to ``log``), and when it is killed.
    """
    batches = batches_by_length(questions, job.settings.batch_size)
    context = multiprocessing.get_context("spawn")
    tasks, results = context.Queue(), context.Queue()
    count = min(job.settings.workers, len(batches))
    for batch in [*batches, *[None] * count]:
        tasks.put(batch)
    workers = [
        context.Process(target=_work, args=(index, count, job, tasks, results), daemon=True) for index in range(count)
    ]
    for worker in workers:
        worker.start()
    try:
        for _ in range(len(questions)):
            yield _next(results, workers, log)
        for worker in workers:  # they have nothing left to do and end by themselves
            worker.join(_END_SECONDS)
    finally:
        tasks.cancel_join_thread()  # after an error nobody reads what is left in it
        for worker in workers:
            worker.terminate()
            worker.join()


def batches_by_length(questions: Sequence[dict[str, Any]], size: int) -> list[list[dict[str, Any]]]:
    """Similar lengths share a batch, and the longest come first, so that memory runs out early or not at all."""
    ordered = sorted(questions, key=lambda question: -len(question["text"]))
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def write_log(log: Path, where: str, trace: str) -> None:
    """Add a traceback to a log file."""
    with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"{where}\n{trace}\n")


def _next(results: Any, workers: Sequence[Any], log: Path) -> Result:
    while True:
        try:
            result = results.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            dead = [worker.exitcode for worker in workers if worker.exitcode not in (None, 0)]
            if dead:
                raise UserError(
                    f"a worker process {_how(dead[0])}; answers so far are kept, the same command resumes from there."
                ) from None
            continue
        if isinstance(result, Failure):
            if not result.trace:
                raise UserError(result.error)
            write_log(log, "a worker process", result.trace)
            raise UserError(f"a worker process failed: {result.error} (traceback in {log}).")
        return result


def _how(code: int) -> str:
    """How a process ended that said nothing itself."""
    if code == -signal.SIGKILL:
        return f"ended with exit code {code}: it was killed (for memory? try a smaller --batch-size or fewer --workers)"
    if code < 0:
        return f"was ended by the signal {signal.Signals(-code).name}; what it printed before is above"
    return f"ended with exit code {code}; what it printed before is above"


def _work(index: int, count: int, job: Job, tasks: Any, results: Any) -> None:
    end_with_parent()
    try:
        _answer(index, count, job, tasks, results)
    except UserError as error:
        results.put(Failure(str(error)))
    except Exception as error:
        results.put(Failure(f"{type(error).__name__}: {error}", traceback.format_exc()))


def _answer(index: int, count: int, job: Job, tasks: Any, results: Any) -> None:
    import torch

    torch.set_num_threads(max(1, torch.get_num_threads() // count))
    engine = batch_engine(job.settings.engine)(
        job.model_path, job.model_base, job.image_folder, job.settings, gpu=index
    )
    with remembered_package_versions():
        for result in engine.answer_all(iter(tasks.get, None)):
            results.put(result)


def batch_engine(name: str | None) -> Callable[..., BatchEngine[Any]]:
    """The class of an engine that holds its model in this process: "llava", or "transformers" for native folders."""
    if name in (None, "llava"):
        from llava_faba.inference.answering import Answerer

        return Answerer
    from llava_faba.inference.engines.native import NativeEngine

    return NativeEngine
