"""``make demo``: data, priors, base, EmoLA, plain LLaVA, answers, scores, report - each step once."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from llava_faba.demo.settings import EMOLA, EXPERT, NO_PRIOR, RAW, STANDARDIZED, DemoSettings, Variant
from llava_faba.demo.steps import Progress, Steps

TASKS = ("au", "emotion")


def run_demo(settings: DemoSettings) -> dict[str, Any]:
    """Run the demo in ``settings.root``; returns (and writes) report.json. Finished steps are not done again."""
    variants = (EMOLA, NO_PRIOR)
    steps = Steps(settings.root / "steps", total=6 + len(variants))
    prepare(settings, steps)
    for variant in variants:
        train_variant(settings, steps, variant)
    steps.run("answers", "Answer the test set", settings.max_new_tokens, lambda p: answer(settings, steps, variants, p))
    report: dict[str, Any] = {}
    steps.run("report", "Score and write the report", None, lambda _: report.update(_report(settings, variants)))
    if not report:
        report = json.loads((settings.root / "report.json").read_text(encoding="utf-8"))
    from llava_faba.demo.report import print_table

    print_table(report)
    print(f"\nReport: {(settings.root / 'report.html').resolve()}")
    return report


def run_ablation(settings: DemoSettings) -> dict[str, Any]:
    """Four variants over three seeds on one data set and base; writes ablation.json and ablation.md after each seed.

    The first seed lies in ``settings.root`` and shares what ``run_demo`` made there; the others in ``seedN`` below it.
    """
    from llava_faba.demo.ablation import summarize

    variants = (EMOLA, NO_PRIOR, STANDARDIZED, RAW)
    steps = Steps(settings.root / "steps", total=5 + len(variants))
    prepare(settings, steps)
    after_base = steps.chain
    results: dict[int, Any] = {}
    for seed in (settings.seed, settings.seed + 1, settings.seed + 2):
        seeded = settings
        if seed != settings.seed:
            seeded = replace(settings, seed=seed, shared=settings.root, root=settings.root / f"seed{seed}")
            steps = Steps(seeded.root / "steps", total=1 + len(variants), after=after_base)
        print(f"\nseed {seed}", flush=True)
        for variant in variants:
            train_variant(seeded, steps, variant)
        steps.run(
            "answers-ablation",
            "Answer the test set",
            None,
            lambda p, one=seeded, own=steps: answer(one, own, variants, p),  # type: ignore[misc]
        )
        results[seed] = score(seeded, variants)
        table = summarize(settings.root, results, [variant.name for variant in variants])
    return table


def prepare(settings: DemoSettings, steps: Steps) -> None:
    """The steps that all variants share: pictures, priors, and the base model."""
    sizes = [settings.n_train, settings.n_test, settings.size.image]
    steps.run(
        "data", f"Make {sum(sizes[:2])} face pictures and their records", sizes, lambda p: _make_data(settings, p)
    )
    steps.run("priors", f"Extract facial priors with {EXPERT}", EXPERT, lambda p: _extract_priors(settings, p))
    steps.run("untrained", "Make an untrained LLaVA", asdict(settings.size), lambda _: _make_untrained(settings))
    recipe = [
        settings.base_captions,
        settings.base_text_repeats,
        settings.base_epochs,
        settings.base_learning_rate,
        settings.batch,
        settings.processes,
    ]
    steps.run("base", "Train the base with LLaVA's own train()", recipe, lambda p: _train_base(settings, steps, p))


def train_variant(settings: DemoSettings, steps: Steps, variant: Variant) -> None:
    from llava_faba.demo.training import emola_command, run_training

    def action(progress: Progress) -> None:
        records = settings.root / "train.json"
        _write_json(
            records, [record for task in TASKS for record in _read_json(settings.data / f"train_{task}_anno.json")]
        )
        output = settings.adapter(variant)
        command, log = emola_command(settings, variant, records), settings.root / f"logs/{variant.name}.log"
        run_training(command, output, log, progress, go_on=steps.interrupted)

    title = "Train plain LLaVA (no prior)" if variant is NO_PRIOR else f"Train EmoLA ({variant.normalization})"
    recipe = [
        settings.epochs,
        settings.learning_rate,
        settings.lora_r,
        settings.lora_alpha,
        settings.batch,
        settings.seed,
    ]
    steps.run(f"train-{variant.name}", title, [asdict(variant), recipe], action)


def answer(settings: DemoSettings, steps: Steps, variants: Sequence[Variant], progress: Progress) -> None:
    """Greedy answers of every variant to both tasks, from the pictures alone: the model computes its priors."""
    from llava_faba.inference.generate import GenerateSettings, generate_answers
    from llava_faba.records.questions import questions_of

    questions = [
        question
        for task in TASKS
        for question in questions_of(_read_json(settings.data / f"eval_{task}_anno.json"), task)
    ]
    total = len(variants) * len(questions)
    for number, variant in enumerate(variants):
        offset = number * len(questions)
        generate_answers(
            str(settings.adapter(variant)),
            questions,
            settings.data,
            settings.answers(variant),
            GenerateSettings(max_new_tokens=settings.max_new_tokens, workers=_workers(settings), batch_size=32),
            progress=lambda done, _, offset=offset: progress(offset + done, total),  # type: ignore[misc]
            overwrite=not steps.interrupted,
        )


def score(settings: DemoSettings, variants: Sequence[Variant]) -> dict[str, dict[str, Any]]:
    """FABA-Bench results: task to variant (and floor) name to the scorer's output."""
    import faba_bench

    from llava_faba.demo.floors import majority_answers, random_answers
    from llava_faba.records.questions import read_jsonl

    results: dict[str, dict[str, Any]] = {}
    people = _read_json(settings.data / "identities.json")["images"]
    for task in TASKS:
        train = _read_json(settings.data / f"train_{task}_anno.json")
        evaluation = [
            {**record, "subject": people[record["image"]]["identity"]}
            for record in _read_json(settings.data / f"eval_{task}_anno.json")
        ]
        ids = {str(record["id"]) for record in evaluation}
        answers = {
            variant.name: [line for line in read_jsonl(settings.answers(variant)) if str(line["question_id"]) in ids]
            for variant in variants
        }
        answers["majority"] = majority_answers(train, evaluation, task)
        answers["random"] = random_answers(train, evaluation, settings.seed)
        results[task] = {name: faba_bench.score(task, "faba", evaluation, lines) for name, lines in answers.items()}
    return results


def _report(settings: DemoSettings, variants: Sequence[Variant]) -> dict[str, Any]:
    from llava_faba.demo.report import write_report

    return write_report(settings, score(settings, variants))


def _make_data(settings: DemoSettings, progress: Progress) -> None:
    from llava_faba.demo.dataset import build

    build(
        settings.data,
        n_train=settings.n_train,
        n_test=settings.n_test,
        seed=0,
        workers=_workers(settings),
        size=settings.size.image,
        progress=progress,
    )


def _extract_priors(settings: DemoSettings, progress: Progress) -> None:
    from llava_faba.priors.extract import extract

    images = sorted(path.relative_to(settings.data).as_posix() for path in settings.data.glob("images/*/*.jpg"))
    extract(images, settings.data, settings.priors, expert=EXPERT, workers=_workers(settings), progress=progress)


def _make_untrained(settings: DemoSettings) -> None:
    from llava_faba.demo.base import build_base, conversation_texts

    names = ("base_captions", "base_text", "train_au_anno", "train_emotion_anno")
    records = [record for name in names for record in _read_json(settings.data / f"{name}.json")]
    build_base(settings.untrained, settings.vision_tower, conversation_texts(records), settings.size)


def _train_base(settings: DemoSettings, steps: Steps, progress: Progress) -> None:
    from llava_faba.demo.training import base_command, run_training

    records = settings.untrained.with_name("base_train.json")
    captions = _read_json(settings.data / "base_captions.json")[: settings.base_captions]
    sentences = _read_json(settings.data / "base_text.json")
    # Sentences outnumber captions: LoRA later adapts a language model, and can only adapt one that speaks well.
    _write_json(records, captions + sentences * settings.base_text_repeats)
    command, log = base_command(settings, settings.untrained, records), settings.root / "logs/base.log"
    run_training(command, settings.base, log, progress, go_on=steps.interrupted)


def _workers(settings: DemoSettings) -> int:
    return max(1, min(settings.processes, os.cpu_count() or 1))


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
