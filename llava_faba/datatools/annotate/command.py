"""The command line of ``llava-faba data annotate``."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faba_bench.console.output import say, tell

from llava_faba.errors import UserError
from llava_faba.packages import install_command

if TYPE_CHECKING:
    from llava_faba.datatools.annotate.asking import Outcome
    from llava_faba.datatools.annotate.client import Client
    from llava_faba.datatools.annotate.pipeline import Annotation


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser(
        "annotate",
        help="answers written by a vision model, filtered and reviewed",
        description="Ask a vision model behind an OpenAI-compatible API about faces, keep every raw answer, "
        "filter them, and write training records and a review page. Interrupted runs go on where they "
        "stopped. "
        "The key "
        "is read from the environment.",
    )
    parser.add_argument("--task", choices=("au", "emotion"), required=True, help="what to ask about")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "images",
        type=Path,
        nargs="?",
        metavar="DIR",
        help="annotate every image in this folder (also the image folder)",
    )
    parser.formerly("--images", "DIR")
    what.add_argument(
        "--annotations",
        type=Path,
        nargs="+",
        help="annotate the images of these files; labels of the task are compared with the answers",
    )
    parser.add_argument("--image-folder", type=Path, help="what image paths in --annotations are relative to")
    parser.add_argument(
        "--allow-outside",
        action="store_true",
        help="send images that --annotations names outside --image-folder as well",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for raw answers, records, review pages")
    parser.add_argument("--limit", type=int, help="only the first N images")
    _add_server(parser.add_argument_group("server"))
    _add_filters(parser.add_argument_group("filters and review"))
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def _add_server(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--base-url", default="https://api.openai.com/v1", help="address (default: %(default)s)")
    group.add_argument("--model", required=True, help="the model's name at the server")
    group.add_argument(
        "--api-key-env",
        default="OPENAI_API_KEY",
        help="environment variable with the key (default: %(default)s)",
    )
    group.add_argument("--prompt", help="prompt version such as au-v1 (default: the newest), or a .txt file")
    group.add_argument("--max-tokens", type=int, default=800, help="longest answer (default: %(default)s)")
    group.add_argument("--temperature", type=float, default=0.0, help="sampling (default: %(default)s)")
    group.add_argument("--max-side", type=int, default=1024, help="scale images down to this (default: 1024)")
    group.add_argument("--concurrency", type=int, default=8, help="requests in flight (default: 8)")
    group.add_argument("--rpm", type=float, help="at most this many requests a minute")
    group.add_argument("--attempts", type=int, default=6, help="tries for an image (default: 6)")
    group.add_argument("--first-pause", type=float, default=1.0, help="seconds before the second try (default: 1)")
    group.add_argument(
        "--timeout", type=float, default=120.0, help="seconds for a whole request, answer included (default: 120)"
    )
    group.add_argument("--price-input", type=float, help="price of a million input tokens")
    group.add_argument("--price-output", type=float, help="price of a million output tokens")
    group.add_argument("--image-tokens", type=int, default=800, help="tokens of an image (default: 800)")
    group.add_argument("--max-cost", type=float, help="stop when this much was spent (needs both prices)")
    group.add_argument(
        "--retry-empty", action="store_true", help="ask again about images whose answer was empty (and paid for)"
    )
    group.add_argument("--dry-run", action="store_true", help="print the estimate and send nothing")
    group.add_argument("--yes", action="store_true", help="start without asking")


def _add_filters(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--min-words", type=int, help="reject shorter answers")
    group.add_argument("--max-words", type=int, help="reject longer answers")
    group.add_argument(
        "--min-agreement",
        type=float,
        default=0.5,
        help="least agreement with given labels: F1 for AUs, 1 or 0 for emotion (default: 0.5)",
    )
    group.add_argument("--sort-only", action="store_true", help="send nothing, only filter what is there")
    group.add_argument(
        "--apply", type=Path, nargs="+", metavar="DECISIONS", help="decisions.json files of the review pages"
    )


def run(args: argparse.Namespace) -> int:
    from llava_faba.datatools.annotate.filters import Limits
    from llava_faba.datatools.annotate.pipeline import ask, sort
    from llava_faba.datatools.annotate.review import load_decisions

    annotation = _annotation(args)
    decisions = load_decisions(args.apply) if args.apply else None
    limits = Limits.of(args.task, args.min_words, args.max_words, args.min_agreement)
    outcome: Outcome | None = None
    if not (args.sort_only or args.apply):
        estimate = annotation.estimate(args.image_tokens)
        labelled = sum(target.label is not None for target in annotation.targets)
        say(f"{len(annotation.targets)} images, {labelled} with a label to agree with; to send: {estimate.to_text()}")
        if args.dry_run:
            return 0
        if estimate.requests and not _may_start(args, annotation.client):
            return 0
        _require_transport()
        outcome = ask(annotation, progress=not args.no_progress and sys.stderr.isatty())
        for note in annotation.client.notes:
            tell(f"note: {note}")
        cost = annotation.policy.prices.cost(outcome.input_tokens, outcome.output_tokens)
        say(
            f"{outcome.answered} answered, {outcome.reused} there already, {len(outcome.failed)} failed, "
            f"{outcome.retries} retries; {outcome.input_tokens} input and {outcome.output_tokens} output "
            f"tokens" + ("" if cost is None else f", cost {cost:.2f}")
        )
        if outcome.empty:
            say(f"{outcome.empty} of the answers are empty or thoughts only (a larger --max-tokens may help)")
        if outcome.uncounted:
            tell(f"{outcome.uncounted} answers came without a count of tokens: theirs are estimated")
        for image, message in list(outcome.failed.items())[:10]:
            tell(f"failed: {image}: {message}")
        if len(outcome.failed) > 10:
            tell(f"... and {len(outcome.failed) - 10} more failed")
        if outcome.stopped_by_cost:
            tell(f"stopped: --max-cost {args.max_cost} is spent; run again to go on")
    summary = sort(annotation, limits, decisions)
    say(f"{summary['accepted']} accepted, {summary['rejected']} rejected, {summary['unanswered']} unanswered")
    for reason, count in summary["reasons"].items():
        say(f"  {count} x {reason}")
    say(f"records and review pages are in {args.out}")
    if outcome is not None and outcome.answered_nothing:
        why = Counter(outcome.failed.values()).most_common(1)
        reason = f", most often: {why[0][0]}" if why else ": all answers are empty"
        tell(f"llava-faba data annotate: not one answer{reason}")
        return 1
    return 0


def _require_transport() -> None:
    try:
        import httpx  # noqa: F401
        import tenacity  # noqa: F401
    except ImportError as error:
        raise UserError(f"'data annotate' needs httpx and tenacity ({error}): {install_command('data')}") from error


def _annotation(args: argparse.Namespace) -> Annotation:
    import os

    from faba_bench.chat.cost import Prices

    from llava_faba.datatools.annotate.asking import Policy
    from llava_faba.datatools.annotate.client import Client
    from llava_faba.datatools.annotate.images import targets_in_files, targets_in_folder
    from llava_faba.datatools.annotate.pipeline import Annotation
    from llava_faba.datatools.annotate.prompts import load_prompt
    from llava_faba.datatools.annotate.secret import clean_key
    from llava_faba.datatools.convert.images import Census

    for name in ("concurrency", "attempts", "max_tokens", "max_side", "timeout"):
        if not getattr(args, name) > 0:
            raise UserError(f"--{name.replace('_', '-')} must be above 0")
    prices = Prices(args.price_input, args.price_output)
    if args.max_cost is not None and prices.cost(0, 0) is None:
        raise UserError("--max-cost needs --price-input and --price-output")
    if args.images is not None:
        census = Census()
        folder, targets = args.images, targets_in_folder(args.images, census)
        for note in census.notes():
            tell(f"note: {note}")
    else:
        if args.image_folder is None:
            raise UserError("--annotations needs --image-folder")
        folder, targets = (
            args.image_folder,
            targets_in_files(args.annotations, args.task, args.image_folder, allow_outside=args.allow_outside),
        )
    client = Client(
        args.base_url,
        args.model,
        clean_key(os.environ.get(args.api_key_env, ""), f"the key in {args.api_key_env}") if args.api_key_env else "",
        args.timeout,
        args.max_tokens,
        args.temperature,
    )
    policy = Policy(
        args.concurrency,
        args.rpm,
        args.attempts,
        args.first_pause,
        args.max_side,
        prices,
        args.max_cost,
        args.retry_empty,
    )
    prompt = load_prompt(args.task, args.prompt)
    return Annotation(args.task, targets[: args.limit], folder, args.out, client, prompt, policy)


def _may_start(args: argparse.Namespace, client: Client) -> bool:
    if not client.key and not client.is_local and args.api_key_env:
        raise UserError(
            f"the environment variable {args.api_key_env} holds no key: set it, name another with "
            f"--api-key-env, "
            "or give --api-key-env '' for a server that needs none"
        )
    if args.yes:
        return True
    if not sys.stdin.isatty():
        raise UserError("sending costs money: say --yes to start, or --dry-run to see the estimate only")
    return input("start? [y/N] ").strip().lower() in ("y", "yes")
