"""``llava-faba bench``: FABA-Bench questions, and answers to them."""

from __future__ import annotations

import argparse
from typing import Any


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("bench", help="FABA-Bench: question files, and batched answers")
    commands = parser.add_subparsers(dest="bench_command", metavar="COMMAND", required=True)
    questions = commands.add_parser("questions", help="evaluation records to a LLaVA question file")
    questions.add_argument("annotations", help="evaluation records (JSON)")
    questions.add_argument("--task", choices=("au", "emotion"), help="(default: what the labels are of)")
    questions.add_argument("--out", required=True, help="question file (JSONL) to write")
    questions.set_defaults(run=run_questions)
    _add_generate(commands)


def _add_generate(commands: argparse._SubParsersAction) -> None:
    generate = commands.add_parser(
        "generate",
        help="answer a question file: batched, several processes, resumable",
        description="Greedy answers in LLaVA's answers format. Interrupted, the same command goes on where it stopped.",
    )
    generate.add_argument("--model-path", required=True, help="checkpoint folder or hub id")
    generate.add_argument("--model-base", help="base model of a LoRA folder; default: the one that it names")
    generate.add_argument("--question-file", required=True, help="made by 'llava-faba bench questions'")
    generate.add_argument("--image-folder", required=True)
    generate.add_argument("--answers-file", required=True, help="answers (JSONL) to write")
    generate.add_argument("--facial-prior-store", help="read priors from a store instead of computing them")
    generate.add_argument("--batch-size", type=int, default=16, help="(default: %(default)s)")
    generate.add_argument("--workers", type=int, default=1, help="processes, or GPUs (default: %(default)s)")
    generate.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="(default: %(default)s)")
    generate.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    generate.add_argument("--conv-mode", default="llava_v1", help="conversation template (default: %(default)s)")
    generate.add_argument("--max-new-tokens", type=int, default=512, help="(default: %(default)s)")
    generate.add_argument(
        "--verify",
        type=_count,
        default=0,
        metavar="N",
        help="ask N of the questions ('all': every one) again, one at a time, and compare (default: %(default)s)",
    )
    generate.add_argument(
        "--allow-outside", action="store_true", help="also read images that lie outside --image-folder"
    )
    generate.add_argument("--overwrite", action="store_true", help="start the answers file anew")
    generate.set_defaults(run=run_generate)


def run_questions(args: argparse.Namespace) -> int:
    import json
    from pathlib import Path

    from llava_faba.records.questions import questions_of, task_of
    from llava_faba.records.training import read_records

    records = read_records(args.annotations)
    task = args.task or task_of(records)
    questions = questions_of(records, task)
    Path(args.out).write_text(
        "".join(json.dumps(question, ensure_ascii=False) + "\n" for question in questions), encoding="utf-8"
    )
    print(f"{len(questions)} questions of the task {task} written to {args.out}")
    return 0


def _count(text: str) -> int | None:
    """A number, or None for "all"."""
    if text == "all":
        return None
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"'{text}' is neither a number nor 'all'")
    return int(text)


def run_generate(args: argparse.Namespace) -> int:
    from pathlib import Path

    from llava_faba.cli.progress import progress_bar
    from llava_faba.inference.generate import GenerateSettings, generate_answers
    from llava_faba.records.questions import read_jsonl

    questions = read_jsonl(Path(args.question_file))
    settings = GenerateSettings(
        conversation=args.conv_mode,
        max_new_tokens=args.max_new_tokens,
        dtype=args.dtype,
        device=args.device,
        store=args.facial_prior_store,
        batch_size=args.batch_size,
        workers=args.workers,
    )
    with progress_bar("generate", "answer") as progress:
        summary = generate_answers(
            args.model_path,
            questions,
            Path(args.image_folder),
            Path(args.answers_file),
            settings,
            model_base=args.model_base,
            overwrite=args.overwrite,
            allow_outside=args.allow_outside,
            progress=progress,
        )
    print(f"answered {summary.answered} now, {summary.before} before, {len(summary.failures)} failed")
    for question, error in summary.failures[:20]:
        print(f"  question {question}: {error}")
    verified = args.verify == 0 or _verify(args, questions, settings)
    return 0 if verified and not summary.failures else 1


def _verify(args: argparse.Namespace, questions: Any, settings: Any) -> bool:
    """Print what asking again found; False when float32 answers differ by more than rounding explains."""
    from pathlib import Path

    from llava_faba.cli.progress import progress_bar
    from llava_faba.inference.verify import TOLERANCE, verify_answers

    with progress_bar("verify", "answer") as progress:
        found = verify_answers(
            args.model_path,
            questions,
            Path(args.image_folder),
            Path(args.answers_file),
            settings,
            count=args.verify,
            model_base=args.model_base,
            progress=progress,
        )
    equal = found.checked - len(found.near_ties) - len(found.different)
    print(
        f"verified {found.checked} answers one at a time: {equal} equal, {len(found.near_ties)} differ where the two "
        f"best logits lie within {TOLERANCE:g}, {len(found.different)} differ otherwise"
    )
    for item in [*found.different, *found.near_ties][:20]:
        print(f"  question {item.question_id}: token {item.position}, margin {item.margin:.2g}")
    return not found.different or settings.dtype != "float32"
