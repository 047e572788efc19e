"""``llava-faba bench``: FABA-Bench questions, and answers to them."""

from __future__ import annotations

import argparse
from typing import Any

from faba_bench.console.output import save, say, show, tell

from llava_faba.cli import options


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("bench", help="FABA-Bench: question files, and batched answers")
    commands = parser.add_subparsers(dest="bench_command", metavar="COMMAND", required=True)
    questions = commands.add_parser("questions", help="evaluation records to a LLaVA question file")
    questions.add_argument("annotations", metavar="FILE", help="evaluation records (JSON)")
    questions.add_argument(
        "--task", choices=("au", "emotion"), help="what is asked about (default: what the labels are of)"
    )
    questions.add_argument("--out", required=True, metavar="FILE", help="question file (JSONL) to write")
    questions.set_defaults(run=run_questions)
    _add_generate(commands)


def _add_generate(commands: argparse._SubParsersAction) -> None:
    generate = commands.add_parser(
        "generate",
        help="answer a question file: batched, several processes, resumable",
        description="Greedy answers in LLaVA's answers format. Interrupted, the same command resumes where it stopped.",
        parents=[
            options.model(),
            options.priors("read priors from this store instead of computing them", old=("--facial-prior-store",)),
            options.conversation(),
            options.decoding(),
            options.device(),
            options.engine(),
            options.progress(),
        ],
    )
    generate.add_argument("--question-file", required=True, metavar="FILE", help="made by 'llava-faba bench questions'")
    generate.add_argument(
        "--image-folder", required=True, metavar="DIR", help="what the questions' image paths are relative to"
    )
    generate.option("--out", old=("--answers-file",), required=True, metavar="FILE", help="answers (JSONL) to write")
    generate.add_argument("--batch-size", type=int, default=16, help="questions answered at once (default: 16)")
    options.add_workers(generate, 1, "processes that answer, with --device cuda one GPU each")
    options.add_output(generate)
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
    generate.add_argument(
        "--label-scores",
        nargs="?",
        const="faba",
        metavar="PROTOCOL",
        help="also write 'scores': how likely each emotion's words are, and yes rather than no to each AU, of this "
        "protocol's labels (default: faba)",
    )
    options.add_samples(generate, "also write 'samples': N answers drawn by the model's probabilities")
    generate.add_argument("--overwrite", action="store_true", help="start the answers file anew")
    generate.set_defaults(run=run_generate)


def run_questions(args: argparse.Namespace) -> int:
    import json

    from faba_bench.files.atomic import write_text

    from llava_faba.records.questions import questions_of, task_of
    from llava_faba.records.training import read_records

    records = read_records(args.annotations)
    task = args.task or task_of(records)
    questions = questions_of(records, task)
    write_text(args.out, "".join(json.dumps(question, ensure_ascii=False) + "\n" for question in questions))
    say(f"{len(questions)} questions of the task {task} written to {args.out}")
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
    from llava_faba.devices import gpu_or_cpu_count
    from llava_faba.inference.generate import GenerateSettings, generate_answers
    from llava_faba.records.questions import read_jsonl

    questions = read_jsonl(Path(args.question_file))
    settings = GenerateSettings(
        conversation=args.conv_mode,
        max_new_tokens=args.max_new_tokens,
        dtype=args.dtype,
        device=args.device,
        store=None if args.priors is None else str(args.priors),
        batch_size=args.batch_size,
        workers=gpu_or_cpu_count(args.workers, args.device),
        label_scores=args.label_scores,
        samples=args.samples,
        **options.engine_settings(args),
    )
    with progress_bar("generate", "answer", not args.no_progress) as progress:
        summary = generate_answers(
            args.model_path,
            questions,
            Path(args.image_folder),
            Path(args.out),
            settings,
            model_base=args.model_base,
            overwrite=args.overwrite,
            allow_outside=args.allow_outside,
            progress=progress,
        )
    result: dict[str, Any] = {
        "answered": summary.answered,
        "before": summary.before,
        "failures": [{"question_id": question, "error": error} for question, error in summary.failures],
        "cut": summary.cut,
        "note": summary.note,
        "errors_log": None if summary.log is None else str(summary.log),
    }
    lines = [f"answered {summary.answered} now, {summary.before} before, {len(summary.failures)} failed"]
    if summary.cut:
        lines.append(
            f"{len(summary.cut)} of {summary.answered + summary.before} answers were cut at --max-new-tokens "
            f'{args.max_new_tokens}, before their end ("finish_reason": "length" in their lines), first question '
            f"{summary.cut[0]}: raise it, or they are scored as they are"
        )
    lines += [f"  question {question}: {error}" for question, error in summary.failures[:20]]
    if summary.log is not None:
        lines.append(f"tracebacks of errors that are none of llava-faba's: {summary.log}")
    if summary.note:
        tell(f"note: {summary.note}")
    if not args.json:
        say("\n".join(lines))  # before the verification, which takes its time
    fine, text = (True, "") if args.verify == 0 else _verify(args, questions, settings, result)
    save(args, result)
    if args.json or text:
        show(args, result, text)
    return 0 if fine and not summary.failures else 1


def _verify(args: argparse.Namespace, questions: Any, settings: Any, result: dict[str, Any]) -> tuple[bool, str]:
    """What asking again found, as text and in ``result``; False when float32 answers differ by more than rounding
    explains."""
    from pathlib import Path

    from llava_faba.cli.progress import progress_bar
    from llava_faba.inference.verify import TOLERANCE, verify_answers

    with progress_bar("verify", "answer", not args.no_progress) as progress:
        found = verify_answers(
            args.model_path,
            questions,
            Path(args.image_folder),
            Path(args.out),
            settings,
            count=args.verify,
            model_base=args.model_base,
            progress=progress,
        )
    equal = found.checked - len(found.near_ties) - len(found.different)
    result["verified"] = {
        "checked": found.checked,
        "equal": equal,
        "near_ties": len(found.near_ties),
        "different": len(found.different),
    }
    lines = [
        f"verified {found.checked} answers one at a time: {equal} equal, {len(found.near_ties)} differ where the two "
        f"best logits lie within {TOLERANCE:g}, {len(found.different)} differ otherwise"
    ]
    for item in [*found.different, *found.near_ties][:20]:
        what = f"token {item.position}, margin {item.margin:.2g}" if item.position >= 0 else item.alone
        lines.append(f"  question {item.question_id}: {what}")
    fine = not any(settings.dtype == "float32" or item.position < 0 for item in found.different)
    return fine, "\n".join(lines)
