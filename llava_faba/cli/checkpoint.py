"""``llava-faba checkpoint``: to and from the format of the EmoLA authors' release."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("checkpoint", help="convert checkpoints to and from the EmoLA authors' format")
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    export = commands.add_parser("export", help="write a checkpoint in the authors' format")
    export.add_argument(
        "--fold-normalization",
        action="store_true",
        help="put 'standardize', which the format does not know, into the prior projector's first layer",
    )
    export.set_defaults(run=_export)
    importing = commands.add_parser("import", help="write a checkpoint of the authors' format as one of ours")
    importing.add_argument("--expert", help="what made its priors; default: as its config says, else emola-106")
    importing.set_defaults(run=_import)
    for command in (export, importing):
        command.add_argument("--model-path", required=True, help="folder or hub id of the checkpoint")
        command.add_argument("--out", type=Path, required=True, help="new folder")


def _export(args: argparse.Namespace) -> int:
    from llava_faba.model.reference_format import export_checkpoint

    return _tell(args.out, export_checkpoint(args.model_path, args.out, fold_normalization=args.fold_normalization))


def _import(args: argparse.Namespace) -> int:
    from llava_faba.model.reference_format import import_checkpoint

    return _tell(args.out, import_checkpoint(args.model_path, args.out, expert=args.expert))


def _tell(out: Path, notes: list[str]) -> int:
    for note in notes:
        print(f"note: {note}")
    print(f"written to {out}")
    return 0
