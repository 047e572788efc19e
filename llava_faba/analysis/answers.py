"""Crops to answers, and what strict mode reads in them: the path of ``bench generate``, so that both say the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
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
class Confidence:
    """How sure a model is; all empty where it was not asked for.

    ``aus``: of the sampled answers that could be read, the share that names each AU; ``emotion``: the share that names
    what the greedy answer names. ``samples``: by task, how many could be read. ``likelihoods``: by label, see
    ``llava_faba.inference.label_scores``.
    """

    aus: dict[int, float] = field(default_factory=dict)
    emotion: float | None = None
    samples: dict[str, int] = field(default_factory=dict)
    likelihoods: dict[str, float] = field(default_factory=dict)


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
    confidence: Confidence = field(default_factory=Confidence)


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
        if metadata.get("finish_reason") == "length":
            cut.append(task)
    aus = _aus(texts["au"], au) if au is not None and "au" in texts else None
    named = _emotion(texts["emotion"], emotion) if emotion is not None and "emotion" in texts else None
    confidence = _confidence({task: lines[f"{crop}:{task}"] for task in texts}, named, au, emotion)
    return FaceAnswers(texts, aus, named, status, tuple(cut), errors, confidence)


def _confidence(lines: dict[str, Any], named: str | None, au: AUTask | None, emotion: EmotionTask | None) -> Confidence:
    likelihoods: dict[str, float] = {}
    for line in lines.values():
        likelihoods |= line.get("scores") or {}
    drawn = {task: line.get("samples") or [] for task, line in lines.items()}
    shares: dict[int, float] = {}
    agreement, counts = None, {}
    if au is not None and drawn.get("au"):
        sets = [read for text in drawn["au"] if (read := _aus(text, au)) is not None]
        counts["au"] = len(sets)
        if sets:
            shares = {number: sum(number in one for one in sets) / len(sets) for number in au.vocabulary}
    if emotion is not None and drawn.get("emotion"):
        names = [word for text in drawn["emotion"] if (word := _emotion(text, emotion)) is not None]
        counts["emotion"] = len(names)
        if names and named is not None:
            agreement = names.count(named) / len(names)
    return Confidence(shares, agreement, counts, likelihoods)


def _aus(text: str, rules: AUTask) -> tuple[int, ...] | None:
    found = read_aus(strip_thoughts(text).text, frozenset(rules.vocabulary))
    return tuple(sorted(found.value)) if found.parsed else None


def _emotion(text: str, rules: EmotionTask) -> str | None:
    return read_emotion(strip_thoughts(text).text, rules.classes).value
