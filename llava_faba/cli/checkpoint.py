"""``llava-faba checkpoint``: merge LoRA weights; to and from the authors' format and transformers' own home; cards."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from faba_bench.console.output import say
from faba_bench.console.parser import Parser, warn_old

from llava_faba.cli import options
from llava_faba.devices import DTYPES
from llava_faba.errors import UserError


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser("checkpoint", help="merge, convert and describe checkpoints")
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_merge(commands, "merge", help="merge a LoRA checkpoint into its base model")
    export = commands.add_parser(
        "export", help="write a checkpoint in the authors' format", parents=[options.model(base=False)]
    )
    export.add_argument(
        "--fold-normalization",
        action="store_true",
        help="put 'standardize', which the format does not know, into the prior projector's first layer",
    )
    export.set_defaults(run=run_export)
    importing = commands.add_parser(
        "import", help="write a checkpoint of the authors' format as one of ours", parents=[options.model(base=False)]
    )
    importing.add_argument("--expert", help="what made its priors; default: as its config says, else emola-106")
    importing.set_defaults(run=run_import)
    native = commands.add_parser(
        "to-transformers",
        help="write a checkpoint as a model of transformers 5, which needs no LLaVA",
        parents=[options.model()],
    )
    native.add_argument("--dtype", choices=DTYPES, help="precision of the written weights (default: the files' own)")
    native.add_argument("--conv-mode", metavar="NAME", help="conversation template (default: the checkpoint's)")
    native.add_argument(
        "--adapter",
        type=Path,
        metavar="BASE",
        help="merge nothing: write a PEFT adapter, for the converted base in BASE, which is made if it is not there",
    )
    native.set_defaults(run=run_to_transformers)
    back = commands.add_parser(
        "from-transformers",
        help="write a model of transformers 5 as a merged checkpoint that LLaVA reads",
        parents=[options.model(base=False, what="folder that to-transformers wrote, or training has saved since")],
    )
    back.add_argument(
        "--tokenizer", metavar="DIR", help="folder with tokenizer.model (default: the one kept by to-transformers)"
    )
    back.set_defaults(run=run_from_transformers)
    card = commands.add_parser(
        "card",
        help="write a model card (README.md of the hub) from a checkpoint and its results",
        parents=[options.model()],
    )
    card.add_argument("--out", type=Path, metavar="FILE", help="where to write it (default: standard output)")
    card.set_defaults(run=run_card)
    for command in (native, card):
        command.add_argument(
            "--result",
            type=Path,
            action="append",
            default=[],
            metavar="FILE",
            help="result of 'faba-bench score --output' for the card; of this checkpoint's answers, or it is an error. "
            "May be given again",
        )
    for command in (export, importing, native, back):
        command.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder")


def add_old_merge(subparsers: argparse._SubParsersAction) -> None:
    """``llava-faba merge``, as it was called before; the help does not show it."""
    parser = _add_merge(subparsers, "merge")
    parser.set_defaults(run=_run_old_merge)


def _add_merge(commands: argparse._SubParsersAction, name: str, **texts: Any) -> Parser:
    what = "LoRA checkpoint, also one from the middle of training"
    parents = [options.model(what=what), options.device(dtype="float16", placed=False)]
    about = (
        "Merge a LoRA checkpoint into its base model. The result is written in float16 unless --dtype says otherwise; "
        "float16 rounds the merged weights (logits of a small model moved by 8e-4), float32 keeps them as they were "
        "trained and takes twice the room."
    )
    parser: Parser = commands.add_parser(name, parents=parents, description=about, **texts)
    parser.option(
        "--out", old=("--save-model-path",), type=Path, required=True, metavar="DIR", help="folder for the merged model"
    )
    parser.set_defaults(run=run_merge)
    return parser


def _run_old_merge(args: argparse.Namespace) -> int:
    warn_old("'llava-faba merge'", "'llava-faba checkpoint merge'")
    return run_merge(args)


def run_merge(args: argparse.Namespace) -> int:
    from faba_bench.files.folders import new_folder

    from llava_faba.model.loading import load_model

    if any(args.out.glob("*")):
        raise UserError(f"{args.out} is not empty; give --out a new folder.")
    tokenizer, model, _, _ = load_model(args.model_path, args.model_base, dtype=args.dtype)
    with new_folder(args.out, error=UserError) as draft:
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
    say(f"merged model written to {args.out}")
    return 0


def run_export(args: argparse.Namespace) -> int:
    from llava_faba.model.reference_format import export_checkpoint

    return _tell(args.out, export_checkpoint(args.model_path, args.out, fold_normalization=args.fold_normalization))


def run_import(args: argparse.Namespace) -> int:
    from llava_faba.model.reference_format import import_checkpoint

    return _tell(args.out, import_checkpoint(args.model_path, args.out, expert=args.expert))


def _tell(out: Path, notes: list[str]) -> int:
    for note in notes:
        say(f"note: {note}")
    say(f"written to {out}")
    return 0


def run_to_transformers(args: argparse.Namespace) -> int:
    from llava_faba.conversion.adapters import to_adapter
    from llava_faba.conversion.to_transformers import Options, to_transformers

    chosen = Options(conversation=args.conv_mode, dtype=args.dtype, results=args.result)
    if args.adapter is None:
        report = to_transformers(args.model_path, args.out, model_base=args.model_base, options=chosen)
        say(f"{report.tokens} texts give the tokens of SentencePiece")
    else:
        if args.dtype is not None:
            raise UserError("--dtype rounds the merged weights; an adapter and its base keep the files' own.")
        report = to_adapter(args.model_path, args.out, args.adapter, model_base=args.model_base, options=chosen)
    ran = "run by transformers" if report.ran_model else "run by our own plain forward pass"
    say(f"{report.prompts} prompts give the source's logits within {report.logits:.1e} ({ran})")
    if report.rounding is not None:
        say(f"note: rounding to the type of the files moved the logits by up to {report.rounding:.1e}")
    for note in report.notes:
        say(f"note: {note}")
    say(f"written to {args.out}")
    return 0


def run_from_transformers(args: argparse.Namespace) -> int:
    from llava_faba.conversion.from_transformers import from_transformers

    report = from_transformers(args.model_path, args.out, tokenizer=args.tokenizer)
    say(f"{report.prompts} prompts give the source's logits within {report.logits:.1e}")
    say(f"written to {args.out}")
    return 0


def run_card(args: argparse.Namespace) -> int:
    from faba_bench.files.atomic import write_text

    from llava_faba.conversion import measured
    from llava_faba.conversion.card import checkpoint_card
    from llava_faba.model.checkpoints import inspect_checkpoint

    checkpoint = inspect_checkpoint(args.model_path)
    text = checkpoint_card(checkpoint, measured.section(args.result, args.model_path, args.model_base))
    if args.out is None:
        say(text.rstrip("\n"))
    else:
        write_text(args.out, text)
        say(f"written to {args.out}")
    return 0
