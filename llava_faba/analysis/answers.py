"""Crops to answers, and what strict mode reads in them: the path of ``bench generate``, so that both say the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from faba_bench.files.digests import sha256_json
from faba_bench.files.jsonfiles import iter_json_lines
from faba_bench.protocol import AUTask, EmotionTask, load_protocol
from faba_bench.questions import QUESTIONS
from faba_bench.strict.au import read_aus
from faba_bench.strict.emotion import read_emotion
from faba_bench.thoughts import strip_thoughts

from llava_faba.inference.engines.kinds import choose_engine
from llava_faba.inference.generate import GenerateSettings, generate_answers


@dataclass(frozen=True)
class FaceAnswers:
    """What was said of one crop, by task: ``texts``; ``aus`` and ``emotion`` as strict mode reads them, None where
    unparsed or not asked; ``cut``: tasks whose answer reached the token limit; ``errors``: why a task has none."""

    texts: dict[str, str]
    aus: tuple[int, ...] | None
    emotion: str | None
    prior_status: str | None
    cut: tuple[str, ...]
    errors: dict[str, str]


def answer_crops(
    crops: Sequence[str],
    work: Path,
    model_path: str,
    model_base: str | None,
    settings: GenerateSettings,
    tasks: Sequence[str],
    protocol: str,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, FaceAnswers]:
    """Ask the paper's questions about crops (names in ``work/crops``) and read the answers. Resumable.

    Raises UserError as ``generate_answers`` does.
    """
    settings = replace(settings, engine=choose_engine(settings.engine, model_path))
    rules = load_protocol(protocol)
    asked = [task for task in tasks if task in rules.tasks]
    path = (
        work / f"answers-{sha256_json([str(Path(model_path).resolve()), model_base, settings.key_parts()])[:12]}.jsonl"
    )
    wanted = {f"{crop}:{task}": (crop, task) for crop in crops for task in asked}
    # Answers to crops of an earlier call stay valid: their files are there still.
    wanted |= {} if overwrite else {name: one for name, one in _earlier(path, work).items() if name not in wanted}
    questions = [{"question_id": name, "image": crop, "text": QUESTIONS[task]} for name, (crop, task) in wanted.items()]
    summary = generate_answers(
        model_path,
        questions,
        work / "crops",
        path,
        replace(settings, store=None),
        model_base=model_base,
        overwrite=overwrite,
        progress=progress,
    )
    failures = dict(summary.failures)
    lines = {str(line["question_id"]): line for _, line in iter_json_lines(path)} if path.exists() else {}
    return {crop: _read(crop, asked, lines, failures, rules.au, rules.emotion) for crop in crops}


def _earlier(path: Path, work: Path) -> dict[str, tuple[str, str]]:
    if not path.exists():
        return {}
    found = {}
    for _, line in iter_json_lines(path, problems=[]):
        crop, _, task = str(line.get("question_id")).rpartition(":")
        if (work / "crops" / crop).is_file() and task in QUESTIONS:
            found[f"{crop}:{task}"] = (crop, task)
    return found


def _read(
    crop: str,
    tasks: Iterable[str],
    lines: dict[str, Any],
    failures: dict[str, str],
    au: AUTask | None,
    emotion: EmotionTask | None,
) -> FaceAnswers:
    texts, errors, cut = {}, {}, []
    status = None
    for task in tasks:
        line = lines.get(f"{crop}:{task}")
        if line is None:
            errors[task] = failures.get(f"{crop}:{task}", "not answered")
            continue
        texts[task] = line["text"]
        metadata = line.get("metadata") or {}
        status = metadata.get("prior_status", status)
        if metadata.get("cut"):
            cut.append(task)
    aus = None
    if au is not None and "au" in texts:
        found = read_aus(_said(texts["au"]), frozenset(au.vocabulary))
        aus = tuple(sorted(found.value)) if found.parsed else None
    named = None
    if emotion is not None and "emotion" in texts:
        named = read_emotion(_said(texts["emotion"]), emotion.classes).value
    return FaceAnswers(texts, aus, named, status, tuple(cut), errors)


def _said(text: str) -> str:
    return strip_thoughts(text).text
