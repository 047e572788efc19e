"""``llava-faba data``: from licensed label files to validated instruction data."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from llava_faba.errors import UserError

if TYPE_CHECKING:
    from llava_faba.datatools.annotate import Annotation


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add ``data`` with its sub-commands; each sets ``run`` to a function of the parsed arguments."""
    parser = subparsers.add_parser(
        "data", help="convert, validate, describe, annotate and mix instruction data", description=__doc__
    )
    commands = parser.add_subparsers(dest="data_command", metavar="COMMAND", required=True)
    _add_convert(commands)
    _add_validate(commands)
    _add_mix(commands)
    _add_stats(commands)
    _add_annotate(commands)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _add_convert(commands: argparse._SubParsersAction[Any]) -> None:
    from llava_faba.datatools.convert import DATASETS

    parser = commands.add_parser(
        "convert",
        help="a licensed dataset's label files to training and evaluation records",
        description="Convert a dataset in the layout in which it is handed out. Writes "
        "train_<task>_anno.json and eval_<task>_anno.json (below fold1/ to fold3/ where the protocol has "
        "folds) and conversion.json.",
    )
    parser.add_argument("dataset", metavar="NAME", choices=DATASETS, help=", ".join(DATASETS))
    parser.add_argument("--root", type=Path, required=True, help="the dataset's folder")
    parser.add_argument("--out", type=Path, required=True, help="where to write the annotation files")
    _add_options(parser)
    parser.set_defaults(run=run_convert)


def _add_options(parser: argparse.ArgumentParser) -> None:
    """Flags from the fields of the converters' ``Options``, which hold defaults and help."""
    from llava_faba.datatools.convert import Options

    for name, hint in get_type_hints(Options, include_extras=True).items():
        flag, default = f"--{name.replace('_', '-')}", getattr(Options, name)
        kinds = [kind for kind in get_args(hint.__origin__) or (hint.__origin__,) if kind is not type(None)]
        help_text = hint.__metadata__[0]
        if kinds == [bool]:
            parser.add_argument(flag, action="store_true", help=help_text)
            continue
        if default is not None:
            help_text += f" (default: {default})"
        parser.add_argument(flag, type=kinds[0], default=default, help=help_text)


def run_convert(args: argparse.Namespace) -> int:
    import dataclasses

    from llava_faba.datatools.convert import Options, convert

    options = Options(**{item.name: getattr(args, item.name) for item in dataclasses.fields(Options)})
    report = convert(args.dataset, args.root, args.out, options)
    for name, split in report["splits"].items():
        print(f"{report['dataset']} {name}: {split['train']} training, {split['eval']} evaluation records")
        print(f"  training classes: {_counts(split['train_classes'])}")
    for reason, count in report["left_out"].items():
        print(f"left out: {count} ({reason})")
    for note in report["notes"]:
        print(f"note: {note}")
    if not any(split["train"] or split["eval"] for split in report["splits"].values()):
        raise UserError(f"{args.dataset}: not one labelled image was found below {args.root}")
    print(f"written to {args.out}")
    return 0


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _add_validate(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser(
        "validate",
        help="every problem of annotation files at once",
        description="Check annotation files, the images and priors they name, and the files against each "
        "other. Exit code 0: nothing wrong, 1: problems found, 2: wrong usage.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="training and evaluation files")
    parser.add_argument("--image-folder", type=Path, help="what image and landmark paths are relative to")
    parser.add_argument("--no-images", action="store_true", help="check the records only, open no image")
    parser.add_argument("--priors", type=Path, help="priors store made by 'llava-faba priors extract'")
    parser.add_argument("--require-prior", action="store_true", help="an image without a prior is an error")
    parser.add_argument("--prior-size", type=int, help="numbers in a prior (default: as the store)")
    parser.add_argument(
        "--task", choices=("au", "emotion"), help="what labels mean (default: found out per file)"
    )
    parser.add_argument("--protocol", help="FABA-Bench protocol that AU labels should keep to")
    parser.add_argument("--no-near-duplicates", action="store_true", help="look for identical pictures only")
    parser.add_argument("--strict", action="store_true", help="warnings fail too")
    parser.add_argument(
        "--json", type=Path, metavar="OUT", help="write all findings as JSON ('-': to stdout)"
    )
    parser.add_argument("--examples", type=int, default=5, help="examples to print of each kind (default: 5)")
    _add_workers(parser)
    parser.set_defaults(run=run_validate)


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=0, help="processes (default: as many as CPUs)")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")


def run_validate(args: argparse.Namespace) -> int:
    import json
    import os

    from llava_faba.datatools.records import save_json
    from llava_faba.datatools.validate import validate

    if args.image_folder is None and not args.no_images:
        raise UserError("give --image-folder (what image paths are relative to) or --no-images")
    report = validate(
        args.files,
        image_folder=None if args.no_images else args.image_folder,
        priors=args.priors,
        task=args.task,
        protocol=args.protocol,
        prior_size=args.prior_size,
        require_prior=args.require_prior,
        near_duplicates=not args.no_near_duplicates,
        strict=args.strict,
        workers=args.workers or os.cpu_count() or 1,
        progress=not args.no_progress and sys.stderr.isatty(),
    )
    if args.json == Path("-"):
        print(json.dumps(report.to_json(), ensure_ascii=False, indent=1))
    else:
        if args.json is not None:
            save_json(args.json, report.to_json())
        print(report.to_text(args.examples))
    return 0 if report.ok else 1


def _add_mix(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser(
        "mix",
        help="several training files to one, repeatably",
        description="Mix training files with weights or caps, split off a validation part by subject, write "
        "train.json, val.json and manifest.json. --repeat makes a mixture again from its manifest.",
    )
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="FILE[,weight=W][,cap=N][,prefix=DIR][,name=NAME]",
        help="a training file; weight 0.5 takes half of it, 2 takes it twice, cap at most N, prefix is "
        "put before its image paths (may be given often)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--val-fraction", type=float, default=0.0, help="share to validate on (default: 0)")
    parser.add_argument(
        "--split-by",
        choices=("subject", "image", "record"),
        default="subject",
        help="what must not be torn apart",
    )
    parser.add_argument(
        "--subject-pattern", help="regular expression whose group 1 is the subject in image paths"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of drawing, splitting and order (default: 0)"
    )
    parser.add_argument("--no-shuffle", action="store_true", help="keep the order of the inputs")
    parser.add_argument("--repeat", type=Path, metavar="MANIFEST", help="make this mixture again")
    parser.set_defaults(run=run_mix)


def run_mix(args: argparse.Namespace) -> int:
    from llava_faba.datatools.mix import Source, mix, repeat

    if args.repeat is not None:
        if args.input:
            raise UserError("--repeat takes its inputs from the manifest: leave out --input")
        made = repeat(args.repeat, args.out)
    else:
        made = mix(
            [Source.parse(text) for text in args.input],
            args.out,
            val_fraction=args.val_fraction,
            split_by=args.split_by,
            subject_pattern=args.subject_pattern,
            seed=args.seed,
            shuffle=not args.no_shuffle,
        )
    for one in made.manifest["inputs"]:
        print(f"{one['name']}: {one['records']} records, {one['train']} to train, {one['val']} to validate")
    print(f"{len(made.train)} training, {len(made.val)} validation records in {args.out}")
    return 0


def _add_stats(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser(
        "stats",
        help="samples, words per answer, label distribution, AU co-occurrence",
        description="The figures that the FABA-Instruct paper gives for its data, for any annotation files.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="training or evaluation files")
    parser.add_argument(
        "--task", choices=("au", "emotion"), help="what labels mean (default: found out per file)"
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures as JSON ('-': to stdout)")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write plots (PNG) to this folder")
    parser.set_defaults(run=run_stats)


def run_stats(args: argparse.Namespace) -> int:
    import json

    from llava_faba.datatools.records import save_json
    from llava_faba.datatools.stats import describe, to_text

    figures = [describe(path, args.task) for path in args.files]
    result = [one.to_json() for one in figures]
    if args.json == Path("-"):
        print(json.dumps(result, ensure_ascii=False, indent=1))
    else:
        if args.json is not None:
            save_json(args.json, result)
        print(to_text(figures))
    if args.plots is not None:
        from llava_faba.datatools.plots import plot

        stems = [path.stem for path in args.files]
        for number, (one, stem) in enumerate(zip(figures, stems, strict=True)):
            unique = stem if stems.count(stem) == 1 else f"{number + 1}-{stem}"
            for path in plot(one, args.plots, unique):
                _say(f"wrote {path}")
    return 0


def _add_annotate(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser(
        "annotate",
        help="answers written by a vision model, filtered and reviewed",
        description="Ask a vision model behind an OpenAI-compatible API about faces, keep every raw answer, filter "
        "them, and write training records and a review page. Interrupted runs go on where they stopped. "
        "The key "
        "is read from the environment.",
    )
    parser.add_argument("--task", choices=("au", "emotion"), required=True)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--images", type=Path, help="annotate every image in this folder (also the image folder)"
    )
    what.add_argument("--annotations", type=Path, nargs="+", help="annotate the images of these files")
    parser.add_argument("--image-folder", type=Path, help="what image paths in --annotations are relative to")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for raw answers, records, review pages"
    )
    parser.add_argument("--limit", type=int, help="only the first N images")
    _add_server(parser.add_argument_group("server"))
    _add_filters(parser.add_argument_group("filters and review"))
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")
    parser.set_defaults(run=run_annotate)


def _add_server(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--base-url", default="https://api.openai.com/v1", help="address (default: %(default)s)"
    )
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
    group.add_argument(
        "--first-pause", type=float, default=1.0, help="seconds before the second try (default: 1)"
    )
    group.add_argument("--timeout", type=float, default=120.0, help="seconds for a request (default: 120)")
    group.add_argument("--price-input", type=float, help="price of a million input tokens")
    group.add_argument("--price-output", type=float, help="price of a million output tokens")
    group.add_argument(
        "--image-tokens", type=int, default=800, help="tokens of an image, to estimate (default: 800)"
    )
    group.add_argument("--max-cost", type=float, help="stop when this much was spent (needs both prices)")
    group.add_argument("--dry-run", action="store_true", help="print the estimate and send nothing")
    group.add_argument("--yes", action="store_true", help="start without asking")


def _add_filters(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--min-words", type=int, help="reject shorter answers")
    group.add_argument("--max-words", type=int, help="reject longer answers")
    group.add_argument(
        "--min-agreement",
        type=float,
        default=0.5,
        help="agreement with given labels that an answer needs: F1 for AUs, 1 or 0 for emotion (default: 0.5)",
    )
    group.add_argument("--sort-only", action="store_true", help="send nothing, only filter what is there")
    group.add_argument("--apply", type=Path, metavar="DECISIONS", help="decisions.json of the review page")


def run_annotate(args: argparse.Namespace) -> int:
    from llava_faba.datatools.annotate import ask, sort
    from llava_faba.datatools.annotate.filters import Limits
    from llava_faba.datatools.annotate.review import load_decisions

    annotation = _annotation(args)
    decisions = load_decisions(args.apply) if args.apply is not None else None
    limits = Limits.of(args.task, args.min_words, args.max_words, args.min_agreement)
    if not (args.sort_only or args.apply):
        estimate = annotation.estimate(args.image_tokens)
        print(f"{len(annotation.targets)} images; to send: {estimate.to_text()}")
        if args.dry_run:
            return 0
        if estimate.requests and not _may_start(args):
            return 0
        outcome = ask(annotation, progress=not args.no_progress and sys.stderr.isatty())
        cost = annotation.policy.prices.cost(outcome.input_tokens, outcome.output_tokens)
        print(
            f"{outcome.answered} answered, {outcome.reused} there already, {len(outcome.failed)} failed, "
            f"{outcome.retries} retries; {outcome.input_tokens} input and {outcome.output_tokens} output "
            f"tokens" + ("" if cost is None else f", cost {cost:.2f}")
        )
        for image, message in list(outcome.failed.items())[:10]:
            _say(f"failed: {image}: {message}")
        if outcome.stopped_by_cost:
            _say(f"stopped: --max-cost {args.max_cost} is spent; run again with more to go on")
    summary = sort(annotation, limits, decisions)
    print(
        f"{summary['accepted']} accepted, {summary['rejected']} rejected, {summary['unanswered']} unanswered"
    )
    for reason, count in summary["reasons"].items():
        print(f"  {count} x {reason}")
    print(f"records and review pages are in {args.out}")
    return 0


def _annotation(args: argparse.Namespace) -> Annotation:
    import os

    from llava_faba.datatools.annotate import Annotation
    from llava_faba.datatools.annotate.asking import Policy
    from llava_faba.datatools.annotate.client import Client
    from llava_faba.datatools.annotate.cost import Prices
    from llava_faba.datatools.annotate.images import targets_in_files, targets_in_folder
    from llava_faba.datatools.annotate.prompts import load_prompt

    for name in ("concurrency", "attempts", "max_tokens", "max_side", "timeout"):
        if getattr(args, name) <= 0:
            raise UserError(f"--{name.replace('_', '-')} must be above 0")
    prices = Prices(args.price_input, args.price_output)
    if args.max_cost is not None and prices.cost(0, 0) is None:
        raise UserError("--max-cost needs --price-input and --price-output")
    if args.images is not None:
        folder, targets = args.images, targets_in_folder(args.images)
    else:
        if args.image_folder is None:
            raise UserError("--annotations needs --image-folder")
        folder, targets = args.image_folder, targets_in_files(args.annotations)
    client = Client(
        args.base_url,
        args.model,
        os.environ.get(args.api_key_env, ""),
        args.timeout,
        args.max_tokens,
        args.temperature,
    )
    policy = Policy(
        args.concurrency, args.rpm, args.attempts, args.first_pause, args.max_side, prices, args.max_cost
    )
    prompt = load_prompt(args.task, args.prompt)
    return Annotation(args.task, targets[: args.limit], folder, args.out, client, prompt, policy)


def _may_start(args: argparse.Namespace) -> bool:
    if args.yes:
        return True
    if not sys.stdin.isatty():
        raise UserError("sending costs money: say --yes to start, or --dry-run to see the estimate only")
    return input("start? [y/N] ").strip().lower() in ("y", "yes")
