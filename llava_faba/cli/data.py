"""``llava-faba data``: from licensed label files to validated instruction data."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, get_args, get_type_hints

from llava_faba.errors import UserError


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add ``data`` with its sub-commands; each sets ``run`` to a function of the parsed arguments."""
    parser = subparsers.add_parser(
        "data", help="convert, validate, describe, annotate and mix instruction data", description=__doc__
    )
    commands = parser.add_subparsers(dest="data_command", metavar="COMMAND", required=True)
    _add_convert(commands)


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
