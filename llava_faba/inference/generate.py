"""Answers to a whole test set: batched greedy decoding in several processes, resumable.

The parent writes the answers file; the workers (``workers``) hold the model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from faba_bench.files.atomic import write_text

from llava_faba.errors import RecordError, UserError
from llava_faba.images import MISSING, ImageFolder
from llava_faba.inference.conversations import choose_template
from llava_faba.inference.engines.base import Result
from llava_faba.inference.engines.kinds import choose_engine, native_config, native_folders
from llava_faba.inference.journal import AnswerJournal
from llava_faba.inference.keys import answer_key
from llava_faba.inference.label_scores import LabelQuestions
from llava_faba.inference.settings import GenerateSettings
from llava_faba.inference.workers import Job, answer_in_processes, write_log
from llava_faba.model.fingerprint import fingerprint, model_folders
from llava_faba.records.questions import check_questions

__all__ = ["GenerateSettings", "GenerateSummary", "generate_answers"]


@dataclass(frozen=True)
class GenerateSummary:
    """``answered`` in this run, ``before`` by earlier ones, and the questions that failed (id, reason).

    ``cut``: questions whose answers, of this run or an earlier one, ``max_new_tokens`` cut off. ``note``: what is worth
    saying of the conversation template. ``log``: where the tracebacks of failures are that are no ``UserError``.
    """

    answered: int
    before: int
    failures: list[tuple[str, str]]
    cut: list[str] = field(default_factory=list)
    note: str = ""
    log: Path | None = None


def generate_answers(
    model_path: str,
    questions: Sequence[dict[str, Any]],
    image_folder: Path,
    answers_file: Path,
    settings: GenerateSettings,
    *,
    model_base: str | None = None,
    overwrite: bool = False,
    allow_outside: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> GenerateSummary:
    """Answer LLaVA questions and write LLaVA answer lines to ``answers_file``, in the questions' order at the end.

    An interrupted run resumes where it stopped. A question that fails (unreadable image, say) is recorded in
    ``<answers_file>.failures.jsonl`` and the others go on; the next run tries it again.
    ``allow_outside`` takes images that lie outside ``image_folder``; else they are an error before the model is loaded.
    Raises UserError when the file holds answers of another run or another process writes to it, when the model cannot
    be loaded, and when a worker process or the server dies; RecordError for questions that are none.
    """
    check_questions(questions)
    _check_image_paths(questions, ImageFolder(image_folder, allow_outside=allow_outside))
    settings, note = _settled(settings, model_path)
    _check_scores(settings, questions)
    log = answers_file.with_name(answers_file.name + ".errors.log")
    log.unlink(missing_ok=True)
    model = fingerprint(_folders(model_path, model_base))
    keys = _keys(model, questions, image_folder, settings)
    model_id = Path(model_path).resolve().name
    failures: list[tuple[str, str]] = []
    with AnswerJournal(answers_file, keys, overwrite=overwrite) as journal:
        before = len(journal.done)
        if progress:
            progress(before, len(questions))
        left = [question for question in questions if str(question["question_id"]) not in journal.done]
        by_id = {str(question["question_id"]): question for question in left}
        job = Job(model_path, model_base, str(image_folder), settings)
        for done, result in enumerate(_results(job, left, log), before + 1):
            if result.error is None:
                reason = "length" if result.is_cut else "stop"
                metadata = {"dtype": settings.dtype, "token_ids": list(result.token_ids), "finish_reason": reason}
                metadata["model_sha256"] = model
                if result.prior_status is not None:
                    metadata["prior_status"] = result.prior_status
                journal.append(by_id[result.question_id], result.text, model_id, metadata, _more(result))
            else:
                failures.append((result.question_id, result.error))
                if result.trace:
                    write_log(log, f"question {result.question_id}", result.trace)
            if progress:
                progress(done, len(questions))
        cut = journal.sort([str(question["question_id"]) for question in questions])
    _write_failures(answers_file, failures)
    answered = len(left) - len(failures)
    return GenerateSummary(answered, before, failures, cut, note, log if log.exists() else None)


def _settled(settings: GenerateSettings, model_path: str) -> tuple[GenerateSettings, str]:
    """The settings with their engine and conversation named, and what is worth saying of the latter."""
    engine = choose_engine(settings.engine, model_path)
    _check_engine_settings(settings, engine)
    if engine == "llava":
        from llava_faba.model.checkpoints import inspect_checkpoint

        template = choose_template(inspect_checkpoint(model_path).config, settings.conversation)
        return replace(settings, engine=engine, conversation=template.name), template.note
    if settings.conversation is not None:
        raise UserError(f"--conv-mode: a folder of transformers brings its own chat template ({model_path}).")
    return replace(settings, engine=engine), ""


def _check_engine_settings(settings: GenerateSettings, engine: str) -> None:
    if engine == "vllm":
        if settings.workers > 1:
            raise UserError("--workers: vLLM has processes of its own; take --data-parallel-size.")
        if settings.endpoint is not None and (settings.tensor_parallel, settings.data_parallel) != (1, 1):
            raise UserError("--endpoint: its server was started with parallel sizes of its own; leave them out.")
        return
    for flag, value in (
        ("--endpoint", settings.endpoint is not None),
        ("--tensor-parallel-size", settings.tensor_parallel > 1),
        ("--data-parallel-size", settings.data_parallel > 1),
    ):
        if value:
            raise UserError(f"{flag} is for --engine vllm; this run takes the engine {engine}.")


def _more(result: Result) -> dict[str, Any]:
    """What an answer's line holds besides, where it was asked for."""
    found: dict[str, Any] = {} if result.scores is None else {"scores": result.scores}
    return found | ({"samples": list(result.samples)} if result.samples else {})


def _check_scores(settings: GenerateSettings, questions: Sequence[dict[str, Any]]) -> None:
    """Raise UserError where scores were asked for that this engine, template or question cannot have."""
    if settings.samples and settings.engine == "vllm":
        raise UserError("--samples: vLLM's server is not asked for them; take --engine transformers.")
    if settings.label_scores is None:
        return
    if settings.engine == "vllm":
        raise UserError(
            "--label-scores: vLLM's server is not asked for them; take --engine transformers, which reads the same "
            "folder."
        )
    if settings.engine == "llava" and settings.conversation is not None:
        from llava_faba.inference.llava_reader import check_can_score

        check_can_score(settings.conversation)
    asked = LabelQuestions(settings.label_scores)
    for text in dict.fromkeys(question["text"] for question in questions):
        asked.of(text)


def _results(job: Job, questions: Sequence[dict[str, Any]], log: Path) -> Iterator[Result]:
    if not questions:
        return iter(())
    if job.settings.engine == "vllm":
        from llava_faba.inference.engines.server import answer_with_server

        return answer_with_server(job.model_path, job.image_folder, job.settings, questions, log)
    return answer_in_processes(job, questions, log)


def _folders(model_path: str, model_base: str | None) -> list[Path]:
    if native_config(model_path) is not None:
        return native_folders(model_path)
    return model_folders(model_path, model_base)


def _keys(
    model: str,
    questions: Sequence[dict[str, Any]],
    image_folder: Path,
    settings: GenerateSettings,
) -> dict[str, str]:
    """Question id (as text) to the key of its answer by ``model``, a fingerprint."""
    from llava_faba.priors.store import PriorStore
    from llava_faba.priors.verify import check_pictures

    store = PriorStore.open(settings.store) if settings.store else None
    if store is not None:
        check_pictures(store, [question["image"] for question in questions], image_folder)
    # Before decision 63 LLaVA's engine computed priors from what the tower sees: such an answer is not taken over.
    computed = b"of the picture" if settings.engine in (None, "llava") else b""
    keys = {}
    for question in questions:
        image = question["image"]
        prior = store.get(image).tobytes() if store is not None and image in store else computed
        parts = [question["text"], model, *settings.key_parts()]
        keys[str(question["question_id"])] = answer_key(image_folder / image, parts, prior)
    return keys


def _check_image_paths(questions: Sequence[dict[str, Any]], folder: ImageFolder) -> None:
    """Raise RecordError naming the questions whose image is no regular file inside ``folder``.

    A missing one is no reason to stop: it fails alone when its turn comes.
    """
    wrong = []
    for question in questions:
        try:
            folder.check(question["image"])
        except RecordError as error:
            if not str(error).startswith(MISSING):
                wrong.append(f"question {question['question_id']}: {error}")
    if wrong:
        more = f"\n  ... and {len(wrong) - 20} more" if len(wrong) > 20 else ""
        raise RecordError("images that are not read:\n  " + "\n  ".join(wrong[:20]) + more)


def _write_failures(answers_file: Path, failures: list[tuple[str, str]]) -> None:
    path = answers_file.with_name(answers_file.name + ".failures.jsonl")
    path.unlink(missing_ok=True)
    if failures:
        lines = [json.dumps({"question_id": question, "error": error}) for question, error in failures]
        write_text(path, "\n".join(lines) + "\n")
