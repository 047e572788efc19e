"""Answers to a whole test set: batched greedy decoding in several processes, resumable.

The parent writes; each worker loads the model once and takes batches of questions from a queue.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llava_faba.errors import UserError
from llava_faba.inference.journal import AnswerJournal, answer_key, fingerprint
from llava_faba.inference.predict import DEFAULT_CONVERSATION

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class GenerateSettings:
    """What an answer depends on besides model, image and prompt, and how fast it is made.

    ``dtype``: "float32", "float16" or "bfloat16". ``store``: a priors store to read priors from; without it the model
    computes them. ``device``: "cpu" or "cuda"; with "cuda", worker k uses GPU k.
    """

    conversation: str = DEFAULT_CONVERSATION
    max_new_tokens: int = 512
    dtype: str = "float32"
    device: str = "cpu"
    store: str | None = None
    batch_size: int = 16
    workers: int = 1

    def key_parts(self) -> list[Any]:
        return [self.conversation, self.max_new_tokens, self.dtype, self.store is not None]


@dataclass(frozen=True)
class GenerateSummary:
    """``answered`` in this run, ``before`` by earlier ones, and the questions that failed (id, reason)."""

    answered: int
    before: int
    failures: list[tuple[str, str]]


def generate_answers(
    model_path: str,
    questions: Sequence[dict[str, Any]],
    image_folder: Path,
    answers_file: Path,
    settings: GenerateSettings,
    *,
    model_base: str | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> GenerateSummary:
    """Answer LLaVA questions and write LLaVA answer lines to ``answers_file``.

    An interrupted run goes on where it stopped. A question that fails (unreadable image, say) is recorded in
    ``<answers_file>.failures.jsonl`` and the others go on.
    Raises UserError when the file holds answers of another run, and when a worker process dies.
    """
    if overwrite:
        answers_file.unlink(missing_ok=True)
    model_id = Path(model_path).resolve().name
    prints = fingerprint(_model_folders(model_path, model_base))
    keys = {
        str(question["question_id"]): answer_key(
            image_folder / question["image"], [question["text"], prints, *settings.key_parts()]
        )
        for question in questions
    }
    with AnswerJournal(answers_file, keys) as journal:
        before = len(journal.done)
        open_questions = [q for q in questions if str(q["question_id"]) not in journal.done]
        failures: list[tuple[str, str]] = []
        if open_questions:
            job = _Job(model_path, model_base, str(image_folder), asdict(settings))
            by_id = {str(q["question_id"]): q for q in open_questions}
            for done, (question_id, text, error) in enumerate(_results(job, open_questions, settings), 1):
                if error is None:
                    journal.append(by_id[question_id], text, model_id, {"dtype": settings.dtype})
                else:
                    failures.append((question_id, error))
                if progress:
                    progress(before + done, len(questions))
    journal.sort([str(question["question_id"]) for question in questions])
    _write_failures(answers_file, failures)
    return GenerateSummary(len(open_questions) - len(failures), before, failures)


@dataclass(frozen=True)
class _Job:
    model_path: str
    model_base: str | None
    image_folder: str
    settings: dict[str, Any]


def _results(job: _Job, questions: list[dict[str, Any]], settings: GenerateSettings) -> Any:
    """(question id, text, error) of every question, in the order of completion."""
    # Similar lengths share a batch, and the longest prompts come first, so that memory runs out early or not at all.
    ordered = sorted(questions, key=lambda question: -len(question["text"]))
    size = settings.batch_size
    batches = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    context = multiprocessing.get_context("spawn")
    tasks, results = context.Queue(), context.Queue()
    count = min(settings.workers, len(batches))
    for batch in [*batches, *[None] * count]:
        tasks.put(batch)
    workers = [
        context.Process(target=_work, args=(index, count, job, tasks, results), daemon=True) for index in range(count)
    ]
    for worker in workers:
        worker.start()
    try:
        for _ in range(len(questions)):
            yield _next(results, workers)
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def _next(results: Any, workers: Sequence[Any]) -> tuple[str, str, str | None]:
    while True:
        try:
            result = results.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            dead = [worker.exitcode for worker in workers if worker.exitcode not in (None, 0)]
            if dead:
                raise UserError(
                    f"a worker process ended with exit code {dead[0]} (out of memory? try a smaller --batch-size or "
                    "fewer --workers); answers so far are kept, the same command goes on from there."
                ) from None
            continue
        if result[0] is None:
            raise UserError(result[2])
        return result


def _work(index: int, count: int, job: _Job, tasks: Any, results: Any) -> None:
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // count))
    try:
        answerer = _Answerer(index, job)
    except UserError as error:
        results.put((None, "", str(error)))
        return
    while (batch := tasks.get()) is not None:
        for result in answerer.answer(batch):
            results.put(result)


class _Answerer:
    """The model in one worker process."""

    def __init__(self, index: int, job: _Job) -> None:
        import torch

        from llava_faba.model.loading import load_model
        from llava_faba.priors.store import PriorStore

        self.settings = GenerateSettings(**job.settings)
        self.folder = Path(job.image_folder)
        device = f"cuda:{index}" if self.settings.device == "cuda" else self.settings.device
        dtype = getattr(torch, self.settings.dtype)
        self.loaded = load_model(job.model_path, job.model_base, device=device, dtype=dtype)
        self.store = PriorStore.open(self.settings.store) if self.settings.store else None

    def answer(self, batch: list[dict[str, Any]]) -> list[tuple[str, str, str | None]]:
        from llava_faba.inference.images import open_image

        results: list[tuple[str, str, str | None]] = []
        readable, pictures = [], []
        for question in batch:
            try:
                pictures.append(open_image(self.folder / question["image"]))
                readable.append(question)
            except UserError as error:
                results.append((str(question["question_id"]), "", str(error)))
        if readable:
            texts = self._texts(readable, pictures)
            results += [(str(q["question_id"]), text, None) for q, text in zip(readable, texts, strict=True)]
        return results

    def _texts(self, questions: list[dict[str, Any]], pictures: list[Any]) -> list[str]:
        import numpy as np
        import torch

        from llava_faba.inference.answer import answer_batch, preprocess
        from llava_faba.model.config import has_prior

        _, model, processor, _ = self.loaded
        priors = None
        if self.store is not None and has_prior(model.config):
            priors = torch.from_numpy(np.stack([self.store.get(q["image"]) for q in questions]))
        return answer_batch(
            self.loaded,
            preprocess(pictures, processor, model),
            [question["text"] for question in questions],
            priors,
            image_sizes=[picture.size for picture in pictures],
            conversation=self.settings.conversation,
            max_new_tokens=self.settings.max_new_tokens,
        )


def _model_folders(model_path: str, model_base: str | None) -> list[Path]:
    from llava_faba.model.checkpoints import inspect_checkpoint

    checkpoint = inspect_checkpoint(model_path)
    if not checkpoint.is_adapter:
        return [checkpoint.folder]
    return [checkpoint.folder, inspect_checkpoint(checkpoint.base(model_base)).folder]


def _write_failures(answers_file: Path, failures: list[tuple[str, str]]) -> None:
    path = answers_file.with_name(answers_file.name + ".failures.jsonl")
    path.unlink(missing_ok=True)
    if failures:
        lines = [json.dumps({"question_id": question, "error": error}) for question, error in failures]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
