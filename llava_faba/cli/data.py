"""``llava-faba data``: from licensed label files to validated instruction data."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, get_args, get_type_hints

from faba_bench.console.output import emit, say, tell
from faba_bench.console.processes import worker_count

from llava_faba.cli import options
from llava_faba.errors import UserError

# What an earlier result of a command holds, by which its old "--json FILE" is told from a file of records.
_REPORT_KEYS = {"ok", "files", "records", "groups"}
_STATISTICS_KEYS = {"file", "kind", "samples", "words_per_answer"}


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add ``data`` with its sub-commands; each sets ``run`` to a function of the parsed arguments."""
    from llava_faba.datatools.annotate import command as annotate

    parser = subparsers.add_parser(
        "data", help="convert, validate, describe, annotate and mix instruction data", description=__doc__
    )
    commands = parser.add_subparsers(dest="data_command", metavar="COMMAND", required=True)
    _add_convert(commands)
    _add_validate(commands)
    _add_mix(commands)
    _add_stats(commands)
    annotate.add_parser(commands)


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
        drawn = split["train_before_sampling"] + split["eval_before_sampling"] - split["train"] - split["eval"]
        rest = f", {drawn} not drawn" if drawn else ""
        say(f"{report['dataset']} {name}: {split['train']} training, {split['eval']} evaluation records{rest}")
        say(f"  training classes: {_counts(split['train_classes'])}")
    for what, where in report["found"].items():
        say(f"{what}: {where}")
    rows = report["rows"]
    say(f"rows: {rows['read']} read, {rows['used']} used, {sum(rows['left_out'].values())} left out ({rows['unit']})")
    for reason, count in report["left_out"].items():
        of_it = rows["left_out"].get(reason, 0)
        say(f"left out: {count} ({reason})" + (f", {of_it} rows" if of_it != count else ""))
    for note in report["notes"]:
        say(f"note: {note}")
    for name in report.get("missing_media", [])[:10]:
        say(f"missing: {name}")
    if len(report.get("missing_media", [])) > 10:
        say(f"missing: {len(report['missing_media']) - 10} more, listed in {args.out / 'conversion.json'}")
    if not any(split["train"] or split["eval"] for split in report["splits"].values()):
        raise UserError(f"{args.dataset}: not one labelled image was found below {args.root}")
    say(f"written to {args.out}")
    return 0


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _add_validate(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser(
        "validate",
        help="every problem of annotation files at once",
        description="Check annotation files, the images and priors they name, and the files against each "
        "other. Exit code 0: nothing wrong, 1: problems found, 2: wrong usage.",
        parents=[options.progress()],
    )
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="training and evaluation files; training records in a file called as a validation part (val.json) are one",
    )
    parser.add_argument(
        "--eval",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="files to evaluate on, whatever they are called",
    )
    parser.add_argument(
        "--allow-outside", action="store_true", help="images that lie outside --image-folder are no error"
    )
    parser.add_argument("--image-folder", type=Path, help="what image and landmark paths are relative to")
    parser.add_argument("--no-images", action="store_true", help="check the records only, open no image")
    parser.add_argument("--priors", type=Path, help="priors store made by 'llava-faba priors extract'")
    parser.add_argument("--require-prior", action="store_true", help="an image without a prior is an error")
    parser.add_argument("--prior-size", type=int, help="numbers in a prior (default: as the store)")
    parser.add_argument("--task", choices=("au", "emotion"), help="what labels mean (default: found out per file)")
    parser.add_argument("--protocol", help="FABA-Bench protocol that AU labels should keep to")
    parser.add_argument("--no-near-duplicates", action="store_true", help="look for identical pictures only")
    parser.add_argument("--strict", action="store_true", help="warnings fail too")
    options.add_output(parser, had_file=True, is_result=_is_report)
    parser.add_argument("--examples", type=int, default=5, help="examples to print of each kind (default: 5)")
    options.add_workers(parser, 0)
    parser.set_defaults(run=run_validate)


def _is_report(value: Any) -> bool:
    """What ``validate`` writes: an object with its findings."""
    return isinstance(value, dict) and set(value) >= _REPORT_KEYS


def _is_statistics(value: Any) -> bool:
    """What ``stats`` writes: a list of figures, one object a file."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) and set(one) >= _STATISTICS_KEYS for one in value)
    )


def run_validate(args: argparse.Namespace) -> int:
    from llava_faba.datatools.validate import validate

    if args.image_folder is None and not args.no_images:
        raise UserError("give --image-folder (what image paths are relative to) or --no-images")
    if not (args.files or args.eval):
        raise UserError("no file to check: give annotation files")
    report = validate(
        args.files,
        evaluation=args.eval,
        allow_outside=args.allow_outside,
        image_folder=None if args.no_images else args.image_folder,
        priors=args.priors,
        task=args.task,
        protocol=args.protocol,
        prior_size=args.prior_size,
        require_prior=args.require_prior,
        near_duplicates=not args.no_near_duplicates,
        strict=args.strict,
        workers=worker_count(args.workers),
        progress=not args.no_progress and sys.stderr.isatty(),
    )
    emit(args, report.to_json(), lambda: report.to_text(args.examples))
    return 0 if report.ok else 1


def _add_mix(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser(
        "mix",
        help="several training files to one, repeatably",
        description="Mix training files with weights or caps, split off a validation part by subject, write "
        "train.json, val.json and manifest.json. --repeat makes a mixture again from its manifest.",
        parents=[options.progress()],
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
        help="what must not be torn apart: people and pictures, pictures, or nothing",
    )
    parser.add_argument(
        "--image-folder",
        type=Path,
        help="what image paths, with their prefixes, are relative to: pictures are told apart by what they show "
        "(default: the inputs' folders and the current one are tried)",
    )
    parser.add_argument("--subject-pattern", help="regular expression whose group 1 is the subject in image paths")
    parser.add_argument("--seed", type=int, default=0, help="seed of drawing, splitting and order (default: 0)")
    parser.add_argument("--no-shuffle", action="store_true", help="keep the order of the inputs")
    parser.add_argument("--repeat", type=Path, metavar="MANIFEST", help="make this mixture again")
    options.add_workers(parser, 0)
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
            image_folder=args.image_folder,
            workers=worker_count(args.workers),
            progress=not args.no_progress and sys.stderr.isatty(),
        )
    for one in made.manifest["inputs"]:
        say(f"{one['name']}: {one['records']} records, {one['train']} to train, {one['val']} to validate")
    for note in made.manifest["notes"]:
        say(f"note: {note}")
    say(f"{len(made.train)} training, {len(made.val)} validation records in {args.out}")
    return 0


def _add_stats(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser(
        "stats",
        help="samples, words per answer, label distribution, AU co-occurrence",
        description="The figures that the FABA-Instruct paper gives for its data, for any annotation files.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="training or evaluation files")
    parser.add_argument("--task", choices=("au", "emotion"), help="what labels mean (default: found out per file)")
    options.add_output(parser, had_file=True, is_result=_is_statistics)
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write plots (PNG) to this folder")
    parser.set_defaults(run=run_stats)


def run_stats(args: argparse.Namespace) -> int:
    from llava_faba.datatools.stats import describe, to_text

    figures = [describe(path, args.task) for path in args.files]
    result = [one.to_json() for one in figures]
    emit(args, result, lambda: to_text(figures))
    if args.plots is not None:
        from llava_faba.datatools.plots import plot

        stems = [path.stem for path in args.files]
        for number, (one, stem) in enumerate(zip(figures, stems, strict=True)):
            unique = stem if stems.count(stem) == 1 else f"{number + 1}-{stem}"
            for path in plot(one, args.plots, unique):
                tell(f"wrote {path}")
    return 0
