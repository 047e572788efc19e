"""``llava-faba demo``: what ``make demo`` runs."""

from __future__ import annotations

import argparse


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "demo",
        help="train EmoLA on the embedded demo, evaluate it and write a report",
        description="Makes its own face pictures, a small LLaVA, trains EmoLA and plain LLaVA on them, and compares "
        "them on FABA-Bench: 'llava-faba recipe run demo'. Interrupted, it resumes where it stopped.",
    )
    parser.add_argument("--root", default="runs/demo", help="folder for everything it makes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and data (default: 0)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--ablation",
        action="store_true",
        help="three seeds of all normalizations, experts and kinds of tokens (hours on two cores)",
    )
    which.add_argument("--tiny", action="store_true", help="a few pictures and steps, to see that all steps run")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from llava_faba.cli.recipe import run_recipe

    if args.ablation:
        return run_recipe("demo-ablation", args.root, axes={"seed": [str(args.seed + i) for i in range(3)]})
    return run_recipe("demo-tiny" if args.tiny else "demo", args.root, [f"inputs.seed={args.seed}"])
